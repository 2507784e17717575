"""What users hand to the classifier, as rows and examples.

Accepted rows: a DataFrame, a Series or list of texts (tasks with one field), a list of mappings.
Accepted examples: the same with ``y``, a DataFrame that has a label column, a list of
:class:`~ecomfs.types.Example`, or a :class:`~ecomfs.pool.Pool`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from ecomfs.errors import ConfigError, DuplicateIdError, InputError
from ecomfs.pool import Pool
from ecomfs.task import FieldMap, TaskCard, find_column, first_empty, is_missing
from ecomfs.types import Example, Row

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | pd.Series | Sequence[str] | Sequence[Row] | Iterable[Any]"
Examples: TypeAlias = "Rows | Pool | Sequence[Example]"


def as_rows(X: Rows, card: TaskCard, fields: Mapping[str, str] | None = None) -> list[Row]:  # noqa: N803 (the scikit-learn name)
    """Rows as mappings from the card's field names to values. Empty required fields pass: they
    become the status of their row.

    Raises:
        ColumnError: a required field has no column.
        ConfigError: plain texts for a task of several fields, or a single string.
    """
    if isinstance(X, str):
        raise ConfigError("rows are one string", hint="give a list of texts: [text]")
    if _is_frame(X):
        header = [str(c) for c in X.columns]
        mapping = FieldMap.resolve(card, header, fields, "DataFrame")
        records = list(_records(X, header))
        mapping = mapping.decided(card, records, strict=False)
        return [mapping.fields(record, card) for record in records]
    items = list(X)
    if items and isinstance(items[0], Mapping):
        header = list(dict.fromkeys(str(key) for item in items for key in item))
        mapping = FieldMap.resolve(card, header, fields, "rows")
        mapping = mapping.decided(card, items, strict=False)
        return [mapping.fields(item, card) for item in items]
    needed = [spec for spec in card.fields if spec.required]
    if len(needed) != 1 and items:
        raise ConfigError(
            f"task {card.name!r} has fields {', '.join(s.name for s in card.fields)}",
            hint="give a DataFrame or a list of dicts",
        )
    return [{needed[0].name: _text(item)} for item in items]


def as_examples(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
) -> list[Example]:
    """Labelled examples from whatever holds them.

    Raises:
        InputError: labels and rows differ in number, an empty label, an example without text.
        DuplicateIdError: two examples have the same id.
    """
    if isinstance(X, Pool):
        return X.examples()
    if _is_frame(X) and y is None:
        header = [str(c) for c in X.columns]
        column = find_column(header, label_column, card.label_column, "DataFrame", "label_column=")
        y = X.iloc[:, header.index(column)].tolist()
    elif y is None:
        items = list(X)
        if not all(isinstance(item, Example) for item in items):
            raise ConfigError(
                "examples without labels", hint="give y, a label column, or Example objects"
            )
        return _unique(items)
    rows = as_rows(X, card, fields)
    labels = [_text(label) for label in y]
    if len(labels) != len(rows):
        raise InputError(f"{len(rows)} rows but {len(labels)} labels")
    ids = _ids(X, len(rows))
    out = []
    for position, (row, label, id_) in enumerate(zip(rows, labels, ids, strict=True)):
        if not label.strip():
            raise InputError(f"example {position} (id {id_!r}) has no label")
        empty = first_empty(row, card)
        if empty is not None:
            raise InputError(f"example {position} (id {id_!r}): field {empty!r} is empty")
        out.append(Example(id_, row, label))
    return _unique(out)


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
    if _is_frame(X):
        names = {str(c).casefold(): i for i, c in enumerate(X.columns)}
        if "id" in names:
            return [_text(v) for v in X.iloc[:, names["id"]]]
    return [str(i) for i in range(n)]


def _is_frame(X: Any) -> TypeGuard[pd.DataFrame]:  # noqa: N803
    """Whether these rows are a DataFrame. Whoever has one has imported pandas: nobody else should
    wait for it, or hold its 70 MB."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, pandas.DataFrame)


def _records(frame: pd.DataFrame, header: list[str]) -> Iterable[dict[str, Any]]:
    for values in frame.itertuples(index=False, name=None):
        yield dict(zip(header, values, strict=True))


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)
