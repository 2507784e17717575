"""Tables of users and of items, from files and from memory, as the same records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd

from ecomfs.errors import ConfigError, EmptyInputError
from ecomfs.io import TableReader, text_encoding

Rows = str | PathLike[str] | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A file, or rows in memory: a DataFrame, one mapping, or several."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row: where it stands (for messages), its cells, and why it cannot be used."""

    where: str
    cells: Mapping[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Records:
    """A whole table; lists of users and of items are small beside the pairs made of them."""

    name: str
    header: tuple[str, ...]
    rows: list[Record]

    @classmethod
    def read(cls, source: Rows, name: str, encoding: str | None = None) -> Records:
        """Records of a file (any that :class:`ecomfs.io.TableReader` reads), or of memory,
        which ``name`` names in messages; ``encoding`` is of a file that is not UTF-8.

        Raises:
            InputError: the file.
            EmptyInputError: no rows.
            ConfigError: something that is no rows.
        """
        if isinstance(source, str | PathLike):
            reader = TableReader(source, encoding=text_encoding(source, encoding))
            rows = [
                Record(f"{reader.name}, line {row.line}", row.cells, row.error)
                for row in reader.rows()
            ]
            return cls(reader.name, tuple(reader.header), rows)
        cells = list(_cells(source, name))
        if not cells:
            raise EmptyInputError(f"{name}: no rows")
        header = tuple(dict.fromkeys(key for row in cells for key in row))
        return cls(name, header, [Record(f"{name}, row {i}", row) for i, row in enumerate(cells)])


def _cells(
    source: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]], name: str
) -> Iterable[dict[str, Any]]:
    if isinstance(source, pd.DataFrame):
        header = [str(c) for c in source.columns]
        for values in source.itertuples(index=False, name=None):
            yield dict(zip(header, values, strict=True))
        return
    for row in [source] if isinstance(source, Mapping) else source:
        if not isinstance(row, Mapping):
            raise ConfigError(
                f"{name}: a row is {row!r}", hint="give a file, a DataFrame or a list of dicts"
            )
        yield {str(key): value for key, value in row.items()}
