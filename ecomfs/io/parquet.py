"""Parquet files, read batch by batch with pyarrow."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from ecomfs.errors import EmptyInputError, InputError
from ecomfs.io.cells import cell_text
from ecomfs.io.files import check_file
from ecomfs.io.rows import Record
from ecomfs.io.source import TypedSource
from ecomfs.io.table_optional import optional_module

BATCH_ROWS = 1000


class ParquetSource(TypedSource):
    """A Parquet file; ``line`` of a row is its number, counted from 1.

    Raises:
        InputError: it is not a Parquet file, or it is damaged.
        ConfigError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self._arrow = optional_module("pyarrow", need="reading Parquet files")
        self._parquet = optional_module("pyarrow.parquet", need="reading Parquet files")
        self._path = path
        try:
            with self._parquet.ParquetFile(path) as file:
                names, self.size = tuple(file.schema_arrow.names), file.metadata.num_rows
        except (self._arrow.ArrowException, OSError) as problem:
            raise self._damaged(problem) from problem
        if not names:
            raise EmptyInputError(f"{path.name}: the file has no columns")
        super().__init__(names)

    def records(self) -> Generator[Record]:
        """The rows in order."""
        number = 0
        try:
            with self._parquet.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    for values in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                        number += 1
                        yield Record(number, [cell_text(v) for v in values], end=number)
        except (self._arrow.ArrowException, OSError) as problem:
            raise self._damaged(problem) from problem

    def _damaged(self, problem: Exception) -> InputError:
        said = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        return InputError(f"{self._path.name}: cannot be read as Parquet: {said}")
