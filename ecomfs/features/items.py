"""The items of a history, taken apart: what they are called, what they count, when they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecomfs.errors import RowError
from ecomfs.features.cells import Price, day_number, read_cell
from ecomfs.features.phrases import json_phrase
from ecomfs.io import fold, squeeze
from ecomfs.task import FieldSpec


def part_values(spec: FieldSpec, item: Any, kinds: frozenset[str]) -> dict[str, Any]:
    """The parts of an item that are of some kinds.

    Args:
        spec: the history.
        item: one of its items. Of an object whose parts the card does not describe, texts are
            categories and numbers are numbers; anything that is no object is one category.
        kinds: kinds of field wanted.

    Returns:
        Part → typed value; missing ones, and those not of their kind, are left out.

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
                continue  # whatever puts the row into words reports it
            if value is not None:
                found[part.name] = value
    return found


TEXTUAL = frozenset({"category", "text"})
NUMERIC = frozenset({"number", "price"})
DATED = frozenset({"date"})


def item_texts(spec: FieldSpec, item: Any) -> list[str]:
    """The texts and categories of an item, as they are, the one it is counted by first.

    >>> item_texts(FieldSpec(name="h", kind="history"), {"category": "sale", "price": 3})
    ['sale']
    """
    return [squeeze(str(text)) for text in part_values(spec, item, TEXTUAL).values()]


def item_kind(spec: FieldSpec, item: Any) -> str:
    """What an item is counted by: the first of its texts, empty when it has none.

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
    """When an item was, in days; ``None`` when it has no date."""
    dates = part_values(spec, item, DATED)
    return day_number(next(iter(dates.values()))) if dates else None


def matched(text: str) -> str:
    """The form in which a label and an item's text are compared.

    >>> matched("Coats & Jackets") == matched("coats_jackets"), matched("★")
    (True, '★')
    """
    return fold(text) or text.strip()


__all__ = ["item_day", "item_kind", "item_numbers", "item_texts", "matched", "part_values"]
