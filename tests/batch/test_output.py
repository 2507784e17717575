"""The content of result tables, in every format."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted import classifier

from ecomfs.batch import (
    Job,
    ScoreResult,
    Selection,
    Tally,
    find_columns,
    score_table,
)
from ecomfs.batch.journal import Entry, Journal, pack, row_key
from ecomfs.batch.output import write_output
from ecomfs.errors import ConfigError, InputError
from ecomfs.io import TableReader
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Prediction, Status


def table(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('id,text\n1,"good, and ""soft"""\n2,\n3,很好\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("o.csv", "o.tsv", "o.csv.gz", "o.csv.zst", "o.tsv.gz", "o.parquet"),
        *("o.jsonl", "o.ndjson.gz", "o.xlsx"),
    ],
)
def test_every_format_holds_the_same_rows(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    if name.endswith("zst") and sys.version_info < (3, 14):
        pytest.importorskip("backports.zstd")
    source = table(tmp_path / "in.csv")
    pipeline = classifier(k=0).pipeline_
    score_table(source, tmp_path / "plain.csv", pipeline, probabilities=True)
    score_table(source, tmp_path / name, pipeline, probabilities=True)
    plain, made = (
        [dict(row.cells) for row in TableReader(tmp_path / n).rows()] for n in ("plain.csv", name)
    )
    for one, other in zip(plain, made, strict=True):
        for column, cell in one.items():
            if column in ("confidence", "p_positive", "p_negative") and cell:
                assert float(other[column]) == float(cell)
            else:
                assert other[column] == cell
    first = (tmp_path / name).read_bytes()
    score_table(source, tmp_path / name, pipeline, probabilities=True)
    # A workbook has the time at which it was made.
    assert (tmp_path / name).read_bytes() == first or name == "o.xlsx"


def test_parquet_keeps_numbers_as_numbers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    score_table(table(tmp_path / "in.csv"), tmp_path / "o.parquet", classifier(k=0).pipeline_)
    schema = parquet.read_schema(tmp_path / "o.parquet")
    assert str(schema.field("confidence").type) == "double"
    assert str(schema.field("text").type) == "string"
    column = parquet.read_table(tmp_path / "o.parquet")["confidence"].to_pylist()
    assert column[1] is None
    assert column[0] > 0


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("o.json", None, r"\.json is not written \(use \.jsonl"),
        ("o.xls", None, r"\.xls is not written \(use \.xlsx"),
        ("o.xlsx.gz", None, "xlsx is compressed already"),
        ("o.parquet", "csv", "the name is that of parquet, but --output-format is csv"),
    ],
)
def test_formats_that_are_not_written(tmp_path: Path, name: str, form: Any, message: str) -> None:
    source = table(tmp_path / "in.csv")
    with pytest.raises(ConfigError, match=message):
        score_table(source, tmp_path / name, classifier(k=0).pipeline_, form=form)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_json_lines_keep_numbers_as_numbers(tmp_path: Path) -> None:
    score_table(table(tmp_path / "in.csv"), tmp_path / "o.jsonl", classifier(k=0).pipeline_)
    first, second, _ = map(json.loads, (tmp_path / "o.jsonl").read_text("utf-8").splitlines())
    assert first["text"] == 'good, and "soft"'
    assert isinstance(first["confidence"], float)
    assert second["confidence"] is None
    assert second["status"] == "failed"


def test_a_workbook_is_not_its_own_result(tmp_path: Path) -> None:
    excel = pytest.importorskip("openpyxl")
    book = excel.Workbook()
    book.active.title = "May"
    book.active.append(["text"])
    book.active.append(["fine"])
    book.save(tmp_path / "in.xlsx")
    with pytest.raises(ConfigError, match="are the same file"):
        score_table(f"{tmp_path / 'in.xlsx'}#May", tmp_path / "in.xlsx", classifier(k=0).pipeline_)


def test_compressed_input_and_output(tmp_path: Path) -> None:
    plain = table(tmp_path / "in.csv")
    packed = tmp_path / "in.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    pipeline = classifier(k=0).pipeline_
    score_table(packed, tmp_path / "out.csv", pipeline)
    score_table(plain, tmp_path / "other.csv", pipeline)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


