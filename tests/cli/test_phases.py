"""Progress of a command, its times, and the counts of its plan."""

from __future__ import annotations

import csv
import json
import os
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scripted import ScriptedEngine, examples

from ecomfs.batch import find_run
from ecomfs.cli import run
from ecomfs.cli.terminal import is_quiet

COMMON = ["-t", "review_sentiment", "--embedder", "hashed", "--language", "en", "--k", "2"]
COMMON += ["--engine", "scripted"]
PHASES = ["loading the model", "embedding: 0 of 12", "fitting: 0 of 8"]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    engine = ScriptedEngine()
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
    texts, labels = examples()
    write("pool.csv", [["text", "label"], *zip(texts, labels, strict=True)])
    write("in.csv", [["id", "text", "label"], *([i, f"thing {i}", "negative"] for i in range(9))])
    return engine


def write(name: str, rows: Any) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def said_total(text: str) -> str:
    found = re.search(r"([\d.]+) s in all", text)
    assert found is not None, text
    return found[1]


# -- phases ------------------------------------------------------------------------------------


def test_without_a_terminal_every_phase_of_score_is_a_plain_line(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "in.csv", "-e", "pool.csv", *COMMON, "--calibration-size", "8"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert [line for line in lines if line in PHASES] == PHASES
    assert any(line.startswith("reading") for line in lines)
    assert "writing" in lines
    log = find_run("last")
    assert log.seconds is not None
    assert said_total(said.err) == f"{log.seconds:.1f}"
    assert {"loading the model", "fitting", "reading"} <= set(log.phases)
    assert sum(log.phases.values()) <= log.seconds


def test_the_fit_is_in_the_total_by_the_clock(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock advances by a thousand seconds with every reading of the engine."""
    monkeypatch.setattr("ecomfs.cli.terminal.clock", lambda: 1000.0 * sum(engine.calls))
    assert run(["score", "in.csv", "-e", "pool.csv", *COMMON, "--calibration-size", "8", "-q"]) == 0
    assert sum(engine.calls) == 8 + 9
    said = capsys.readouterr().err
    assert said_total(said) == "17000.0"
    assert "fitting 8000.0 s" in said
    assert "reading 9000.0 s" in said


def test_quiet_shows_no_phase_and_still_the_total(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "in.csv", "-e", "pool.csv", *COMMON, "--calibration-size", "8", "-q"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert not set(PHASES) & set(lines)
    assert " s in all" in lines[-1]


def test_refused_input_is_one_line_where_there_is_no_terminal(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.gone = True
    assert run(["score", "no.csv", "-e", "pool.csv", *COMMON]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


@pytest.mark.parametrize("verb", ["ab", "fit", "plan", "rank"])
def test_every_verb_that_fits_shows_its_phases(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    write("short.csv", [["text", "label"], ["it broke", "negative"], ["it works", "positive"]])
    Path("s.jinja").write_text(
        "{% for d in demonstrations %}{{ d.row.text }}: {{ d.answer }}\n"
        "{% endfor %}{{ row.text }}:",
        encoding="utf-8",
    )
    arguments = {
        "ab": ["v1", "s.jinja", "--data", "short.csv", "--calibration-size", "8"],
        "fit": ["-o", "p.json", "--calibration-size", "8", "--tune", "0"],
        "plan": ["in.csv"],
        "rank": ["in.csv", "--group", "id", "--positive", "positive", "--calibration-size", "8"],
    }[verb]
    assert run([verb, *arguments, "-e", "pool.csv", *COMMON]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "loading the model" in lines
    if verb != "plan":
        assert any(line.endswith("fitting: 0 of 8") for line in lines)
        assert " s in all: " in lines[-1] + ": "


GATED = """
import os, sys

class Gate:
    def find_spec(self, name, path=None, target=None):
        if name in GATED:
            GATED.remove(name)
            os.read(FD, 1)  # until the test has seen what it waits for
        return None

FD, GATED = int(sys.argv.pop(1)), ["numpy", "xllamacpp"]
sys.meta_path.insert(0, Gate())
from ecomfs.cli import main
main()
"""


@pytest.mark.model
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_sees_each_phase_before_its_work_begins(tmp_path: Path) -> None:
    """Neither NumPy nor the model's runtime can be loaded before the output that goes before them
    was seen."""
    texts, labels = examples()
    rows = zip(texts, labels, strict=True)
    (tmp_path / "pool.csv").write_text(
        "\n".join(["text,label", *(f"{text},{label}" for text, label in rows)]) + "\n"
    )
    (tmp_path / "in.csv").write_text("\n".join(["text", *(f"thing {i}" for i in range(8))]) + "\n")
    gate, opener = os.pipe()
    terminal, inside = os.openpty()
    state = tmp_path / "state"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            GATED,
            str(gate),
            "score",
            "in.csv",
            "-t",
            "review_sentiment",
            "-e",
            "pool.csv",
            "--engine",
            "gguf:smollm2",
            "--embedder",
            "hashed",
            "--k",
            "1",
            "--calibration-size",
            "4",
            "-o",
            "out.csv",
        ],
        cwd=tmp_path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        pass_fds=[gate],
        env=os.environ
        | {
            "ECOMFS_STATE": str(state),
            "ECOMFS_CACHE": str(tmp_path / "cache"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "TERM": "xterm",
            "COLUMNS": "200",
        },
    )
    os.close(inside)
    said = ""

    def seen(words: str) -> bool:
        """Read on until the words are there; false where the process has ended without them."""
        nonlocal said
        while words not in said:
            if not select.select([terminal], [], [], 1)[0]:
                if process.poll() is not None:
                    return False
                continue
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the other end was closed
                return False
            said += piece.decode("utf-8", "replace")
        return True

    try:
        assert seen("checking the input"), said
        os.write(opener, b"1")
        assert seen("loading the model"), said
        os.write(opener, b"1")
        assert seen("0 of 4"), said  # fitting
        assert seen("of 8"), said  # reading
        seen("nothing says this: all that is left")
        assert process.wait() == 0, said
    finally:
        process.kill()
        process.wait()
        for each in (gate, opener, terminal):
            os.close(each)
    assert "8 rows (8 ok)" in said
    (log,) = (state / "runs").glob("*.jsonl")
    events = {e["event"]: e for e in map(json.loads, log.read_text().splitlines())}
    took = events["time"]
    assert said_total(said) == f"{took['seconds']:.1f}"
    assert took["phases"]["fitting"] > 0
    assert took["seconds"] >= sum(took["phases"].values())


# -- what a summary says -----------------------------------------------------------------------


def test_without_gold_the_summary_counts_labels_confidence_and_what_needs_review(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "in.csv", "-e", "pool.csv", *COMMON, "--calibration-size", "0", "-q"]) == 0
    said = capsys.readouterr().err
    rows = read("in.scored.csv")
    counts = pd.Series([row["predicted"] for row in rows]).value_counts()
    mean = sum(float(row["confidence"]) for row in rows) / len(rows)
    for label, n in counts.items():
        assert f"{label} {n}" in said
    assert f"mean confidence {mean:.2f} · 0 need review" in said


def test_a_promised_precision_is_shown_among_the_answered_rows(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    guarantees = ["--precision", "0.95", "--calibration-size", "12"]
    assert (
        run(["score", "in.csv", "-e", "pool.csv", *COMMON, *guarantees, "--gold-column", "label"])
        == 0
    )
    said = " ".join(capsys.readouterr().out.split())
    assert "answered" in said
    assert "precision among answered" in said
    assert "rows that abstained count as wrong" in said


def test_without_abstentions_the_table_has_no_column_for_them(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--calibration-size", "0", "--gold-column", "label"]
    assert run(["score", "in.csv", "-e", "pool.csv", *COMMON, *more]) == 0
    assert "precision" not in capsys.readouterr().out


def test_rare_labels_of_a_pool_are_named_also_without_a_fit(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"fine thing {i}" for i in range(18)] + ["broke at once", "arrived broken"]
    write(
        "pool.csv",
        [["text", "label"], *zip(texts, ["positive"] * 18 + ["negative"] * 2, strict=True)],
    )
    for size in ("0", "8"):
        more = ["--calibration-size", size, "--restart", "-q"]
        assert run(["score", "in.csv", "-e", "pool.csv", *COMMON, *more]) == 0
        said = capsys.readouterr().err
        assert said.count("unlikely answers: 'negative' (2, 10 %)") == 1


def test_a_model_that_adds_nothing_is_reported_with_the_experts_metrics(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine guesses, and the words of the pool determine the label."""
    words = {"positive": "lovely soft warm", "negative": "broken torn useless"}
    rows = [[f"{words[label]} thing {i}", label] for i in range(20) for label in words]
    write("pool.csv", [["text", "label"], *rows])
    assert (
        run(["score", "in.csv", "-e", "pool.csv", *COMMON, "--calibration-size", "40", "-q"]) == 0
    )
    said = capsys.readouterr().err
    found = re.search(r"Does the model add anything\? (.*): fused answer compared with (.*)", said)
    assert found is not None
    assert found[1] in ("Not shown", "No, it harms")
    assert re.match(r"experts alone, \d+ rows: accuracy 0\.0, log loss ", found[2])


# -- columns -----------------------------------------------------------------------------------


def test_rows_that_abstain_keep_suggestion_confidence_and_set_in_columns(
    engine: ScriptedEngine,
) -> None:
    guarantees = ["--precision", "0.95", "--coverage", "0.9", "--calibration-size", "12"]
    base = ["score", "in.csv", "-e", "pool.csv", *COMMON, *guarantees, "--probabilities"]
    assert run([*base, "-o", "out.csv"]) == 0
    rows = read("out.csv")
    assert {row["status"] for row in rows} == {"abstained"}
    for row in rows:
        p = {name: float(row[f"p_{name}"]) for name in ("positive", "negative")}
        assert row["predicted"] == ""
        assert row["suggestion"] == max(p, key=p.__getitem__)
        assert float(row["confidence"]) == max(p.values())
        labels = json.loads(row["prediction_set"])
        assert labels[0] == row["suggestion"]
        assert row["source"] in ("fused", "model")
        assert row["note"] == "abstained: needs review"
    pytest.importorskip("pyarrow")
    assert run([*base, "-o", "out.parquet"]) == 0
    frame = pd.read_parquet("out.parquet")
    assert frame["confidence"].dtype == frame["novelty"].dtype == "float64"
    assert frame["suggestion"].to_list() == [row["suggestion"] for row in rows]


# -- plans -------------------------------------------------------------------------------------


def test_a_plan_counts_what_the_fit_reads(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prompts and tokens are those of the run, the fit's with them; time goes by tokens."""
    base = ["in.csv", "-e", "pool.csv", *COMMON, "--calibration-size", "8"]
    assert run(["plan", *base]) == 0
    said = capsys.readouterr().out
    assert engine.calls == []
    assert re.search(r"examples the fit reads leave-one-out\s*│\s*8 ", said)
    tokens = re.search(r"prompt tokens of the fit\s*│\s*([\d,]+)", said)
    assert tokens is not None
    seen = record(engine)
    assert run(["score", *base, "-q"]) == 0
    assert int(tokens[1].replace(",", "")) == sum(seen[:8])
    capsys.readouterr()
    assert run(["plan", *base]) == 0
    again = capsys.readouterr().out
    assert "tokens/s (the last run with this model)" in again
    assert "the fit with it" in again


def record(engine: ScriptedEngine) -> list[int]:
    """Tokens of each prompt that the engine reads from now on."""
    seen: list[int] = []
    reading = engine._reading

    def counted(prompt: Any, questions: Any) -> Any:
        seen.append(len(prompt.token_ids))
        return reading(prompt, questions)

    engine._reading = counted  # type: ignore[method-assign]
    return seen


def test_a_plan_of_rank_counts_the_pairs_that_rank_reads(
    engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["rank", "in.csv", "--group", "id", "--positive", "positive", "-e", "pool.csv", *COMMON]
    base += ["--calibration-size", "8", "-q"]
    assert run([*base, "--plan"]) == 0
    said = capsys.readouterr().out
    assert engine.calls == []
    assert not Path("in.ranked.csv").exists()
    assert re.search(r"to be read by the model\s*│\s*9 ", said)
    assert re.search(r"examples the fit reads leave-one-out\s*│\s*8 ", said)
    assert run([*base, "--plan", "--probe", "2"]) == 0
    assert "tokens/s (a probe of 2 rows)" in capsys.readouterr().out
    before = sum(engine.calls)
    assert run(base) == 0
    assert sum(engine.calls) - before == 8 + 9
    assert run([*base, "--probe", "2"]) == 2
    assert "with --plan" in capsys.readouterr().err


def test_quiet_ends_with_its_command() -> None:
    assert run(["tasks", "--quiet"]) == 0
    assert not is_quiet()
