"""The columns of an input: fields of the task card, ids, true labels, decimal marks, origin."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.errors import InputError
from ecomfs.io import (
    TableReader,
)
from ecomfs.task import FieldMap, TaskCard


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table hold the card's fields, the ids and the true labels."""

    fields: FieldMap
    id: str | None
    gold: str | None


def find_columns(
    source: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
    encoding: str | None = None,
    reader: TableReader | None = None,
) -> Columns:
    """Open a table and find its columns: a quick check before a model is loaded.

    Parameters
    ----------
    source : str or Path
        Anything that :class:`ecomfs.io.TableReader` reads.
    card : TaskCard
        The task.
    fields : mapping, optional
        Card field → column, where names differ.
    id_column, gold_column : str, optional
        Columns of ids and of true labels. Ids come from the column ``id`` by default.
    encoding : str, optional
        Of a table that is not UTF-8; detected by default.
    reader : TableReader, optional
        Of the table, when it is open already.

    Raises
    ------
    InputError
        The file or its columns, or true labels of synthetic rows.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ecomfs.task import load_task
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("Id,text,stars\\n7,fits well,5\\n")
    >>> columns = find_columns(path, load_task("review_sentiment"), gold_column="stars")
    >>> columns.id, dict(columns.fields.columns), columns.gold
    ('Id', {'text': 'text'}, 'stars')
    """
    reader = reader or TableReader(source, encoding=encoding)
    for named in (id_column, gold_column):
        if named is not None:
            reader.require(named)
    mapping = FieldMap.resolve(card, reader.header, fields, reader.name)
    found = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if gold_column is not None:
        _refuse_synthetic(reader, {*mapping.columns.values(), gold_column, found or ""})
    return Columns(mapping, found, gold_column)


def read_marks(mapping: FieldMap, card: TaskCard, reader: TableReader) -> FieldMap:
    """The fields of a table with the decimal marks of its number columns.

    Parameters
    ----------
    mapping : FieldMap
        The fields of the table.
    card : TaskCard
        The task. The table is read once where it has number fields.
    reader : TableReader
        Of the table.

    Raises
    ------
    InputError
        See :meth:`ecomfs.task.FieldMap.decided`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ecomfs.task import load_task
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("income;month\\n900,50;May\\n")
    >>> card, reader = load_task("ad_response"), TableReader(path)
    >>> read_marks(FieldMap.resolve(card, reader.header), card, reader).conventions(card)
    {'income': 'decimal comma'}
    """
    delimiter = reader.dialect.delimiter
    return mapping.decided(
        card,
        (row.cells for row in reader.rows() if not row.error),
        where=reader.name,
        likely="comma" if delimiter == ";" else "",
        typed=not delimiter,
    )


_YES = frozenset({"yes", "true", "1", "y"})
_NO = frozenset({"", "no", "false", "0", "n"})


def origin_column(header: Sequence[str], taken: Collection[str]) -> str | None:
    """The column ``synthetic``, unless the task or the user gave it another meaning (``taken``).

    >>> origin_column(["text", "Synthetic"], ["text"]), origin_column(["text"], ["text"])
    ('Synthetic', None)
    """
    return next((c for c in header if c.casefold() == "synthetic" and c not in taken), None)


def origin_of(cells: Mapping[str, Any], column: str | None, where: str) -> tuple[bool, str, str]:
    """Whether a row is synthetic, its source, and its method.

    Raises
    ------
    InputError
        The mark is neither a yes nor a no.

    Examples
    --------
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


def _refuse_synthetic(reader: TableReader, taken: Collection[str]) -> None:
    """Refuse a table of true labels that has synthetic rows."""
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
