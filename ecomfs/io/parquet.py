"""A result as a Parquet file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ecomfs.io.files import optional_module
from ecomfs.io.target import Target, output_failure

GROUP_ROWS = 10_000


class ParquetWriter:
    """A Parquet file of text columns; those in ``numbers`` are float64, with null for an empty
    cell. It has the methods of :class:`ecomfs.io.AtomicWriter` that end a file.

    Raises:
        ConfigError: pyarrow is not installed.
        OutputError: it cannot be written.
    """

    def __init__(
        self, path: str | PathLike[str], header: Sequence[str], *, numbers: Sequence[str] = ()
    ) -> None:
        self.path = Path(path)
        self.rows = 0
        self._arrow: Any = optional_module("pyarrow", need="writing Parquet files")
        parquet: Any = optional_module("pyarrow.parquet", need="writing Parquet files")
        self._numbers = frozenset(numbers)
        kinds = [
            (name, self._arrow.float64() if name in self._numbers else self._arrow.string())
            for name in header
        ]
        self._schema = self._arrow.schema(kinds)
        self._buffer: list[Sequence[str]] = []
        self._target = Target(self.path)
        self._writer = parquet.ParquetWriter(self._target.raw, self._schema, compression="zstd")

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Append rows of the header's width."""
        self._buffer.extend(rows)
        if len(self._buffer) >= GROUP_ROWS:
            self._put()

    def commit(self) -> None:
        """Make the file appear under its name."""
        self._put()
        self._target.finish(self._writer.close)

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`commit`."""
        with contextlib.suppress(OSError, ValueError, self._arrow.ArrowException):
            self._writer.close()
        self._target.discard()

    def _put(self) -> None:
        columns = list(zip(*self._buffer, strict=True)) or [()] * len(self._schema)
        table = self._arrow.table(
            [self._column(f.name, cells) for f, cells in zip(self._schema, columns, strict=True)],
            schema=self._schema,
        )
        try:
            self._writer.write_table(table)
        except OSError as problem:
            raise output_failure(self.path, problem) from problem
        self.rows += len(self._buffer)
        self._buffer = []

    def _column(self, name: str, cells: Sequence[str]) -> Any:
        if name in self._numbers:
            return self._arrow.array([float(c) if c else None for c in cells], "float64")
        # A lone surrogate, which UTF-8 cannot hold, is escaped as in a text file.
        safe = [c.encode("utf-8", "backslashreplace").decode() for c in cells]
        return self._arrow.array(safe, "string")


__all__ = ["ParquetWriter"]
