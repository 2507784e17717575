"""Converts the inputs of ``fit`` and ``predict`` to rows and examples.

Accepted rows: a DataFrame or another table (pyarrow, polars, NumPy records), a Series, array or
list of texts (tasks with one field), a list of mappings. Accepted examples: the same with ``y``, a
table that has a label column, a list of :class:`~ecomfs.types.Example`, or a
:class:`~ecomfs.pool.Pool`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ecomfs.errors import ConfigError, DuplicateIdError, InputError, PoolError
from ecomfs.pool import Pool
from ecomfs.task import (
    FieldMap,
    InputLabels,
    LabelSpace,
    TaskCard,
    as_items,
    as_table,
    find_column,
    first_empty,
    is_missing,
    raw_labels,
    read_labels,
    write_labels,
)
from ecomfs.task.cells import SEPARATOR
from ecomfs.types import Example, Row

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | pd.Series | Sequence[str] | Sequence[Row] | Iterable[Any]"
Examples: TypeAlias = "Rows | Pool | Sequence[Example]"


def as_rows(X: Rows, card: TaskCard, fields: Mapping[str, str] | None = None) -> list[Row]:  # noqa: N803 (the scikit-learn name)
    """Rows as mappings from the card's field names to values.

    An empty required field is no error here: its row fails when it is classified.

    Args:
        X: the rows; plain texts for a task of one required field.
        card: the task.
        fields: task field → column, where names differ.

    Returns:
        One per row, in order.

    Raises:
        ColumnError: a required field has no column, or two columns share a name.
        ConfigError: plain texts for a task of several fields, or a single string.
        InputError: a value that is neither a text nor a row; see :func:`ecomfs.task.as_items`.

    >>> from ecomfs.task import load_task
    >>> card = load_task("review_sentiment")
    >>> as_rows(["fits well", None], card)
    [{'text': 'fits well'}, {'text': ''}]
    >>> as_rows([{"id": 7, "Opinion": "torn"}], card, fields={"text": "Opinion"})
    [{'text': 'torn'}]
    """
    table = as_table(X, "DataFrame")
    items = [] if table is not None else as_items(X)
    if table is not None or (items and isinstance(items[0], dict)):
        if table is not None:
            header, values = table
            records = [dict(zip(header, v, strict=True)) for v in values]
        else:
            records = [item for item in items if isinstance(item, dict)]
            header = list(dict.fromkeys(key for record in records for key in record))
        where = "rows" if table is None else "DataFrame"
        mapping = FieldMap.resolve(card, header, fields, where)
        mapping = mapping.decided(card, records, strict=False)
        return [mapping.fields(record, card) for record in records]
    needed = [spec for spec in card.fields if spec.required]
    if len(needed) != 1 and items:
        raise ConfigError(
            f"task {card.name!r} has fields {', '.join(s.name for s in card.fields)}",
            hint="give a DataFrame or a list of dicts",
        )
    return [{needed[0].name: "" if item is None else item} for item in items]


def given_examples(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
) -> tuple[list[Example], InputLabels]:
    """Labelled examples from any accepted input, and their labels as given.

    Raises:
        InputError: labels and rows differ in number, an empty label, an example without text, or
            a value that is neither a row nor a label.
        DuplicateIdError: two examples have the same id.
    """
    if isinstance(X, Pool):
        return X.examples(), InputLabels()
    where = "y"
    if y is None:
        header = columns(X)
        if header is None:
            items = list(X)
            if not all(isinstance(item, Example) for item in items):
                raise ConfigError(
                    "examples without labels", hint="give y, a label column, or Example objects"
                )
            return _unique(items), InputLabels()
        column = find_column(header, label_column, card.label_column, "DataFrame", "label_column=")
        where, y = f"column {column!r}", _column(X, header, column)
    rows = as_rows(X, card, fields)
    given = InputLabels.of(y, where)
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


def as_labelled(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    fields: Mapping[str, str] | None = None,
) -> tuple[int, list[Example], list[tuple[str, ...]], InputLabels]:
    """The pool's version (0 without a pool); the examples, with their labels joined in one cell;
    the labels of each example; and all labels as given.

    Raises:
        InputError: see :func:`given_examples` and :func:`ecomfs.task.read_labels`.
    """
    mark = card.label_separator or SEPARATOR
    if y is None and (header := columns(X)) is not None:
        column = find_column(header, None, card.label_column, "DataFrame", "label_column=")
        y = _column(X, header, column)
    if y is not None:
        given = as_sets(y, "example", mark)
        cells = [read_labels(own, f"example {at}") for at, own in enumerate(given)]
        flat = InputLabels.of([label for own in given for label in own], "y")
        named, _ = given_examples(X, [write_labels(own) for own in cells], card, fields=fields)
        return 0, named, cells, flat
    version = 0
    if isinstance(X, Pool):
        version, found = X.snapshot()
    else:
        found, _ = given_examples(X, None, card)
    cells = [read_labels(e.label, f"example {e.id!r}", mark) for e in found]
    named = [replace(e, label=write_labels(own)) for e, own in zip(found, cells, strict=True)]
    return version, named, cells, InputLabels()


def as_sets(y: Iterable[Any], where: str, separator: str = SEPARATOR) -> list[list[Any]]:
    """The labels of each row as given.

    Raises:
        InputError: a single text, a matrix of 0 and 1 (it does not name the labels), or a cell
            that is not a set of labels.

    >>> as_sets(["a|b", {2}], "row")
    [['a', 'b'], [2]]
    """
    matrix = hasattr(y, "shape") and getattr(y, "ndim", 1) != 1
    if not matrix and not isinstance(y, str | bytes | Mapping):
        given = [raw_labels(cell, f"{where} {at}", separator) for at, cell in enumerate(y)]
        # [1, 0, 1] is a row of an indicator matrix, not a set of labels.
        marks = all(label in (0, 1) for own in given for label in own)
        if not marks or all(len(set(own)) == len(own) for own in given):
            return given
    raise InputError(
        f"y of type {type(y).__name__} is not one set of labels per row",
        hint="give sets of labels; MultiLabelBinarizer.inverse_transform converts a matrix to sets",
    )


def label_space(
    card: TaskCard, examples: Sequence[Example], cells: Sequence[Sequence[str]]
) -> tuple[LabelSpace, list[frozenset[int]]]:
    """The label space of a run, and the positions of each example's labels in it.

    Raises:
        UnknownLabelError: a label that a closed card does not have.
        ConfigError: there is only one label.
        PoolError: no example has a label, and the card names none.
    """
    seen = list(dict.fromkeys(label for cell in cells for label in cell))
    if examples and not seen and card.label_space == "open":
        raise PoolError("no example has any label", hint="give at least one example of each label")
    if len(seen) == 1:
        raise ConfigError(
            f"the only label is {seen[0]!r}",
            hint="for one label use FewShotClassifier with examples of yes and of no",
        )
    space = LabelSpace.resolve(card, seen, "examples")
    return space, [
        frozenset(space.require(label, f"example {e.id!r}") for label in cell)
        for e, cell in zip(examples, cells, strict=True)
    ]


def columns(X: Any) -> list[str] | None:  # noqa: N803
    """Column names of a table; ``None`` for other inputs."""
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
    """The given ids of the rows, or their positions.

    Raises:
        InputError: rows and ids differ in number.

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
            raise DuplicateIdError(
                f"two examples have the id {example.id!r}",
                hint="give each example its own id; in a table, the column 'id' has them: rename "
                "it if it is the id of something else",
            )
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
