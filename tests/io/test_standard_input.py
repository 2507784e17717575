"""Standard input as a table."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator

import pytest

from ecomfs.errors import EmptyInputError, MissingFileError
from ecomfs.io.files import standard_input


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What came by standard input is kept for the whole process otherwise."""
    standard_input.cache_clear()
    yield
    standard_input.cache_clear()


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (b"text,label\na,b\n", ".csv"),
        (b'{"text": "a"}\n', ".jsonl"),
        (b"\xef\xbb\xbf  [1]", ".json"),
        (gzip.compress(b'{"text": "a"}\n', mtime=0), ".jsonl"),
        (b"PAR1 and more", ".parquet"),
        (b"PK\x03\x04 no archive", ".csv"),
        ('{"text": "a"}'.encode("utf-16"), ".jsonl"),
    ],
)
def test_the_format_is_found_by_the_first_bytes(
    content: bytes, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, content)
    path = standard_input()
    assert path.suffix == suffix
    assert path.read_bytes() == content
    assert standard_input() is path  # it is read once
    path.unlink()


def test_nothing_and_a_closed_input_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"")
    with pytest.raises(EmptyInputError, match="standard input is empty"):
        standard_input()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(MissingFileError, match="nothing is piped"):
        standard_input()
