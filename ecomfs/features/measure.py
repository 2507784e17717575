"""Typed values reduced to what can be compared: numbers, categories, kinds of item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecomfs.features.cells import Price, day_number
from ecomfs.features.information import category_codes, mutual_information, number_codes
from ecomfs.features.phrases import item_kind
from ecomfs.task import FieldSpec

NUMERIC = frozenset({"number", "price", "date"})
COMPARED = NUMERIC | {"category", "history"}


def measured(spec: FieldSpec, value: Any) -> Any:
    """A typed value as a float (numbers, prices, dates in days), a text (categories) or the
    kinds of its items (histories); ``None`` for a missing one and for texts and JSON.

    >>> measured(FieldSpec(name="seen", kind="history"), [{"category": "sale"}, "cart"])
    ['sale', 'cart']
    """
    if value is None or spec.kind not in COMPARED:
        return None
    if spec.kind == "history":
        return [item_kind(spec, item) for item in value]
    if spec.kind == "date":
        return day_number(value)
    return value.amount if isinstance(value, Price) else value


def information(spec: FieldSpec, measures: Sequence[Any], labels: Sequence[str]) -> float:
    """Mutual information of a field with the label in nats; a history counts by its last item,
    texts and JSON have none.

    >>> spec = FieldSpec(name="plan", kind="category")
    >>> round(information(spec, ["a", "b"] * 20, ["yes", "no"] * 20), 2)
    0.68
    """
    if spec.kind not in COMPARED:
        return 0.0
    if spec.kind in NUMERIC:
        return mutual_information(number_codes(measures), labels)
    if spec.kind == "history":
        measures = [kinds[-1] if kinds else None for kinds in measures]
    return mutual_information(category_codes(measures), labels)
