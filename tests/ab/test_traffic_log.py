"""The log: what is written is read back, and what is broken is counted."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.ab import Entry, Start, TrafficLog, read_log
from ecomfs.errors import EmptyInputError, InputError, MissingFileError, OutputError
from ecomfs.types import Prediction, Status, TemplateRef

START = Start(task="review_sentiment", labels=("pos", "neg"), weights={"A": 1, "B": 1}, seed=0)


def entry(id_: str, variant: str = "A", label: str = "pos") -> Entry:
    prediction = Prediction(
        id_, label, {"pos": 0.75, "neg": 0.25}, template=TemplateRef("t/en.v1", "abc"),
        prompt_tokens=90, engine="e", pool_version=2,
    )  # fmt: skip
    return Entry.of(variant, "en", prediction)


def write(path: Path, *lines: Start | Entry) -> None:
    log = TrafficLog(path)
    log.write(lines)
    log.close()


@given(ids=st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, min_size=1))
def test_what_is_written_is_read_back(
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
    write(path, START, entry("r1"), Entry.of("B", "zh", failed))
    one, two = read_log(path).entries
    assert (one.id, one.variant, one.label, one.template) == ("r1", "A", "pos", "t/en.v1@abc")
    assert (one.prompt_tokens, one.engine, one.pool_version) == (90, "e", 2)
    assert one.time.endswith("+00:00")
    assert (two.status, two.error, two.label, two.language) == ("failed", "no answer", None, "zh")
    assert "text" not in Entry.model_fields
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


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(MissingFileError, match=r"x\.jsonl"):
        read_log(path)
    path.write_text("")
    with pytest.raises(EmptyInputError, match=r"x\.jsonl: empty"):
        read_log(path)
    path.write_text("id,label\n1,pos\n")
    with pytest.raises(InputError, match="no traffic log"):
        read_log(path)
    path.unlink()
    write(path, START)
    with pytest.raises(EmptyInputError, match="no predictions"):
        read_log(path)
    with pytest.raises(OutputError, match="is a folder"):
        TrafficLog(tmp_path)
    with pytest.raises(OutputError, match="No such file"):
        TrafficLog(tmp_path / "no" / "x.jsonl")
