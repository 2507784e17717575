"""Which source reads an input: by prefix, by suffix, and by content where the suffix is silent."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ecomfs.errors import ConfigError
from ecomfs.io.delimited import DelimitedSource
from ecomfs.io.excel import ExcelSource
from ecomfs.io.hub import PREFIX as HUB
from ecomfs.io.hub import HubSource, is_saved_folder
from ecomfs.io.jsonlines import JsonArraySource, JsonLinesSource, is_array
from ecomfs.io.parquet import ParquetSource
from ecomfs.io.source import Source
from ecomfs.io.sql import PREFIX as SQL
from ecomfs.io.sql import SqlSource

_COMPRESSED = {".gz", ".zst", ".zstd"}


def open_source(where: str, *, encoding: str | None = None, delimiter: str | None = None) -> Source:
    """The source for a path, ``hf:...`` or ``sql:...``.

    A sheet of a workbook is named after ``#``: ``book.xlsx#Sheet2``.

    Raises:
        ConfigError: an encoding or delimiter for a format that has none.
        Others: see :class:`ecomfs.io.TableReader`.
    """
    if typed := _typed_source(where):
        if encoding or delimiter:
            raise ConfigError(f"{where}: this format has no encoding and no delimiter to choose")
        return typed
    path = Path(where)
    kind = _kind(where)
    if kind in {".jsonl", ".ndjson", ".json"}:
        if delimiter:
            raise ConfigError(f"{where}: JSON has no delimiter to choose")
        if kind == ".json" and is_array(path):
            return JsonArraySource(path, encoding=encoding)
        return JsonLinesSource(path, encoding=encoding)
    if delimiter is None and kind in {".tsv", ".tab"}:
        delimiter = "\t"
    return DelimitedSource(path, encoding=encoding, delimiter=delimiter)


def text_encoding(where: str | PathLike[str], encoding: str | None) -> str | None:
    """The encoding named for all tables of a command, for this one: none where its format has
    none.

    >>> text_encoding("pool.csv.gz", "cp1252"), text_encoding("pool.parquet", "cp1252")
    ('cp1252', None)
    """
    text = str(where)
    typed = text.startswith((SQL, HUB)) or is_saved_folder(Path(text))
    binary = _kind(text.partition("#")[0]) in {".parquet", ".pq", ".xlsx", ".xlsm", ".xls"}
    return None if typed or binary else encoding


def _typed_source(where: str) -> Source | None:
    if where.startswith(SQL):
        return SqlSource(where)
    if where.startswith(HUB) or is_saved_folder(Path(where)):
        return HubSource(where)
    if _kind(where) in {".parquet", ".pq"}:
        return ParquetSource(Path(where))
    book, _, sheet = where.partition("#")
    if _kind(book) in {".xlsx", ".xlsm", ".xls"}:
        return ExcelSource(Path(book), sheet=sheet or None)
    return None


def _kind(path: str) -> str:
    """The suffix that names the format, under a suffix that names a compression."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
