"""Columns of a table that say where a synthetic example came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ecomfs.errors import InputError
from ecomfs.io import TableReader

SYNTHETIC = "synthetic"
_YES = frozenset({"yes", "true", "1", "y"})
_NO = frozenset({"", "no", "false", "0", "n"})


def origin_column(header: Sequence[str], taken: Collection[str]) -> str | None:
    """The column that marks synthetic rows, unless it is something else here.

    Args:
        taken: columns that the task or the user has given a meaning.

    >>> origin_column(["text", "Synthetic"], ["text"]), origin_column(["text"], ["text"])
    ('Synthetic', None)
    """
    return next((c for c in header if c.casefold() == SYNTHETIC and c not in taken), None)


def origin_of(cells: Mapping[str, Any], column: str | None, where: str) -> tuple[bool, str, str]:
    """Whether a row is synthetic, its source, and its method.

    Raises:
        InputError: the mark is neither a yes nor a no.

    >>> origin_of({"synthetic": "yes", "source_id": "r1"}, "synthetic", "pool.csv, line 2")
    (True, 'r1', '')
    >>> origin_of({"method": "credit card"}, None, "pool.csv, line 2")
    (False, '', '')
    """
    mark = "" if column is None else str(cells.get(column, "")).strip().casefold()
    if mark in _NO:
        return False, "", ""
    if mark not in _YES:
        raise InputError(
            f"{where}: column {column!r} is {cells[column or '']!r}", hint="write yes or no"
        )
    known = {name.casefold(): str(cells[name]).strip() for name in reversed(list(cells))}
    return True, known.get("source_id", ""), known.get("method", "")


def refuse_synthetic_table(reader: TableReader, taken: Collection[str]) -> None:
    """Refuse a table of true labels that has synthetic rows.

    Args:
        taken: columns that have a meaning of their own.

    Raises:
        InputError: naming the line.
    """
    column = origin_column(reader.header, taken)
    if column is None:
        return
    for row in reader.rows():
        where = f"{reader.name}, line {row.line}"
        if not row.error and origin_of(row.cells, column, where)[0]:
            raise InputError(
                f"{where}: a synthetic example cannot be tested on",
                hint=f"score a table without the rows with {column} = {row.cells[column]}",
            )