# -- input and journal, side by side -----------------------------------------------------------

CARD = load_task("review_sentiment")
SPACE = LabelSpace.resolve(CARD, ["positive", "negative"])


def written(source: Path, answers: dict[int, Prediction], **options: Any) -> ScoreResult:
    """What is written of a table and a journal with these answers, by position."""
    reader = TableReader(source, chunk_rows=2)
    rows = list(reader.rows())
    columns = find_columns(source, CARD, gold_column=options.pop("gold", None))
    selected = options.pop("selection", Selection()).over(reader)
    job = Job(str(source), source.with_name("out.csv"))
    with Journal(source.with_name("j")) as journal:
        for at, answer in answers.items():
            packed = pack(answer, SPACE.names)
            journal.commit([Entry(at, row_key({"text": rows[at].cells["text"]}), *packed)], at + 1)
        try:
            return write_output(
                job,
                reader,
                columns,
                CARD,
                SPACE,
                journal,
                selected,
                Tally(),
                **{"rows": len(rows), **options},
            )
        finally:
            journal.remove()


def answer(label: str | None, status: Status = Status.OK, **more: Any) -> Prediction:
    return Prediction("", label, {"negative": 0.25, "positive": 0.75}, status=status, **more)


def test_rows_come_out_in_order_with_their_own_answer_or_that_of_their_copy(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,text,stars\na,good,positive\nb,bad,negative\nc,good,\nd,dull,Negative\n")
    answers = {
        0: answer("positive"),
        1: answer(None, Status.FAILED, error="no reading"),
        3: answer(None, Status.ABSTAINED),
    }
    result = written(source, answers, gold="stars", probabilities=True)
    rows = [row.cells for row in TableReader(result.output).rows()]
    assert [(r["id"], r["predicted"], r["status"]) for r in rows] == [
        ("a", "positive", "ok"),
        ("b", "", "failed"),
        ("c", "positive", "ok"),
        ("d", "", "abstained"),
    ]
    assert rows[3]["suggestion"] == "positive"
    assert (result.tally.rows, result.tally.status["ok"]) == (4, 2)
    assert (result.answers.labels["positive"], result.answers.review) == (2, 2)
    assert result.gold is not None
    assert result.gold.labels == ["positive", "negative", "", "negative"]
    assert result.failed is not None
    [failed] = TableReader(result.failed).rows()
    assert (failed.cells["id"], failed.cells["failed_reason"]) == ("b", "no reading")


def test_a_selection_is_written_alone_and_counted(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv")
    result = written(source, {0: answer("positive")}, selection=Selection(limit=1), rows=1)
    assert [row.cells["id"] for row in TableReader(result.output).rows()] == ["1"]
    assert (result.tally.rows, result.failed) == (1, None)


@pytest.mark.parametrize(
    "answers", [{}, {0: answer("positive"), 2: answer("negative")}], ids=["none", "one is missing"]
)
def test_a_row_without_an_answer_writes_nothing_and_keeps_the_old_files(
    tmp_path: Path, answers: dict[int, Prediction]
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\none\ntwo\nthree\n")
    (tmp_path / "out.csv").write_text("old\n")
    with pytest.raises(InputError, match="the journal has no prediction for this row"):
        written(source, answers)
    assert (tmp_path / "out.csv").read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_an_input_that_lost_rows_while_it_was_scored_writes_nothing(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv")
    with pytest.raises(InputError, match=r"in\.csv has 3 rows now and had 4"):
        written(source, dict.fromkeys(range(3), answer("positive")), rows=4)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_giving_up_between_chunks_writes_nothing(tmp_path: Path) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    source = table(tmp_path / "in.csv")
    failed = answer(None, Status.FAILED, error="no reading")
    with pytest.raises(KeyboardInterrupt):
        written(source, {0: failed, 1: failed}, check=check)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_rows_that_failed_before_have_their_reason_renewed(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("failed_reason,text,failed_status\nold,one,invalid\n")
    failed = answer(None, Status.FAILED, error="new")
    result = written(source, {0: failed})
    assert result.failed is not None
    assert result.failed.read_text() == "failed_reason,text,failed_status\nnew,one,failed\n"
