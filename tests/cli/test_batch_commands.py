"""score, plan and runs on the command line, with a scripted engine in place of a model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine, examples

from ecomfs.cli import run

COMMON = ["-t", "review_sentiment", "-e", "pool.csv", "--embedder", "hashed", "--language", "en"]
COMMON += ["--calibration-size", "0", "--k", "2", "--engine", "scripted"]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    engine = ScriptedEngine()
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
    texts, labels = examples()
    write("pool.csv", [["text", "label"], *zip(texts, labels, strict=True)])
    for name in ("a", "b"):
        write(
            f"in/{name}.csv", [["id", "text", "stars"], *([i, f"{name} {i}", i] for i in range(9))]
        )
    return engine


def write(name: str, rows: Any) -> None:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_pattern_scores_every_file(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "in/*.csv", *COMMON, "-q", "--where", "stars>=3", "--sample", "4"]) == 0
    for name in ("a", "b"):
        rows = read(f"in/scored/{name}.scored.csv")
        assert len(rows) == 4
        assert all(int(row["stars"]) >= 3 for row in rows)
    said = capsys.readouterr().err
    assert "4 rows (4 ok)" in said
    assert "4 read by the model" in said
    assert "5 left out by --where or --sample" in said
    # Results are no inputs: the same command finds the same two files.
    assert run(["score", "in/*.csv", *COMMON, "-q"]) == 0
    assert sum(1 for _ in Path("in/scored").iterdir()) == 2


def test_failed_rows_are_named_and_go_back_in(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.fails_on = "Review: a 5"
    assert run(["score", "in/a.csv", *COMMON, "-q", "-o", "out.csv"]) == 0
    assert "failed rows, with reasons: out.failed.csv" in capsys.readouterr().err
    assert [r["failed_reason"] for r in read("out.failed.csv")] == ["no answer for this prompt"]
    engine.fails_on = None
    assert run(["score", "out.failed.csv", *COMMON, "-q"]) == 0
    [row] = read("out.failed.scored.csv")
    assert (row["id"], row["status"]) == ("5", "ok")


def test_plan_predicts_what_score_does(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "in/*.csv", *COMMON, "--price", "3", "--limit", "5"]) == 0
    said = capsys.readouterr().out
    assert engine.calls == []
    assert "2 input(s)" in said
    lines = {
        cells[0].strip(): cells[1].strip()
        for line in said.splitlines()
        if len(cells := line.strip("│ ").split("│")) == 2
    }
    assert lines["rows"] == lines["to be read by the model"] == "10"
    assert lines["labelled examples"].startswith("exact, ")
    tokens = int(lines["prompt tokens"].replace(",", ""))
    assert float(lines["cost"]) == pytest.approx(tokens * 3 / 1e6, rel=1e-3)
    assert run(["score", "in/*.csv", *COMMON, "--limit", "5", "-q"]) == 0
    assert sum(engine.calls) == 10
    assert f"of {tokens // 2:,} tokens" not in said


def test_a_run_that_failed_is_listed_shown_and_resumed(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.gone = True
    assert run(["score", "in/a.csv", *COMMON, "-q"]) == 2
    engine.gone = False
    assert run(["runs", "list"]) == 0
    assert "failed" in capsys.readouterr().out
    assert run(["runs", "resume", "--print"]) == 0
    assert "ecomfs score in/a.csv -t review_sentiment" in capsys.readouterr().out
    assert not Path("in/a.scored.csv").exists()
    assert run(["runs", "resume", "last"]) == 0
    assert len(read("in/a.scored.csv")) == 9
    capsys.readouterr()
    assert run(["runs", "resume", "last"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "none of 2 runs can be resumed" in line
    assert "is finished" in line


def newest_first() -> list[str]:
    return sorted((p.stem for p in (Path("state") / "runs").iterdir()), reverse=True)


def test_last_is_the_last_run_that_can_be_resumed_not_the_last_run(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    engine.gone = True
    assert run(["score", "in/a.csv", *COMMON, "-q"]) == 2
    engine.gone = False
    assert run(["score", "in/b.csv", *COMMON, "-q"]) == 0
    capsys.readouterr()
    # Neither one that was refused, nor one whose folder has gone, is one that can be resumed.
    import ecomfs.batch.runlog as runlog

    gone = runlog.RunLog.start(["score", "in/c.csv"])
    assert gone.path is not None
    gone.path.write_text(gone.path.read_text().replace(str(tmp_path), str(tmp_path / "no")))
    gone.write("stopped")
    Path("in/b.scored.csv.journal").write_text("notes")
    assert run(["score", "in/b.csv", *COMMON, "-q"]) == 2
    assert run(["runs", "show", newest_first()[0]]) == 0
    assert "state: refused" in capsys.readouterr().out
    assert run(["runs", "resume", "--print"]) == 0
    assert "ecomfs score in/a.csv" in capsys.readouterr().out
    assert run(["runs", "resume", "last"]) == 0
    assert len(read("in/a.scored.csv")) == 9


def test_a_run_whose_output_a_later_run_wrote_is_not_resumed(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.breaks_on = "a 8"
    with pytest.raises(ZeroDivisionError):
        run(["score", "in/a.csv", *COMMON, "-q"])
    engine.breaks_on = None
    assert run(["score", "in/a.csv", *COMMON, "-q", "--limit", "3", "--restart"]) == 0
    assert run(["runs", "resume", "last"]) == 2
    assert len(read("in/a.scored.csv")) == 3
    assert "can be resumed" in capsys.readouterr().err


@pytest.mark.parametrize(("state", "why"), [("off", "switches logs off"), ("none", "no run is lo")])
def test_no_run_to_resume_is_one_line(
    engine: ScriptedEngine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    why: str,
) -> None:
    monkeypatch.setenv("ECOMFS_STATE", state)
    assert run(["runs", "resume", "last"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert why in line


def test_a_damaged_log_of_a_run_is_no_crash(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("state") / "runs"
    folder.mkdir(parents=True)
    lines = ['{"event": "start"}', '{"event": "input", "output": 3}', "[]", '{"event": "st']
    (folder / "20260101-000000-1.jsonl").write_text("\n".join(lines))
    for verb in (["list"], ["show", "last"], ["compare", "2026", "last"]):
        assert run(["runs", *verb]) == 0
    assert run(["runs", "resume"]) == 2
    assert "none of 1 runs can be resumed" in capsys.readouterr().err


def test_two_runs_are_compared(engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "in/a.csv", *COMMON, "-q"]) == 0
    assert run(["score", "in/a.csv", *COMMON[:-4], "--k", "4", "--engine", "scripted", "-q"]) == 0
    first, second = sorted(p.stem for p in (Path("state") / "runs").iterdir())
    capsys.readouterr()
    assert run(["runs", "compare", first, second]) == 0
    said = capsys.readouterr().out
    assert "retrieval.k" in said
    assert "input.sha256" not in said
    assert run(["runs", "show", first]) == 0
    shown = capsys.readouterr().out
    assert "state: finished" in shown
    assert "engine: scripted" in shown
    assert run(["runs", "show", "nonsense"]) == 2


def test_the_log_holds_no_password_and_no_row(engine: ScriptedEngine) -> None:
    import ecomfs.batch.runlog as runlog

    log = runlog.RunLog.start(["score", "x.csv", "-e", "postgresql://me:secret@host/shop"])
    assert log.path is not None
    text = log.path.read_text()
    assert "secret" not in text
    assert "postgresql://me:***@host/shop" in text
    assert run(["score", "in/a.csv", *COMMON, "-q"]) == 0
    newest = max((Path("state") / "runs").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    assert "a 5" not in newest.read_text()


def test_logs_can_be_switched_off(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOMFS_STATE", "off")
    assert run(["score", "in/a.csv", *COMMON, "-q"]) == 0
    assert not Path("state").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--where", "stars"], "COLUMN OP VALUE"),
        (["--where", "start>1"], "did you mean 'stars'"),
        (["--sample", "0"], "1 or more"),
        (["-o", "out.xls"], ".xls is not written"),
        (["-o", "in/a.csv"], "same file"),
    ],
)
def test_mistakes_cost_no_model(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str], options: list[str], why: str
) -> None:
    engine.gone = True
    assert run(["score", "in/a.csv", *COMMON, "-q", *options]) == 2
    assert why in capsys.readouterr().err


def test_guarantees_are_fitted_in_the_same_run(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine guesses: no precision can be shown, and any label may be true."""
    guarantees = [
        "--precision",
        "0.95",
        "--coverage",
        "0.99",
        "--calibration-size",
        "16",
        "--no-fusion",
    ]
    assert run(["score", "in/a.csv", *COMMON, "-q", *guarantees, "-o", "out.csv"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "readings do not show a precision of 95% at any threshold" in said
    assert "every row abstains and needs review" in said
    rows = read("out.csv")
    assert {row["status"] for row in rows} == {"abstained"}
    assert any(len(json.loads(row["prediction_set"])) > 1 for row in rows)
    assert {row["note"] for row in rows} == {"abstained: needs review"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--precision", "0.9"], "--precision with --calibration-size 0"),
        (
            ["--max-loss", "0.01", "--profile", "p.json"],
            "--max-loss together with --profile p.json",
        ),
        (
            ["--coverage", "1.5", "--calibration-size", "4"],
            "--coverage = 1.5 (--coverage is a number between 0 and 1)",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["score", "plan"])
def test_guarantees_that_cannot_be_fitted(
    engine: ScriptedEngine,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    more: list[str],
    message: str,
) -> None:
    assert run([verb, "in/a.csv", *COMMON, *more]) == 2
    assert message in capsys.readouterr().err
    assert not engine.calls
    assert not Path("in/a.scored.csv").exists()


def test_a_plan_has_a_note_on_guarantees_it_cannot_predict(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "in/a.csv", *COMMON, "--calibration-size", "8", "--max-loss", "0.01"]) == 0
    assert "of these not read by the model (--max-loss)" in capsys.readouterr().out
    assert not engine.calls


def test_a_plan_and_a_run_say_how_numbers_are_read(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["id", "text", "price"], *([i, f"thing {i}", f"{i},5"] for i in range(9))]
    write("in/c.csv", rows)
    command = ["in/c.csv", *COMMON, "--where", "price<4,7"]
    assert run(["plan", *command]) == 0
    assert "decimal comma in price" in capsys.readouterr().out
    assert run(["score", *command, "-q"]) == 0
    assert "numbers: decimal comma in price" in capsys.readouterr().err
    assert [row["price"] for row in read("in/c.scored.csv")] == [f"{i},5" for i in range(5)]
