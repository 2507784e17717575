"""Escape sequences in rows, labels, ids and file names never reach a terminal or a log."""

from __future__ import annotations

import ast
import csv
import json
import logging
import re
from pathlib import Path

import pytest

import ecomfs.cli
from ecomfs.batch import RunLog, list_runs
from ecomfs.cli import run
from ecomfs.cli.terminal import PrintableFormatter
from ecomfs.errors import EcomfsError, InputError, printable

BAD = "\x1b[2J\x1b]0;owned\x07\x9b1A\u202e"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TASK = ["-t", "product_category"]
NONE = ["--engine", "none", "--embedder", "hashed"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    write("pool.csv", ["id", "title", "label"], (f"a{BAD}", f"red{BAD} shoe", f"shoes{BAD}"))
    with Path("pool.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("b", "blue shoe", f"shoes{BAD}"), ("c", "iron pan", "pans")])
    write(f"in{BAD}.csv", ["id", "title"], (f"1{BAD}", f"red{BAD} shoe"), ("2", ""))
    return tmp_path


def write(name: str, *rows: object) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)  # type: ignore[arg-type]


IMPORT = ["examples", "import", "pool.csv", *TASK, "--pool", "pool.db"]
COMMANDS = [
    ["score", f"in{BAD}.csv", "-e", "pool.csv", *TASK, *NONE, "-o", "out.csv"],
    ["score", f"no{BAD}.csv", "-e", "pool.csv", *TASK, *NONE],
    ["score", "pool.csv", "-e", "pool.csv", *TASK, *NONE, "--gold-column", f"x{BAD}"],
    ["explain", f"red{BAD} shoe", "-e", "pool.csv", *TASK, *NONE],
    ["examples", "history", f"a{BAD}", "--pool", "pool.db"],
    ["examples", "stats", "--pool", "pool.db"],
    ["examples", "stats", "--pool", "pool.db", "--json"],
    ["examples", "relabel", "c", f"shoes{BAD}", "--pool", "pool.db"],
    ["examples", "relabel", "c", f"new{BAD}", "--pool", "pool.db"],
    ["suggest", f"in{BAD}.csv", *TASK, "-e", "pool.csv", "--embedder", "hashed", "-o", "s.csv"],
    ["prepare", "clean", "pool.csv", "--text-column", "title", "-o", f"c{BAD}.csv"],
    ["runs", "list"],
    [f"no{BAD}"],
    ["score", "in.csv", f"--no{BAD}"],
]


@pytest.mark.parametrize(
    ("command", "colours"),
    [*((c, False) for c in COMMANDS), *((c, True) for c in (COMMANDS[1], *COMMANDS[3:6]))],
    ids=map(str, range(len(COMMANDS) + 4)),
)
def test_no_text_of_others_controls_the_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    colours: bool,
) -> None:
    assert run(IMPORT) == 0
    if command[0] == "runs":
        run(COMMANDS[0])
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    run(command)
    said = "".join(capsys.readouterr())
    own = re.sub(r"\x1b\[[0-9;]*m", "", said) if colours else said  # the colours of Rich
    assert not CONTROL.findall(own)
    assert "\x1b[2J" not in said


def test_the_log_of_a_run_has_none(folder: Path) -> None:
    run(COMMANDS[0])
    logs = [*(folder / "state").rglob("*.jsonl")]
    assert logs
    for log in logs:
        assert not CONTROL.findall(log.read_text(encoding="utf-8").replace("\n", ""))
        assert BAD in json.loads(log.read_text().splitlines()[0])["command"][1]


def test_brackets_in_tables_are_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ["score", "in.csv", "--where", "text~[/]", "--where", "shop=[red]:smile:"]
    for each in (words, words[:4]):
        with RunLog.start(each).ending():
            pass
    assert run(["runs", "list"]) == 0
    shown = capsys.readouterr().out
    assert "--where 'text~[/]' --where 'shop=[red]:smile:'" in shown
    first, second = (each.id for each in list_runs())
    assert run(["runs", "compare", first, second]) == 0
    assert "shop=[red]:smile:" in capsys.readouterr().out


def test_messages_and_lines_of_logs_are_printable() -> None:
    error = InputError(f"row {BAD}", hint=BAD)
    assert isinstance(error, EcomfsError)
    assert not CONTROL.findall(str(error))
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "row %s", (BAD,), None)
    assert not CONTROL.findall(PrintableFormatter().format(record))
    assert printable("很好 👍🏽 fine\tand\nlines") == "很好 👍🏽 fine\tand\nlines"


def test_every_verb_prints_through_the_terminal() -> None:
    """No ``print`` and no console of Rich's own in the code of a command."""
    allowed = {"terminal.py", "console.py", "json_result.py"}
    for path in Path(ecomfs.cli.__file__).parent.glob("*.py"):
        if path.name in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path.name}, line {node.lineno}"
            if isinstance(node, ast.ImportFrom):
                assert node.module != "rich.console" or not any(
                    a.name == "Console" for a in node.names
                ), f"{path.name}, line {node.lineno}"
