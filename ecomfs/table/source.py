"""What a file format must offer to be read as a table."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from ecomfs.table.delimited import DelimitedSource
from ecomfs.table.rows import Dialect, Record


class Source(Protocol):
    """An input that yields records under one header."""

    @property
    def header(self) -> tuple[str, ...]: ...

    @property
    def encoding(self) -> str:
        """Codec name; empty for formats that are not text."""
        ...

    @property
    def dialect(self) -> Dialect: ...

    @property
    def size(self) -> int | None:
        """Total of what :attr:`Record.end` counts, or ``None``."""
        ...

    def records(self) -> Generator[Record]:
        """The rows, from the first one at every call."""
        ...


def open_source(path: Path, *, encoding: str | None, delimiter: str | None) -> Source:
    """The source that reads ``path``."""
    if delimiter is None and path.suffix.lower() in {".tsv", ".tab"}:
        delimiter = "\t"
    return DelimitedSource(path, encoding=encoding, delimiter=delimiter)
