"""Guess the fields of a table that has no card yet; a person edits the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial

from ecomfs.errors import RowError
from ecomfs.features.cells import Price, read_cell
from ecomfs.io import DecimalMark
from ecomfs.task import FieldKind, FieldSpec
from ecomfs.types import Row

MAX_CATEGORIES = 30
"""A column of short texts with more different values than this is text."""
MAX_CATEGORY_CHARS = 40


def infer_specs(rows: Sequence[Row], *, exclude: Collection[str] = ()) -> tuple[FieldSpec, ...]:
    """One spec a column, from the values of all given rows.

    A column is of the first kind that all its values have: history (JSON lists), json (JSON
    objects), id (named ``id`` or ``..._id``), number, date, price, category (few different short
    values, or short words of ASCII), text. Words of ASCII that differ in every row are an id. A
    number column with at most two values is a category. Columns without any value are left out.

    Args:
        exclude: columns that are no fields, such as the label.

    >>> rows = [{"id": f"r{i}", "age": i, "paid": f"${i}.00", "plan": "ab"[i % 2],
    ...          "seen": '["a"]', "note": f"note {i}"} for i in range(40)]
    >>> [(spec.name, spec.kind) for spec in infer_specs(rows)]
    [('id', 'id'), ('age', 'number'), ('paid', 'price'), ('plan', 'category'),
     ('seen', 'history'), ('note', 'text')]
    """
    names = dict.fromkeys(name for row in rows for name in row if name not in exclude)
    specs = []
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None and str(row[name]).strip()]
        if values:
            specs.append(FieldSpec(name=name, kind=_kind(name, values)))
    return tuple(specs)


def _kind(name: str, values: Sequence[object]) -> FieldKind:
    texts = [str(value) for value in values]
    distinct = set(texts)
    if all(_is_json(value, (list, tuple)) for value in values):
        return "history"
    if all(_is_json(value, (dict,)) for value in values):
        return "json"
    if name.casefold() == "id" or name.casefold().endswith(("_id", " id")):
        return "id"
    if any(_all(values, partial(_is_number, name, mark)) for mark in ("point", "comma")):
        return "number" if len(distinct) > 2 else "category"
    if _all(values, lambda v: read_cell(FieldSpec(name=name, kind="date"), v, day_first=True)):
        return "date"
    if any(_all(values, partial(_names_currency, name, mark)) for mark in ("point", "comma")):
        return "price"
    short = max(map(len, texts)) <= MAX_CATEGORY_CHARS
    if short and len(distinct) <= min(MAX_CATEGORIES, max(2, len(texts) // 2)):
        return "category"
    codes = short and all(text.isascii() and " " not in text for text in texts)
    if not codes:
        return "text"
    return "id" if len(texts) > 10 and len(distinct) == len(texts) else "category"


def _all(values: Sequence[object], test: Callable[[object], object]) -> bool:
    try:
        return all(test(value) for value in values)
    except RowError:
        return False


def _is_number(name: str, mark: DecimalMark, value: object) -> bool:
    return read_cell(FieldSpec(name=name, kind="number", decimal=mark), value) is not None


def _names_currency(name: str, mark: DecimalMark, value: object) -> bool:
    price = read_cell(FieldSpec(name=name, kind="price", decimal=mark), value)
    known = isinstance(price, Price) and price.currency
    return bool(known) and (not str(known).isalpha() or len(str(known)) == 3)


def _is_json(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return False
    return isinstance(value, kinds)
