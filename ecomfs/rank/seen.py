"""Which items a user's history holds already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ecomfs.errors import RowError
from ecomfs.features import read_cell
from ecomfs.io import same_text
from ecomfs.task import TaskCard
from ecomfs.types import Row

ITEM_IDS = ("item_id", "sku", "product_id", "asin", "商品id", "商品编号")
"""Names of a column, or of a part of a history, that names an item."""


def history_keys(fields: Row, card: TaskCard) -> frozenset[str]:
    """What a history is compared by: the titles of its items, and their ids where it has them.

    >>> from ecomfs.task import load_task
    >>> card = load_task("product_preference")
    >>> cell = '[{"title": "Moka pot, 3 cups", "item_id": "c7"}]'
    >>> sorted(history_keys({"liked": '["Chess set"]', "history": cell}, card))
    ['chess set', 'id:c7', 'moka pot, 3 cups']
    """
    keys: set[str] = set()
    for spec in card.fields:
        if spec.kind != "history":
            continue
        titles = {
            spelling.casefold()
            for part in spec.rendering.items
            if part.kind == "text"
            for spelling in (part.name, *part.aliases)
        }
        try:
            entries = read_cell(spec.rendering, fields.get(spec.name, "")) or []
        except RowError:
            continue  # such a row fails when it is read
        for entry in entries:
            keys.update(_entry(entry, titles))
    return frozenset(keys)


def item_keys(id_: str, texts: Iterable[str]) -> frozenset[str]:
    """What an item is compared by.

    >>> sorted(item_keys("c7", ["Moka Pot, 3 cups"]))
    ['id:c7', 'moka pot, 3 cups']
    """
    return frozenset({f"id:{id_}", *(same_text(text) for text in texts if text.strip())})


def _entry(entry: Any, titles: set[str]) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        if entry not in (None, ""):
            yield same_text(str(entry))
        return
    for name, value in entry.items():
        if value in (None, ""):
            continue
        key = str(name).casefold()
        if key in titles:
            yield same_text(str(value))
        elif key in ITEM_IDS:
            yield f"id:{value}"
