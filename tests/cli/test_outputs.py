"""The option -o of every command: standard output, pipes, links, and input files."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted import ScriptedEngine, examples

from ecomfs.cli import run
from ecomfs.io import TableReader

TASK = ["-t", "review_sentiment"]
READING = ["--embedder", "hashed", "--language", "en", "--k", "2", "--engine", "scripted"]
SCORE = ["score", "in.csv", *TASK, *READING, "--calibration-size", "0", "-q"]
CLEAN = ["prepare", "clean", "in.csv", "--text-column", "text"]
SUGGEST = ["suggest", "in.csv", *TASK, "-e", "pool.csv", "--embedder", "hashed", "-n", "2"]
EXPORT = ["examples", "export", "--pool", "pool.db"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: ScriptedEngine())
    texts, labels = examples()
    write("pool.csv", [["id", "text", "label"], *zip(range(12), texts, labels, strict=True)])
    write("in.csv", [["id", "text", "true"], *([i, f"thing {i}", "positive"] for i in range(4))])
    assert run(["examples", "import", "pool.csv", *TASK, "--pool", "pool.db"]) == 0
    return tmp_path


def write(name: str, rows: object) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)  # type: ignore[arg-type]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ([*SCORE, "-e", "pool.csv", "-o", "-"], 4),
        ([*SCORE, "-e", "pool.csv", "-o", "-", "--gold-column", "true"], 4),
        ([*CLEAN, "-o", "-"], 4),
        ([*SUGGEST, "-o", "-"], 2),
        ([*EXPORT, "-"], 12),
    ],
)
def test_a_dash_puts_the_table_alone_on_standard_output(
    capsys: pytest.CaptureFixture[str], command: list[str], rows: int
) -> None:
    capsys.readouterr()
    assert run(command) == 0
    out, said = capsys.readouterr()
    assert len(table(out)) == rows
    assert said.strip()
    assert not Path("-").exists()
    assert not [p.name for p in Path().iterdir() if p.name.startswith(("-", "."))]


@pytest.mark.parametrize(
    "command",
    [[*SCORE, "-e", "pool.csv"], CLEAN, SUGGEST, EXPORT],
    ids=["score", "clean", "suggest", "export"],
)
def test_a_pipe_a_link_and_a_mode_stay(folder: Path, command: list[str]) -> None:
    option = [] if command is EXPORT else ["-o"]
    os.mkfifo("pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe").read_text()))
    reader.start()
    assert run([*command, *option, "pipe"]) == 0
    reader.join()
    assert table(found[0])
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)
    Path("real.csv").write_text("old")
    Path("real.csv").chmod(0o600)
    Path("link.csv").symlink_to("real.csv")
    assert run([*command, *option, "link.csv"]) == 0
    assert Path("link.csv").is_symlink()
    assert table(Path("real.csv").read_text())
    assert stat.S_IMODE(Path("real.csv").stat().st_mode) == 0o600


def refused(command: list[str], capsys: pytest.CaptureFixture[str], *said: str) -> None:
    """One line that says so, and no file changes."""
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    capsys.readouterr()
    assert run(command) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("note: ")]
    for text in said:
        assert text in line
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before


READ = [
    ([*SCORE, "-e", "pool.db", "-o", "pool.db"], "--examples"),
    ([*SCORE, "-e", "sqlite:///pool.db", "-o", "pool.db"], "--examples"),
    ([*SCORE, "-e", "pool.csv", "-o", "pool.csv"], "--examples"),
    ([*SCORE, "-e", "pool.csv", "-o", "in.csv"], "IN.csv"),
    ([*SCORE, "-e", "pool.csv", "--template", "t.jinja", "-o", "t.jinja"], "--template"),
    ([*SCORE, "-e", "pool.csv", "--profile", "p.json", "-o", "p.json"], "--profile"),
    ([*EXPORT, "pool.db"], "--pool"),
    ([*CLEAN, "-o", "in.csv"], "IN.csv"),
    ([*CLEAN, "--test", "pool.csv", "-o", "pool.csv"], "--test"),
    ([*CLEAN, "-o", "out.csv", "--report", "in.csv"], "IN.csv"),
    ([*SUGGEST, "-o", "pool.csv"], "--examples"),
    (["fit", *TASK, "-e", "pool.csv", *READING, "-o", "pool.csv"], "--examples"),
    (["ab", *TASK, "-e", "pool.csv", "--data", "in.csv", "-o", "in.csv"], "--data"),
]
"""Commands whose last word is an output, and the option that reads the same file."""


@pytest.mark.parametrize(("command", "option"), READ)
def test_an_output_is_never_a_file_that_the_run_reads(
    capsys: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    Path("t.jinja").write_text("{{ text }}")
    Path("p.json").write_text("{}")
    refused(command, capsys, option, "are the same file")


@pytest.mark.parametrize(("command", "option"), [READ[0], READ[3], READ[6], READ[8]])
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_an_output_is_never_a_link_to_a_file_that_the_run_reads(
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    option: str,
    link: Callable[[Path, str], None],
) -> None:
    link(Path("link.csv"), command[-1])
    refused([*command[:-1], "link.csv"], capsys, option, "are the same file")


def test_two_outputs_are_two_files(capsys: pytest.CaptureFixture[str]) -> None:
    refused([*CLEAN, "-o", "out.csv", "--report", "out.csv"], capsys, "-o", "--report")


@pytest.mark.parametrize("name", ["other.db", "other.csv"])
def test_an_output_is_never_a_pool(capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path("other.db").write_bytes(Path("pool.db").read_bytes())
    if name != "other.db":
        Path(name).symlink_to("other.db")
    for command in ([*SCORE, "-e", "pool.csv", "-o", name], [*EXPORT, name], [*CLEAN, "-o", name]):
        refused(command, capsys, "is a database")


def test_side_files_of_an_output_never_overwrite_an_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("pool.csv").rename("out.failed.csv")
    refused([*SCORE, "-e", "out.failed.csv", "-o", "out.csv"], capsys, "--examples")
    Path("out.failed.csv").rename("out.csv.journal")
    refused([*SCORE, "-e", "out.csv.journal", "-o", "out.csv", "--restart"], capsys, "the journal")
    Path("out.csv.journal").rename("in.scored.csv")
    refused([*SCORE, "-e", "in.scored.csv"], capsys, "--examples")
    Path("in.scored.csv").rename("out.removed.csv")
    refused([*CLEAN, "--test", "out.removed.csv", "-o", "out.csv"], capsys, "--test")


def test_a_template_of_the_task_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    task = Path("prompts") / "mine"
    task.mkdir(parents=True)
    shipped = Path(__file__).parents[2] / "prompts" / "review_sentiment"
    for file in shipped.glob("*.*"):
        (task / file.name).write_bytes(file.read_bytes())
    for name in ("mine", str(task)):
        for file in ("task.yaml", "en.v1.jinja"):
            command = ["suggest", "in.csv", "-t", name, "--embedder", "hashed", "-n", "2"]
            refused([*command, "-o", str(task / file)], capsys, "--task")


def test_a_table_of_a_pool_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ecomfs_example", "ECOMFS_POOL"):
        output = f"sql:sqlite:///pool.db#{name}"
        command = [*SCORE, "-e", "pool.csv", "-o", output, "--replace-table"]
        refused(command, capsys, "reserved for pools and reviews")


def test_a_pool_is_no_journal_to_drop(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("pool.db").read_bytes()
    Path("out.csv.journal").write_bytes(before)
    assert run([*SCORE, "-e", "pool.csv", "-o", "out.csv", "--restart"]) == 2
    assert "a database, such as a pool, and not a journal" in capsys.readouterr().err
    assert Path("out.csv.journal").read_bytes() == before
    assert not Path("out.csv").exists()


def test_new_files_with_row_text_are_private(folder: Path) -> None:
    """Results, failed rows, journals, pools with their logs, run logs and caches."""
    old = os.umask(0o022)
    try:
        write("in.csv", [["id", "text"], [1, "fine"], [2, ""]])
        assert run([*SCORE, "-e", "pool.csv", "-o", "out.csv", "--keep-journal"]) == 0
        assert run([*SCORE, "-e", "pool.csv", "-o", f"sql:sqlite:///{folder}/shop.db#scored"]) == 0
        assert run([*CLEAN, "-o", "clean.csv", "--report", "clean.json"]) == 0
        assert run([*SUGGEST, "-o", "suggest.csv"]) == 0
        assert run([*EXPORT, "export.csv"]) == 0
        assert run(["backup", "pool.db", "kept.db"]) == 0
        assert run(["examples", "import", "pool.csv", *TASK, "--pool", "new.db"]) == 0
    finally:
        os.umask(old)
    given = {"in.csv", "pool.csv"}
    made = {p for p in folder.rglob("*") if p.is_file() and p.name not in given}
    for name in ("out.csv", "out.failed.csv", "out.csv.journal", "shop.db", "clean.removed.csv"):
        assert folder / name in made
    assert any(p.suffix == ".jsonl" for p in made), "no run was logged"
    assert {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in made} == {
        p.name: "0o600" for p in made
    }


def test_two_results_on_standard_output_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    refused([*CLEAN, "-o", "-", "--report", "-"], capsys, "-o and --report")


def test_several_inputs_need_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.csv").write_bytes(Path("in.csv").read_bytes())
    command = ["score", "in.csv", "b.csv", *SCORE[2:], "-e", "pool.csv", "-o", "-"]
    refused(command, capsys, "is one output for 2 inputs")


def test_a_table_of_a_database_is_made_and_not_replaced_unasked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SCORE, "-e", "pool.csv", "-o", f"sql:sqlite:///{folder / 'shop.db'}#scored"]
    assert run(command) == 0
    rows = TableReader(f"sql:sqlite:///{folder / 'shop.db'}#SELECT * FROM scored").rows()
    assert [row.cells["text"] for row in rows] == [f"thing {i}" for i in range(4)]
    assert run(command) == 2
    assert "--replace-table" in capsys.readouterr().err
    assert run([*command, "--replace-table"]) == 0
    assert run([*command[:-1], "out.csv", "--replace-table"]) == 2
    assert "is not a table of a database" in capsys.readouterr().err


def test_a_format_for_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run([*SCORE, "-e", "pool.csv", "-o", "-", "--output-format", "jsonl"]) == 0
    out = capsys.readouterr().out
    assert [json.loads(line)["text"] for line in out.splitlines()] == [
        f"thing {i}" for i in range(4)
    ]
    assert run([*SCORE, "-e", "pool.csv", "--output-format", "ods"]) == 2
    assert "use one of csv, tsv, jsonl" in capsys.readouterr().err


def test_sheets_are_named_for_every_workbook(capsys: pytest.CaptureFixture[str]) -> None:
    excel = pytest.importorskip("openpyxl")
    book = excel.Workbook()
    book.active.title = "May"
    for sheet in (book.active, book.create_sheet("June")):
        sheet.append(["text"])
        sheet.append([f"thing of {sheet.title}"])
    book.save("book.xlsx")
    command = ["score", "book.xlsx", *SCORE[2:], "-e", "pool.csv"]
    assert run([*command, "-o", "first.csv"]) == 0
    said = capsys.readouterr().err
    assert "note: book.xlsx: only the first sheet 'May' is read, not 'June' (--sheet NAME" in said
    assert run([*command, "--sheet", "May", "--sheet", "June", "-o", "out.xlsx"]) == 0
    assert "only the first sheet" not in capsys.readouterr().err
    assert [dict(row.cells)["sheet"] for row in TableReader("out.xlsx").rows()] == ["May", "June"]
    assert run([*command, "--sheet", "*"]) == 0
    assert len(list(TableReader("book.scored.csv").rows())) == 2
    assert run([*SCORE, "-e", "pool.csv", "--sheet", "May"]) == 2
    assert "in.csv, which is not a workbook" in capsys.readouterr().err
