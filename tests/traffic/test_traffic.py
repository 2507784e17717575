"""Live traffic: every id has one variant; the log is read back, and broken lines are counted."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency

from ecomfs.errors import ConfigError, EmptyInputError, InputError, MissingFileError, OutputError
from ecomfs.traffic import LoggedPrediction, LoggedStart, TrafficLog, TrafficSplit, read_log
from ecomfs.types import Prediction, Status, TemplateRef

START = LoggedStart(
    task="review_sentiment", labels=("pos", "neg"), weights={"A": 1, "B": 1}, seed=0
)


def entry(id_: str, variant: str = "A", label: str = "pos") -> LoggedPrediction:
    prediction = Prediction(
        id_,
        label,
        {"pos": 0.75, "neg": 0.25},
        template=TemplateRef("t/en.v1", "abc"),
        prompt_tokens=90,
        engine="e",
        pool_version=2,
    )
    return LoggedPrediction.of(variant, "en", prediction)


def write(path: Path, *lines: LoggedStart | LoggedPrediction) -> None:
    log = TrafficLog(path)
    log.write(lines)
    log.close()


@given(ids=st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, min_size=1))
def test_a_written_log_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    path = tmp_path_factory.mktemp("log") / "traffic.jsonl"
    entries = [entry(i) for i in ids]
    write(path, START, *entries)
    found = read_log(path)
    assert found.entries == tuple(entries)
    assert found.starts == (START,)
    assert (found.repeated, found.crossed, found.unreadable) == (0, 0, 0)


def test_an_entry_holds_what_the_prediction_was_but_not_the_row(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    failed = Prediction("r2", None, status=Status.FAILED, error="no answer")
    write(path, START, entry("r1"), LoggedPrediction.of("B", "zh", failed))
    one, two = read_log(path).entries
    assert (one.id, one.variant, one.label, one.template) == ("r1", "A", "pos", "t/en.v1@abc")
    assert (one.prompt_tokens, one.engine, one.pool_version) == (90, "e", 2)
    assert one.time.endswith("+00:00")
    assert (two.status, two.error, two.label, two.language) == ("failed", "no answer", None, "zh")
    assert "text" not in LoggedPrediction.model_fields
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_retries_and_changed_weights_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    write(path, START, entry("r1"), entry("r2"), entry("r1", label="neg"))
    write(path, START, entry("r2", "B"), entry("r3", "B"))
    found = read_log(path)
    assert [(e.id, e.label) for e in found.entries] == [("r1", "pos"), ("r3", "pos")]
    assert (found.repeated, found.crossed, len(found.starts)) == (1, 1, 2)


def test_a_service_that_was_killed_in_a_line_costs_that_line(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    write(path, START, entry("r1"))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind":"prediction","id":"r2","var')
    write(path, START, entry("r3"))
    found = read_log(path)
    assert [e.id for e in found.entries] == ["r1", "r3"]
    assert found.unreadable == 1


def test_many_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    logs = [TrafficLog(path) for _ in range(4)]
    logs[0].write([START])
    threads = [
        threading.Thread(
            target=lambda log=log, n=n: [log.write([entry(f"{n}-{i}")]) for i in range(50)]
        )
        for n, log in enumerate(logs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    found = read_log(path)
    assert found.unreadable == 0
    assert len(found.entries) == 200


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(MissingFileError, match=r"x\.jsonl"):
        read_log(path)
    path.write_text("")
    with pytest.raises(EmptyInputError, match=r"x\.jsonl: empty"):
        read_log(path)
    path.write_text("id,label\n1,pos\n")
    with pytest.raises(InputError, match="not a traffic log"):
        read_log(path)
    path.unlink()
    write(path, START)
    with pytest.raises(EmptyInputError, match="no predictions"):
        read_log(path)
    with pytest.raises(OutputError, match="is a folder"):
        TrafficLog(tmp_path)
    with pytest.raises(OutputError, match="No such file"):
        TrafficLog(tmp_path / "no" / "x.jsonl")


IDS = [f"row {i}" for i in range(20_000)]


@given(
    weights=st.dictionaries(st.text(min_size=1), st.floats(1e-6, 1e6), min_size=1, max_size=6),
    seed=st.integers(-(2**63), 2**63),
    id_=st.text(),
)
def test_every_id_has_one_variant(weights: dict[str, float], seed: int, id_: str) -> None:
    split = TrafficSplit(weights, seed)
    assert split.of(id_) in weights
    assert split.of(id_) == TrafficSplit(dict(weights), seed).of(id_)
    assert sum(split.shares.values()) == pytest.approx(1)
    # Only the proportion of the weights counts.
    doubled = TrafficSplit({n: 2 * w for n, w in weights.items()}, seed)
    assert doubled.of(id_) == split.of(id_)


def test_another_process_assigns_the_same() -> None:
    code = (
        "from ecomfs.traffic import TrafficSplit; "
        "print(''.join(TrafficSplit({'A': 1, 'B': 2}, 5).of(str(i)) for i in range(200)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "".join(
        TrafficSplit({"A": 1, "B": 2}, 5).of(str(i)) for i in range(200)
    )


def test_shares_are_those_of_the_weights() -> None:
    split = TrafficSplit({"A": 7, "B": 2, "C": 1}, seed=3)
    for name, share in split.shares.items():
        n = sum(split.of(i) == name for i in IDS)
        assert binomtest(n, len(IDS), share).pvalue > 1e-4


def test_another_seed_assigns_independently() -> None:
    one, two = TrafficSplit({"A": 1, "B": 1}, 1), TrafficSplit({"A": 1, "B": 1}, 2)
    table = [[0, 0], [0, 0]]
    for id_ in IDS:
        table[one.of(id_) == "B"][two.of(id_) == "B"] += 1
    assert chi2_contingency(table).pvalue > 1e-4


def test_a_changed_weight_moves_as_few_ids_as_it_can() -> None:
    before, after = TrafficSplit({"A": 9, "B": 1}), TrafficSplit({"A": 8, "B": 2})
    moved = sum(before.of(i) != after.of(i) for i in IDS) / len(IDS)
    assert 0.08 < moved < 0.12
    assert not any(before.of(i) == "B" and after.of(i) == "A" for i in IDS)


@pytest.mark.parametrize("weights", [{}, {"A": 0.0}, {"A": 1, "B": -1}, {"A": float("inf")}])
def test_senseless_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        TrafficSplit(weights)


def test_a_line_that_a_full_disk_cut_does_not_take_the_next_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrafficLog(tmp_path / "traffic.jsonl")
    log.write([START, entry("r1")])
    real, calls = os.write, list[int]()

    def full(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(file, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            log.write([entry("r2")])
    log.write([entry("r3")])
    log.close()
    found = read_log(log.path)
    assert ([e.id for e in found.entries], found.unreadable) == (["r1", "r3"], 1)
