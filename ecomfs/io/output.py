"""Which writer makes an output: by its name, as inputs are read by theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ecomfs.errors import ConfigError
from ecomfs.io.parquet_writer import ParquetWriter
from ecomfs.io.writer import AtomicWriter, OutputEncoding

_OTHERS = {".jsonl", ".ndjson", ".json", ".xlsx", ".xlsm", ".xls"}
_TABS = {".tsv", ".tab"}
_PACKED = {".gz", ".zst", ".zstd"}


class TableWriter(Protocol):
    """A table that appears under its name when it is complete."""

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""

    def commit(self) -> None:
        """Make the file appear under its name."""

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""


def open_writer(
    path: Path,
    header: Sequence[str],
    *,
    encoding: OutputEncoding = "utf-8",
    numbers: Sequence[str] = (),
) -> TableWriter:
    """CSV, TSV (``.tsv``), either packed (``.gz``, ``.zst``), or Parquet (``.parquet``).

    Args:
        numbers: columns that Parquet keeps as numbers.

    Raises:
        ConfigError: a format that is read but not written, or its package is not installed.
        OutputError: it cannot be written.

    >>> check_output(Path("out.xlsx"))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: out.xlsx: .xlsx is not written (use .csv, .csv.gz, ... or .parquet)
    """
    if check_output(path) == "parquet":
        return ParquetWriter(path, header, numbers=numbers)
    delimiter = "\t" if _kind(path) in _TABS else ","
    return AtomicWriter(path, header, encoding=encoding, delimiter=delimiter)


def check_output(path: Path) -> str:
    """``parquet`` or ``text``, by the name.

    Raises:
        ConfigError: a format that is not written.
    """
    kind = _kind(path)
    if kind in _OTHERS:
        raise ConfigError(
            f"{path}: {kind} is not written", hint="use .csv, .csv.gz, .csv.zst, .tsv or .parquet"
        )
    return "parquet" if kind in (".parquet", ".pq") else "text"


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
