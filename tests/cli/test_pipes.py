"""Tables through pipes: standard input and output, in every format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ecomfs.io import TableReader

COPY = """
import sys
from ecomfs.io import TableReader, open_writer
from pathlib import Path
reader = TableReader("-")
again = TableReader("-")
assert [r.cells for r in reader.rows()] == [r.cells for r in again.rows()]
out = open_writer(Path("-"), reader.header, form=sys.argv[1] or None)
for row in reader.rows():
    out.write([list(row.cells.values())])
out.commit()
"""
ROWS = [["id", "text"], ["1", '好, "评"'], ["2", "two\nlines"]]


def copied(data: bytes, form: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", COPY, form], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def table() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(ROWS)
    return text.getvalue().encode()


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "xlsx"])
def test_every_format_goes_through_pipes_both_ways(tmp_path: Path, form: str) -> None:
    made = copied(table(), form)
    path = tmp_path / f"made.{form}"
    path.write_bytes(made)
    assert [list(row.cells.values()) for row in TableReader(path).rows()] == ROWS[1:]
    back = copied(made, "csv").decode()
    assert list(csv.reader(io.StringIO(back, newline=""))) == ROWS


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(table()),
        json.dumps(
            [dict(zip(*pair, strict=True)) for pair in ((ROWS[0], r) for r in ROWS[1:])]
        ).encode(),
        gzip.compress(
            b'{"id": "1", "text": "\xe5\xa5\xbd, \\"\xe8\xaf\x84\\""}\n'
            b'{"id": "2", "text": "two\\nlines"}\n'
        ),
    ],
    ids=["csv.gz", "json array", "jsonl.gz"],
)
def test_packed_and_nested_inputs_are_found_out(data: bytes) -> None:
    made = copied(data, "csv").decode()
    assert list(csv.reader(io.StringIO(made, newline=""))) == ROWS


def test_nothing_in_the_pipe_is_an_error_that_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ecomfs", "score", "-", "-t", "review_sentiment", "--engine", "x"],
        input=b"",
        capture_output=True,
    )
    assert done.returncode == 2
    assert "standard input is empty" in done.stderr.decode()


def test_the_encoding_of_a_pipe_is_given(tmp_path: Path) -> None:
    pool, out = tmp_path / "pool.csv", tmp_path / "out.csv"
    pool.write_text("text,label\nfits well,positive\nbroke at once,negative\n", encoding="utf-8")
    words = ["score", "-", "-t", "review_sentiment", "-e", str(pool), "--engine", "none"]
    words += ["--embedder", "hashed", "--input-encoding", "cp1252", "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "ecomfs", *words],
        input="text\ncafé très bon\n".encode("cp1252"),  # too short for a guess
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert [row.cells["text"] for row in TableReader(out).rows()] == ["café très bon"]
