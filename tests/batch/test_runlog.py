"""The log of runs is read back, also if it was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecomfs.batch import Run, RunLog, Tally, compare_runs, find_run, last_resumable, list_runs
from ecomfs.errors import InputError, JournalError, StoppedError

ERRORS = {
    "stopped": StoppedError("stopped", signal=15),
    "refused": JournalError("another run's"),
    "failed": ValueError("sql://me:secret@host/db"),
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def logged(command: str, output: str, error: str = "") -> Run:
    log = RunLog.start(["score", command])
    try:
        with log.ending():
            log.input(Path(output), {"model": "m"})
            log.progress(Tally(rows=1))
            if error:
                raise ERRORS[error]
            log.output(Path(output), Tally(rows=2))
    except type(ERRORS.get(error)):
        pass
    return find_run(log.id)


@pytest.mark.parametrize("error", ["", *ERRORS])
def test_a_run_is_read_back_with_its_end(error: str) -> None:
    run = logged("sql://me:secret@host/db", "out.csv", error)
    assert run.state == (error or "finished")
    assert run.resumable == (error in ("stopped", "failed"))
    assert run.outputs["out.csv"]["rows"] == (1 if error else 2)
    assert "secret" not in str(run)
    assert list_runs() == [run]


def test_the_newest_run_whose_command_or_output_did_not_come_again_is_resumed() -> None:
    with pytest.raises(InputError, match="no run is logged"):
        last_resumable()
    first = logged("a.csv", "a.out", "stopped")
    logged("b.csv", "b.out", "failed")
    logged("b.csv", "b.out")
    assert last_resumable() == first
    logged("c.csv", "a.out")
    with pytest.raises(InputError, match="none of 4 runs"):
        last_resumable()
    assert ("state", "stopped", "finished") in compare_runs(first, list_runs()[-1])


def test_a_run_whose_process_number_another_process_has_was_killed(state: Path) -> None:
    log = RunLog.start(["score", "a.csv"])
    assert find_run(log.id).state == "running"
    assert log.path is not None
    line = json.loads(log.path.read_text())
    if not line["began"]:
        pytest.skip("this system does not say when a process began")
    log.path.write_text(json.dumps(line | {"began": "another-boot 7"}) + "\n")
    assert find_run(log.id).state == "killed"
    assert last_resumable().command == ["score", "a.csv"]


def test_a_later_run_to_standard_output_replaces_none() -> None:
    first = logged("a.csv", "-", "stopped")
    logged("b.csv", "-")
    assert last_resumable() == first


def test_passwords_are_masked_wherever_a_log_has_them() -> None:
    url = "postgresql://host/shop?user=me&password=secret"
    log = RunLog.start(["score", f"sql:{url}#select 1"])
    log.engine("vllm:http://me:secret@host:8000", [{"server": "http://me:secret@host:8000"}])
    with pytest.raises(StoppedError), log.ending():
        raise StoppedError(f"stopped while reading {url}", signal=15)
    assert log.path is not None
    assert "secret" not in log.path.read_text()
    assert find_run(log.id).command[1] == f"sql:{url.replace('secret', '***')}#select 1"


def test_a_log_that_is_cut_or_garbled_is_read_as_far_as_it_goes(state: Path) -> None:
    run = logged("a.csv", "a.out")
    path = state / "runs" / f"{run.id}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + b'\xff{"event": 3}\n[]\n' + lines[2][:9])
    cut = find_run(run.id)
    assert cut.command == ["score", "a.csv"]
    assert cut.state == "running"  # this process is alive
    path.write_bytes(b"")
    assert not find_run(run.id).resumable


def test_a_log_that_cannot_be_read_hides_no_other(state: Path) -> None:
    run = logged("a.csv", "a.out")
    (state / "runs" / "20200101-000000-000000aa.jsonl").mkdir()
    assert list_runs() == [run]


def test_a_folder_that_cannot_be_written_costs_the_log_only(state: Path) -> None:
    state.write_text("a file, not a folder")
    log = RunLog.start(["score"])
    with log.ending():
        log.progress(Tally())
    assert log.path is None
