"""What a format must offer to be read as a table."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from ecomfs.io.rows import Dialect, Record


class Source(Protocol):
    """An input that yields records under one header."""

    @property
    def header(self) -> tuple[str, ...]: ...

    @property
    def encoding(self) -> str:
        """Codec name; empty for formats that are not text."""
        ...

    @property
    def note(self) -> str:
        """What a person should know about how the encoding was found; mostly empty."""
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


class TypedSource:
    """Base of formats whose values have types and that know no encoding of their own."""

    encoding = ""
    note = ""
    dialect = Dialect(delimiter="")
    size: int | None = None

    def __init__(self, header: tuple[str, ...]) -> None:
        self.header = header
