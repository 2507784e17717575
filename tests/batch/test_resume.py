"""A run is resumed only if it is the same run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import victim
from scripted import ScriptedEngine, classifier, examples

from ecomfs.batch import Condition, ScoreResult, Selection, score_table
from ecomfs.batch.journal import Entry, Journal
from ecomfs.errors import EngineUnavailableError, InputError, JournalError, OutputError
from ecomfs.estimators import FewShotClassifier


class Interrupted(ScriptedEngine):
    """Becomes unavailable after a number of prompts, until :attr:`limit` is lifted."""

    def __init__(self, limit: float = 60, **options: Any) -> None:
        super().__init__(batch=16, **options)
        self.limit = limit

    async def read(self, prompts: Any, questions: Any) -> Any:
        self.gone = sum(self.calls) + len(prompts) > self.limit
        return await super().read(prompts, questions)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    victim.make_table(tmp_path / "in.csv", 120)
    return tmp_path / "in.csv"


def interrupted(source: Path, **options: Any) -> tuple[Path, Interrupted]:
    """An output whose run the engine left in the middle."""
    output, engine = source.with_name("out.csv"), Interrupted()
    with pytest.raises(EngineUnavailableError):
        score_table(source, output, classifier(engine).pipeline_, chunk_rows=16, **options)
    assert source.with_name("out.csv.journal").exists()
    engine.limit = float("inf")
    return output, engine


def go_on(source: Path, engine: ScriptedEngine, **options: Any) -> ScoreResult:
    output = source.with_name("out.csv")
    how = {name: options.pop(name) for name in ("k", "template", "language") if name in options}
    pipeline = options.pop("pipeline", None) or classifier(engine, **how).pipeline_
    return score_table(source, output, pipeline, chunk_rows=16, **options)


def test_a_touched_or_copied_input_is_the_same_input(source: Path) -> None:
    _, engine = interrupted(source)
    os.utime(source, (1, 1))
    assert go_on(source, engine).tally.rows == 120


def test_a_changed_input_is_refused_and_restart_begins_anew(source: Path) -> None:
    output, engine = interrupted(source)
    source.write_bytes(source.read_bytes().replace(b"row 7 ", b"row seven "))
    with pytest.raises(JournalError, match=r"the input changed.*--restart") as caught:
        go_on(source, engine)
    refused_says_what_to_do(caught.value)
    assert "answers of another run" in str(caught.value)
    assert not output.exists()
    before = sum(engine.calls)
    result = go_on(source, engine, restart=True)
    assert result.tally.resumed == 0
    assert sum(engine.calls) - before > 60
    assert b"row seven" in output.read_bytes()
    assert not source.with_name("out.csv.journal").exists()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"k": 2}, r"the retrieval \(k: 4 → 2, layout: shared → both, block\)"),
        ({"language": "auto"}, r"the template \(zh\), .*the options \(language: en → none\)"),
        ({"selection": Selection(limit=50)}, r"the selection \(limit: none → 50\)"),
        ({"selection": Selection(where=(Condition.parse("id>3"),))}, r"the selection \(where\)"),
        ({"fields": {"text": "shop"}}, r"the columns \(text: text → shop\)"),
        ({"gold_column": "shop"}, r"the column of true labels \(none → shop\)"),
    ],
)
def test_other_options_are_refused(source: Path, options: dict[str, Any], what: str) -> None:
    _, engine = interrupted(source)
    with pytest.raises(JournalError, match=rf"{what}.* changed") as caught:
        go_on(source, engine, **options)
    refused_says_what_to_do(caught.value)


def refused_says_what_to_do(error: JournalError) -> None:
    """One line with both ways on, and nothing that contradicts them."""
    told = "\n".join([str(error), *getattr(error, "__notes__", ())])
    assert "\n" not in told
    assert "to resume it, undo the changes" in told
    assert "--restart deletes those answers and starts again" in told
    assert "the same command" not in told


def test_another_template_is_refused(source: Path, tmp_path: Path) -> None:
    _, engine = interrupted(source)
    template = tmp_path / "mine.jinja"
    template.write_text("{{ instruction }}\nReview: {{ row.text }}\nSentiment:")
    with pytest.raises(JournalError, match="the template"):
        go_on(source, engine, template=str(template))


def test_another_model_is_refused_by_name(source: Path) -> None:
    interrupted(source)
    other = ScriptedEngine()
    other.fingerprint = "scripted-2"
    with pytest.raises(JournalError, match=r"the model \(scripted-1 → scripted-2\)"):
        go_on(source, other)


def test_other_examples_are_refused(source: Path) -> None:
    _, engine = interrupted(source)
    texts, labels = examples()
    other = FewShotClassifier(
        "review_sentiment", engine, k=4, embedder="hashed", language="en", calibration_size=0
    ).fit([*texts, "one more"], [*labels, "positive"])
    with pytest.raises(JournalError, match="the examples"):
        go_on(source, engine, pipeline=other.pipeline_)


def test_options_of_the_output_may_change(source: Path) -> None:
    output, engine = interrupted(source)
    before = sum(engine.calls)
    result = go_on(source, engine, probabilities=True, encoding="utf-8-sig")
    assert result.tally.resumed > 0
    assert sum(engine.calls) < before + 100
    assert output.read_bytes().startswith(b"\xef\xbb\xbf")
    assert b"p_positive" in output.read_bytes()


def test_a_kept_journal_answers_everything_again(source: Path) -> None:
    engine = ScriptedEngine()
    go_on(source, engine, keep_journal=True)
    whole, asked = source.with_name("out.csv").read_bytes(), sum(engine.calls)
    result = go_on(source, engine)
    assert sum(engine.calls) == asked
    assert result.tally.resumed == 120
    assert source.with_name("out.csv").read_bytes() == whole
    assert not source.with_name("out.csv.journal").exists()


@pytest.mark.parametrize("restart", [False, True])
def test_two_runs_cannot_write_one_output(source: Path, restart: bool) -> None:
    with (
        Journal(source.with_name("out.csv.journal")) as journal,
        pytest.raises(JournalError, match="another run is writing"),
    ):
        go_on(source, ScriptedEngine(), restart=restart)
    assert journal.path.exists()


# -- torn journals ------------------------------------------------------------------------------


@pytest.fixture
def torn(source: Path) -> Iterator[tuple[Path, Path, Interrupted]]:
    _, engine = interrupted(source)
    journal = source.with_name("out.csv.journal")
    Journal(journal).close()  # everything is in the file, no log beside it
    yield source, journal, engine
    # Never silently started over: the file is still there, and --restart is the way.
    assert journal.exists()
    assert not source.with_name("out.csv").exists()
    result = go_on(source, engine, restart=True)
    assert result.tally.rows == 120


def test_a_truncated_journal_is_reported(torn: tuple[Path, Path, Interrupted]) -> None:
    source, journal, engine = torn
    os.truncate(journal, journal.stat().st_size * 2 // 3)
    with pytest.raises(JournalError, match=r"damaged.*--restart"):
        go_on(source, engine)


@pytest.mark.parametrize("at", [0, 40, 4096, 8200, 12_300])
def test_garbage_in_a_journal_is_reported(torn: tuple[Path, Path, Interrupted], at: int) -> None:
    source, journal, engine = torn
    data = bytearray(journal.read_bytes())
    data[at : at + 64] = b"\xa5" * 64
    journal.write_bytes(data)
    with pytest.raises(JournalError, match="--restart"):
        go_on(source, engine)


def test_an_altered_answer_is_reported(torn: tuple[Path, Path, Interrupted]) -> None:
    source, journal, engine = torn
    data = journal.read_bytes()
    assert data.count(b'"label":"negative"')
    journal.write_bytes(data.replace(b'"label":"negative"', b'"label":"positive"', 1))
    with pytest.raises(JournalError, match="was altered") as caught:
        go_on(source, engine)
    assert not hasattr(caught.value, "__notes__")  # "the same command goes on" would be untrue


def test_a_file_that_is_no_journal_is_left_alone(torn: tuple[Path, Path, Interrupted]) -> None:
    source, journal, engine = torn
    journal.write_text("my notes about the journal")
    with pytest.raises(JournalError, match="damaged"):
        go_on(source, engine)
    assert journal.read_text() == "my notes about the journal"


def test_an_emptied_journal_with_a_log_is_reported(torn: tuple[Path, Path, Interrupted]) -> None:
    source, journal, engine = torn
    journal.with_name(f"{journal.name}-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(100))
    os.truncate(journal, 0)
    with pytest.raises(JournalError, match="it is empty"):
        go_on(source, engine)


def test_a_torn_log_costs_its_last_answers_only(source: Path, tmp_path: Path) -> None:
    """SQLite's own log may end in the middle of a transaction: that one never happened."""
    process = victim.start(victim.score, source, tmp_path / "out.csv", tmp_path / "log", 1500)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    wal = tmp_path / "out.csv.journal-wal"
    os.truncate(wal, wal.stat().st_size * 3 // 4)
    with Journal(tmp_path / "out.csv.journal") as journal:
        kept = len(journal)
    engine = ScriptedEngine(fails_on="Review: poison")
    result = score_table(
        source, tmp_path / "out.csv", classifier(engine).pipeline_, probabilities=True
    )
    assert result.tally.rows == 120
    assert sum(engine.calls) > 0
    assert kept < 120


# -- full disks ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1024k", "ecomfs-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("filler_kb", [600, 700, 800, 940, 1010])
def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path, filler_kb: int) -> None:
    """Wherever the disk fills up, the error says so and the next run resumes."""
    source = tmp_path / "in.csv"
    victim.make_table(source, 300)
    pipeline = classifier(ScriptedEngine(fails_on="Review: poison")).pipeline_
    score_table(source, tmp_path / "whole.csv", pipeline, chunk_rows=32)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(filler_kb * 1024))
    engine = ScriptedEngine(fails_on="Review: poison")
    pipeline = classifier(engine).pipeline_
    problem: OutputError | None = None
    try:
        score_table(source, small_disk / "out.csv", pipeline, chunk_rows=32)
    except OutputError as error:
        problem = error
    filler.unlink()
    if problem is not None:
        assert "disk is full" in str(problem)
        assert not (small_disk / "out.csv").exists()
        score_table(source, small_disk / "out.csv", pipeline, chunk_rows=32)
    assert (small_disk / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    left = sorted(p.name for p in small_disk.iterdir())
    assert left == ["out.csv", "out.failed.csv"]


def test_a_disk_that_is_full_at_once_is_an_error_of_the_output(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("ecomfs.io.writer.os.fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            go_on(source, ScriptedEngine())


# -- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_drains_prints_how_to_resume_and_ends_with_its_code(
    number: int, code: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    pool = tmp_path / "pool.csv"
    texts, labels = examples()
    pool.write_text(
        "text,label\n" + "".join(f"{t},{lab}\n" for t, lab in zip(texts, labels, strict=True))
    )
    output, log, said = tmp_path / "out.csv", tmp_path / "log", tmp_path / "said"
    arguments = ["score", str(source), "-t", "review_sentiment", "-e", str(pool), "-o", str(output)]
    arguments += ["--k", "2", "--calibration-size", "0", "--embedder", "hashed", "--language", "en"]
    arguments += ["--engine", "scripted", "--quiet"]
    process = victim.start(victim.command, arguments, log, 0.4, said)
    while not victim.asked(log):
        process.join(0.02)
        assert process.is_alive(), said.read_text()
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == code
    text = said.read_text()
    assert "stopping" in text
    assert f"answers are kept in {output}.journal; the same command resumes" in text
    with Journal(tmp_path / "out.csv.journal") as journal:
        kept = len(journal)
    assert kept >= victim.asked(log)  # all that was asked was waited for
    first = victim.asked(log)
    process = victim.start(victim.command, arguments, log, 0.0, said)
    process.join(60)
    assert process.exitcode == 0
    assert output.read_bytes().count(b"\n") == 121
    assert f"{first} read by" not in said.read_text()
    assert "done before the interruption" in said.read_text()
    engine_asked = victim.asked(log)
    whole = tmp_path / "whole.csv"
    arguments[arguments.index("-o") + 1] = str(whole)
    process = victim.start(victim.command, arguments, log, 0.0, said)
    process.join(60)
    assert whole.read_bytes() == output.read_bytes()
    assert victim.asked(log) - engine_asked == engine_asked  # nothing was asked twice


def test_answers_that_come_twice_are_stored_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.commit([Entry(3, b"key", "one", b"")], through=0)
        journal.commit([Entry(5, b"key", "two", b""), Entry(3, b"other", "three", b"")], through=0)
        assert [(e.position, e.text) for e in journal.between(0, 10)] == [(3, "one")]


def test_a_query_is_known_by_its_rows(tmp_path: Path) -> None:
    """A query has no bytes to hash: other rows are another input, the same rows the same one."""
    import sqlite3
    from contextlib import closing

    database = tmp_path / "shop.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE review (id INTEGER, text TEXT)")
        rows = [(i, f"row {i}") for i in range(120)]
        connection.executemany("INSERT INTO review VALUES (?, ?)", rows)
    source: Any = f"sql:sqlite:///{database}#SELECT id, text FROM review ORDER BY id"
    output, engine = tmp_path / "out.csv", Interrupted()
    with pytest.raises(EngineUnavailableError):
        score_table(source, output, classifier(engine).pipeline_, chunk_rows=16)
    engine.limit = float("inf")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE review SET text = 'other' WHERE id = 100")
    with pytest.raises(JournalError, match="the input changed"):
        score_table(source, output, classifier(engine).pipeline_, chunk_rows=16)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE review SET text = 'row 100' WHERE id = 100")
    result = score_table(source, output, classifier(engine).pipeline_, chunk_rows=16)
    assert result.tally.rows == 120
    assert result.tally.resumed > 0


def test_an_input_that_changes_under_way_is_noticed(source: Path) -> None:
    """Answers are stored with a hash of their row, so they are never given to another row."""
    output = source.with_name("out.csv")
    changed = False

    def change(tally: Any) -> None:
        nonlocal changed
        if not changed:
            changed = True
            source.write_bytes(source.read_bytes().replace(b"row 5 ", b"row x "))

    with pytest.raises(InputError, match="the input changed while it was scored") as caught:
        score_table(source, output, classifier(k=0).pipeline_, chunk_rows=16, on_progress=change)
    assert not any("the same command" in note for note in caught.value.__notes__)
    assert not output.exists()
