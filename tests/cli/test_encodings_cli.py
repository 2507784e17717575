"""Encodings on the command line: one option for all inputs, and the output streams."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from scripted import ScriptedEngine

from ecomfs.cli import app, run
from ecomfs.io import read_frame

POOL = "id,text,label\n" + "".join(
    f"{i},{'schön und günstig' if i % 2 else 'enttäuscht und fällt größer aus'} {i},"
    f"{'positive' if i % 2 else 'negative'}\n"
    for i in range(8)
)
READ_TABLES = [
    "score",
    "plan",
    "explain",
    "rank",
    "serve",
    "fit",
    "ab",
    "eval score",
    "suggest",
    "examples import",
    "prepare clean",
    "prepare augment",
    "new-task",
    "lint-task",
    "init",
]
SCORE = [
    "score",
    "in.csv",
    "-t",
    "review_sentiment",
    "-e",
    "pool.csv",
    "--embedder",
    "hashed",
    "-q",
    "--calibration-size",
    "0",
    "--k",
    "2",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: ScriptedEngine())
    return tmp_path


def command(words: str) -> Any:
    found: Any = typer.main.get_command(app)
    for word in words.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize("verb", READ_TABLES)
def test_every_verb_that_reads_a_table_takes_its_encoding(verb: str) -> None:
    assert "--input-encoding" in [o for p in command(verb).params for o in p.opts]


def test_an_unknown_encoding_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SCORE, "--input-encoding", "klingon"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown text encoding 'klingon'")
    assert error.count("\n") == 1


def test_input_and_examples_are_read_in_the_encoding_that_is_named() -> None:
    Path("pool.csv").write_text(POOL, encoding="cp1252")
    Path("in.csv").write_text("id,text\n1,Maß\n2,Öl\n", encoding="cp1252")  # too short to tell
    assert run(SCORE) == 2
    assert run([*SCORE, "--input-encoding", "cp1252"]) == 0
    frame = read_frame("in.scored.csv").data
    assert [*frame["text"]] == ["Maß", "Öl"]
    assert {*frame["status"]} == {"ok"}
    assert run(["plan", *SCORE[1:8], "--k", "2", "--input-encoding", "cp1252"]) == 0


def test_a_detected_encoding_is_reported_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("pool.csv").write_text(POOL, encoding="cp1252")
    Path("in.csv").write_text("id,text\n1,质量很好，物流也快\n", encoding="gbk")
    assert run(SCORE) == 0
    error = capsys.readouterr().err
    assert error.count("note: pool.csv: read as cp1252") == 1
    assert error.count("note: in.csv: read as gb18030") == 1
    assert [*read_frame("in.scored.csv").data["text"]] == ["质量很好，物流也快"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "clean", "pool.csv", "-o", "out.csv", "--text-column", "text"],
        ["examples", "import", "pool.csv", "-t", "review_sentiment", "--pool", "out.db"],
        ["new-task", "mine", "--from", "pool.csv", "--label-column", "label"],
        ["suggest", "pool.csv", "-t", "review_sentiment", "-o", "out.csv", "--embedder", "hashed"],
    ],
)
def test_other_verbs_read_in_the_encoding_that_is_named(arguments: list[str]) -> None:
    text = "id,text,label\n1,Maß,positive\n2,Öl,negative\n"
    Path("pool.csv").write_text(text, encoding="cp1252")
    assert run(arguments) == 2
    assert run([*arguments, "--input-encoding", "cp1252"]) == 0


PREDICTIONS = "id,label,predicted\n1,schön,schön\n2,übel,schön\n3,übel,übel\n4,schön,schön\n"


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("semicolons.csv", PREDICTIONS.replace(",", ";").encode()),
        ("carets.csv", PREDICTIONS.replace(",", "^").encode()),
        (
            "spaced.csv",
            PREDICTIONS.replace(",", ', "')
            .replace("\n", '"\n')
            .encode()
            .replace(b'id, "label, "predicted"', b'id, "label", "predicted"')
            .replace("schön, ".encode(), 'schön", '.encode())
            .replace("übel, ".encode(), 'übel", '.encode()),
        ),
        ("utf16.csv", PREDICTIONS.encode("utf-16")),
        ("two-marks.csv", ("\ufeff\ufeff" + PREDICTIONS).encode()),
        ("excel.csv", PREDICTIONS.replace("\n", ",,\n").encode()),
        ("packed.csv.gz", gzip.compress(PREDICTIONS.encode(), mtime=0)),
        ("tabs.tsv", PREDICTIONS.replace(",", "\t").encode()),
    ],
)
def test_eval_score_reads_what_score_reads(
    name: str, raw: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(raw)
    assert run(["eval", "score", name]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "n = 4 rows" in shown
    assert "75.0 %" in shown


@pytest.mark.parametrize("name", ["p.parquet", "p.xlsx", "p.jsonl"])
def test_eval_score_reads_tables_that_are_not_text(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    frame = pd.read_csv(io.StringIO(PREDICTIONS))
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        frame.to_parquet(name)
    elif name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
        frame.to_excel(name, index=False)
    else:
        frame.to_json(name, orient="records", lines=True, force_ascii=False)
    assert run(["eval", "score", name]) == 0
    assert "75.0 %" in capsys.readouterr().out


def test_eval_score_leaves_no_unreadable_row_out(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.csv").write_text(PREDICTIONS + "5,schön\n")
    assert run(["eval", "score", "p.csv"]) == 2
    assert "line 6: 2 cells where the header has 3" in capsys.readouterr().err


TEMPLATE = """{{ instruction }}
{% for d in demonstrations %}{{ d.text }}
Sentiment: {{ d.answer }}
{% endfor %}Größe und Qualität fällig: {{ text }}
Sentiment:"""


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_template_is_the_same_in_any_encoding_of_an_editor(
    codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pool.csv").write_text(POOL, encoding="utf-8")
    Path("mine.jinja").write_bytes(TEMPLATE.encode(codec))
    row = ["explain", "gut", "-t", "review_sentiment", "-e", "pool.csv", "--embedder", "hashed"]
    assert run([*row, "--k", "2", "--template", "mine.jinja"]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "Größe und Qualität fällig: gut" in shown
    assert "\ufeff" not in shown


@pytest.mark.parametrize("file", ["en.v1.jinja", "task.yaml"])
@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "gb18030"])
def test_cards_and_templates_of_a_task(
    file: str, codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    prompts = Path(__file__).parents[2] / "prompts"
    shutil.copytree(prompts / "review_sentiment", "mine")
    path = Path("mine") / file
    path.write_bytes(path.read_text("utf-8").encode(codec))
    code = run(["lint-task", "mine"])
    shown = capsys.readouterr()
    assert code == 0, shown.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["lint-task", "mine"],
        ["explain", "gut", "-t", "review_sentiment", "--template", "bad.jinja"],
        ["eval", "run", "bad.yaml"],
        [
            "ab",
            "v1",
            "-t",
            "review_sentiment",
            "-e",
            "pool.csv",
            "-d",
            "pool.csv",
            "--variant",
            "bad.yaml",
        ],
    ],
)
def test_a_file_that_cannot_be_decoded_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pool.csv").write_text(POOL, encoding="utf-8")
    Path("mine").mkdir()
    for name in ("mine/task.yaml", "bad.jinja", "bad.yaml"):
        Path(name).write_bytes(b"name: caf\xe9")
    assert run(arguments) in (1, 2)
    said = capsys.readouterr()
    assert "is not UTF-8" in " ".join((said.out + said.err).replace("│", " ").split())


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp1252:strict"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "score", "p.csv"],
        ["tasks"],
        ["score", "--help"],
        ["score", "没有.csv", "-t", "review_sentiment"],
        ["prepare", "clean", "p.csv", "-o", "out.csv", "--text-column", "predicted"],
    ],
)
def test_characters_that_a_stream_lacks_are_replaced(
    folder: Path, encoding: str, arguments: list[str]
) -> None:
    Path("p.csv").write_text(PREDICTIONS.replace("schön", "好评"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ecomfs", *arguments],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == (2 if "没有.csv" in arguments else 0), done.stderr
    assert b"Error" not in done.stderr
    assert b"Traceback" not in done.stderr


EXPLAIN = [*SCORE[2:8], "--calibration-size", "0", "--k", "2"]


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("cp1252", ["Hemd Größe 40, fällt kleiner aus", "Die Hose ist mir zu groß"]),
        ("cp1252", ["Ótima proteção, recomendo", "Não é bom, a peça veio rasgada"]),
        ("cp949", ["정말 예쁜 그릇이에요", "배송 중에 깨졌어요"]),
        ("cp1253", ["Πολύ καλό προϊόν", "Χάλασε την πρώτη μέρα"]),
        ("gbk", ["杯子很漂亮，值得买", "碎了，要求退款"]),
    ],
)
@pytest.mark.parametrize("delimiter", [";", ","])
def test_a_row_before_unicode_is_explained_as_its_text_and_never_as_another(
    encoding: str,
    texts: list[str],
    delimiter: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = [f'{number}{delimiter}"{text}"' for number, text in enumerate(texts, 1)]
    table = "\n".join([f"id{delimiter}text", *lines, ""])
    Path("in.csv").write_bytes(table.encode(encoding))
    Path("pool.csv").write_text(POOL, encoding="utf-8")
    for number, text in enumerate(texts, 1):
        assert run(["explain", "in.csv", "--row", str(number), *EXPLAIN]) == 0
        assert text in capsys.readouterr().out
        assert "if that is wrong, name the encoding with --input-encoding" in caplog.text


@pytest.mark.parametrize("word", ["Größe", "café", "naïve", "5°C", "it’s", "100 €"])
def test_one_word_before_unicode_is_read_right_or_refused_and_named(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.csv").write_bytes(f"id,text\n1,nice and {word}\n2,good\n".encode("cp1252"))
    Path("pool.csv").write_text(POOL, encoding="utf-8")
    if run(["explain", "in.csv", "--row", "1", *EXPLAIN]) == 0:
        assert word in capsys.readouterr().out
    else:
        assert "likely encodings" in capsys.readouterr().err
    assert run(["explain", "in.csv", "--row", "1", *EXPLAIN, "--input-encoding", "cp1252"]) == 0
    assert word in capsys.readouterr().out
