"""The parts of the items of a history: texts, numbers and dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecomfs.errors import RowError
from ecomfs.features.cells import Price, day_number, read_cell
from ecomfs.features.phrases import json_phrase
from ecomfs.io import fold, squeeze
from ecomfs.task import FieldSpec


def part_values(spec: FieldSpec, item: Any, kinds: frozenset[str]) -> dict[str, Any]:
    """The parts of an item that are of the given kinds.

    Args:
        spec: the history.
        item: one of its items. In an object whose parts are not in the card, texts are categories
            and numbers are numbers; an item that is not an object is one category.
        kinds: kinds of field to return.

    Returns:
        Part → typed value; missing values and values of the wrong kind are left out.

    >>> part_values(FieldSpec(name="h", kind="history"), {"title": "mug", "price": 3}, TEXTUAL)
    {'title': 'mug'}
    """
    if not isinstance(item, Mapping):
        text = json_phrase(item, "en") if kinds >= TEXTUAL else ""
        return {"": text} if text else {}
    parts: Sequence[FieldSpec] = spec.items or [
        FieldSpec(name=str(key), kind="category" if isinstance(value, str) else "number")
        for key, value in item.items()
        if str(key) and isinstance(value, str | int | float) and not isinstance(value, bool)
    ]
    found = {}
    for part in parts:
        if part.kind in kinds:
            try:
                value = read_cell(part, part.find(item))
            except (RowError, OverflowError):
                continue  # reported when the row is rendered
            if value is not None:
                found[part.name] = value
    return found


TEXTUAL = frozenset({"category", "text"})
NUMERIC = frozenset({"number", "price"})
DATED = frozenset({"date"})


def item_texts(spec: FieldSpec, item: Any) -> list[str]:
    """The texts and categories of an item, unchanged; the first is its kind (:func:`item_kind`).

    >>> item_texts(FieldSpec(name="h", kind="history"), {"category": "sale", "price": 3})
    ['sale']
    """
    return [squeeze(str(text)) for text in part_values(spec, item, TEXTUAL).values()]


def item_kind(spec: FieldSpec, item: Any) -> str:
    """The kind of an item, by which items are counted: its first text; empty if it has none.

    >>> item_kind(FieldSpec(name="h", kind="history"), "bags")
    'bags'
    """
    return next(iter(item_texts(spec, item)), "")


def item_numbers(spec: FieldSpec, item: Any) -> dict[str, float]:
    """The numbers and amounts of an item by part.

    >>> item_numbers(FieldSpec(name="h", kind="history"), {"category": "sale", "price": 3})
    {'price': 3.0}
    """
    found = part_values(spec, item, NUMERIC)
    return {k: v.amount if isinstance(v, Price) else v for k, v in found.items()}


def item_day(spec: FieldSpec, item: Any) -> float | None:
    """The date of an item in days; ``None`` if it has none."""
    dates = part_values(spec, item, DATED)
    return day_number(next(iter(dates.values()))) if dates else None


def match_key(text: str) -> str:
    """A key for comparing a label with the text of an item.

    >>> match_key("Coats & Jackets") == match_key("coats_jackets"), match_key("★")
    (True, '★')
    """
    return fold(text) or text.strip()


__all__ = ["item_day", "item_kind", "item_numbers", "item_texts", "match_key", "part_values"]
