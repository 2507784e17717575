"""What users hand to the classifier, as rows and examples.

Accepted rows: a DataFrame or another table (pyarrow, polars, NumPy records), a Series, array or
list of texts (tasks with one field), a list of mappings. Accepted examples: the same with ``y``, a
table that has a label column, a list of :class:`~ecomfs.types.Example`, or a
:class:`~ecomfs.pool.Pool`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ecomfs.errors import ConfigError, DuplicateIdError, InputError
from ecomfs.pool import Pool
from ecomfs.task import (
    FieldMap,
    GivenLabels,
    TaskCard,
    as_items,
    as_table,
    find_column,
    first_empty,
    is_missing,
)
from ecomfs.types import Example, Row

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | pd.Series | Sequence[str] | Sequence[Row] | Iterable[Any]"
Examples: TypeAlias = "Rows | Pool | Sequence[Example]"


def as_rows(X: Rows, card: TaskCard, fields: Mapping[str, str] | None = None) -> list[Row]:  # noqa: N803 (the scikit-learn name)
    """Rows as mappings from the card's field names to values.

    Empty required fields pass: they become the status of their row.

    Parameters
    ----------
    X : DataFrame, sequence of mapping, or sequence of str
        The rows; plain texts for a task of one required field.
    card : TaskCard
        The task.
    fields : mapping of str to str, optional
        Task field → column, where names differ.

    Returns
    -------
    list of Row
        One per row, in order.

    Raises
    ------
    ColumnError
        A required field has no column, or two columns share a name.
    ConfigError
        Plain texts for a task of several fields, or a single string.
    InputError
        What is neither a text nor a row; see :func:`ecomfs.task.as_items`.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> as_rows(["fits well", None], card)
    [{'text': 'fits well'}, {'text': ''}]
    >>> as_rows([{"id": 7, "Opinion": "torn"}], card, fields={"text": "Opinion"})
    [{'text': 'torn'}]
    """
    table = as_table(X, "DataFrame")
    if table is not None:
        header, values = table
        mapping = FieldMap.resolve(card, header, fields, "DataFrame")
        records = [dict(zip(header, v, strict=True)) for v in values]
        mapping = mapping.decided(card, records, strict=False)
        return [mapping.fields(record, card) for record in records]
    items = as_items(X)
    if items and isinstance(items[0], dict):
        records = [item for item in items if isinstance(item, dict)]
        header = list(dict.fromkeys(key for record in records for key in record))
        mapping = FieldMap.resolve(card, header, fields, "rows").decided(
            card, records, strict=False
        )
        return [mapping.fields(record, card) for record in records]
    needed = [spec for spec in card.fields if spec.required]
    if len(needed) != 1 and items:
        raise ConfigError(
            f"task {card.name!r} has fields {', '.join(s.name for s in card.fields)}",
            hint="give a DataFrame or a list of dicts",
        )
    return [{needed[0].name: "" if item is None else item} for item in items]


def as_examples(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
) -> list[Example]:
    """Labelled examples from whatever holds them; see :func:`given_examples`."""
    return given_examples(X, y, card, fields=fields, label_column=label_column)[0]


def given_examples(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
) -> tuple[list[Example], GivenLabels]:
    """Labelled examples from whatever holds them, and their labels as they were given.

    Raises:
        InputError: labels and rows differ in number, an empty label, an example without text, or
            what is neither a row nor a label.
        DuplicateIdError: two examples have the same id.
    """
    if isinstance(X, Pool):
        return X.examples(), GivenLabels()
    where = "y"
    if y is None:
        header = columns(X)
        if header is None:
            items = list(X)
            if not all(isinstance(item, Example) for item in items):
                raise ConfigError(
                    "examples without labels", hint="give y, a label column, or Example objects"
                )
            return _unique(items), GivenLabels()
        column = find_column(header, label_column, card.label_column, "DataFrame", "label_column=")
        where, y = f"column {column!r}", _column(X, header, column)
    rows = as_rows(X, card, fields)
    given = GivenLabels.of(y, where)
    if len(given.texts) != len(rows):
        raise InputError(f"{len(rows)} rows but {len(given.texts)} labels")
    ids = _ids(X, len(rows))
    out = []
    for position, (row, label, id_) in enumerate(zip(rows, given.texts, ids, strict=True)):
        if label is None:
            raise InputError(f"example {position} (id {id_!r}) has no label")
        empty = first_empty(row, card)
        if empty is not None:
            raise InputError(f"example {position} (id {id_!r}): field {empty!r} is empty")
        out.append(Example(id_, row, label))
    return _unique(out), given


def refuse_other_labels(X: Any, y: Any) -> None:  # noqa: N803
    """Refuse ``y`` beside examples that have labels of their own.

    Raises:
        InputError: ``X`` is a pool, or :class:`Example` objects, and there is a ``y``.

    >>> refuse_other_labels([Example("1", {"text": "fine"}, "good")], ["bad"])
    Traceback (most recent call last):
    ecomfs.errors.InputError: y is given beside Example objects, which have labels ...
    """
    if y is None:
        return
    pool = isinstance(X, Pool)
    if pool or (isinstance(X, Sequence) and len(X) > 0 and isinstance(X[0], Example)):
        what = "a pool" if pool else "Example objects"
        which = "has" if pool else "have"
        raise InputError(
            f"y is given beside {what}, which {which} labels",
            hint="leave y out, or give the rows without labels",
        )


def columns(X: Any) -> list[str] | None:  # noqa: N803
    """Names of a table's columns; ``None`` for what is no table."""
    table = as_table(X, "DataFrame")
    return None if table is None else table[0]


def _column(X: Any, header: Sequence[str], name: str) -> Any:  # noqa: N803
    place = header.index(name)
    if hasattr(X, "iloc"):
        return X.iloc[:, place]  # with its type
    if isinstance(X, np.ndarray):
        return X[name]
    table = as_table(X, "table")
    return [row[place] for row in table[1]] if table else []


def row_ids(rows: Sequence[Row], ids: Sequence[str] | None) -> list[str]:
    """The ids that the caller gave the rows, or their places.

    Raises:
        InputError: not one id a row.

    >>> row_ids([{"text": "a"}, {"text": "b"}], None)
    ['0', '1']
    """
    if ids is None:
        return [str(i) for i in range(len(rows))]
    if len(ids) != len(rows):
        raise InputError(f"{len(rows)} rows but {len(ids)} ids")
    return [str(i) for i in ids]


def _unique(examples: list[Example]) -> list[Example]:
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise DuplicateIdError(f"two examples have the id {example.id!r}")
        seen.add(example.id)
    return examples


def _ids(X: Any, n: int) -> list[str]:  # noqa: N803
    table = as_table(X, "DataFrame")
    if table is not None:
        names = {name.casefold(): place for place, name in enumerate(table[0])}
        if "id" in names:
            return [_text(row[names["id"]]) for row in table[1]]
    return [str(i) for i in range(n)]


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)
