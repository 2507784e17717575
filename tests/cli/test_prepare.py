"""``ecomfs prepare clean``: texts are repaired, rows are removed with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecomfs.cli import run
from ecomfs.io import read_frame

ROWS = """id,text,label,stars
1,Works <b>well</b>!,good,5
2,works well,Good ,5
3,,bad,1
4,Broke at once,bad,1
5,Arrived late,bad,2
6,Arrived late!,good,4
7,Soft and warm,good,5
8,too few cells
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(ROWS, encoding="utf-8")
    Path("test.csv").write_text("text\nSOFT and warm\n", encoding="utf-8")
    return tmp_path


def clean(*arguments: str) -> int:
    base = ["prepare", "clean", "in.csv", "-o", "out.csv", "--text-column", "text"]
    return run([*base, "--label-column", "label", "--id-column", "id", *arguments])


def test_every_row_is_kept_or_has_a_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("in.csv").read_bytes()
    assert clean("--test", "test.csv", "--report", "report.json") == 0
    out = read_frame("out.csv").data
    removed = read_frame("out.removed.csv").data
    assert out["id"].to_list() == ["1", "4"]
    assert out["text"].to_list() == ["Works well!", "Broke at once"]
    assert out["text_original"].to_list() == ["Works <b>well</b>!", "Broke at once"]
    assert dict(zip(removed["id"], removed["removed_because"], strict=True)) == {
        "2": "duplicate",
        "3": "empty",
        "5": "conflict",
        "6": "conflict",
        "7": "leak",
        "8": "unreadable",
    }
    assert removed["line"].to_list() == ["3", "4", "6", "7", "8", "9"]
    assert Path("in.csv").read_bytes() == before
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert (report["rows_in"], report["rows_out"]) == (8, 2)
    assert "8 rows in, 2 out, 6 removed" in capsys.readouterr().out


def test_the_policy_is_the_users(folder: Path) -> None:
    assert clean("--conflict", "report", "--duplicate", "ignore", "--html", "keep") == 0
    out = read_frame("out.csv").data
    assert out["id"].to_list() == ["1", "2", "4", "5", "6", "7"]
    assert out["text"].iloc[0] == "Works <b>well</b>!"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text-column", "body"], "no column 'body'"),
        (["--label-column", "truth"], "no column 'truth'"),
        (["--emoji", "eat"], "--emoji 'eat'"),
        (["--near-threshold", "0.1"], "--near-threshold 0.1"),
        (["--max-chars", "0"], "--max-chars 0"),
        (["--test", "nowhere.csv"], "nowhere.csv"),
        (["-o", "in.csv"], "are the same file"),
        (["-o", "no/such/out.csv"], "mkdir -p no/such"),
        (["--report", "out.removed.csv"], "another output"),
        (["--report", "."], "folder"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(p.name for p in folder.iterdir())
    assert clean(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(p.name for p in folder.iterdir()) == before
    assert Path("in.csv").read_text(encoding="utf-8") == ROWS


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prepare", "--help"]) == 0
    assert "clean" in capsys.readouterr().out
