"""Rows as they came to typed values, by the fields of a task card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecomfs.errors import RowError
from ecomfs.features.block import Values
from ecomfs.features.cells import days_first, read_cell
from ecomfs.task import FieldSpec, is_missing
from ecomfs.types import Row


class ValueReader:
    """Reads the cells of rows.

    A cell that is not of its field's kind counts as missing: whatever puts the row into words
    reports it.

    Args:
        specs: the fields of a task; JSON is not read, and of ids only the user's.
        user: name of the field that names the user.

    >>> from ecomfs.task import load_task
    >>> reader = ValueReader(load_task("product_preference").specs).fit([])
    >>> reader.read([{"liked": '["a"]', "item": "b"}])[0]
    {'liked': ['a'], 'disliked': None, 'history': None, 'item': 'b'}
    """

    def __init__(self, specs: Sequence[FieldSpec], user: str | None = None) -> None:
        self.specs = tuple(
            spec for spec in specs if spec.kind not in {"id", "json"} or spec.name == user
        )
        self._day_first: dict[str, bool | None] = {}

    def fit(self, rows: Sequence[Row]) -> ValueReader:
        """Learn from the pool whether dates such as 3/7/2024 have the day first.

        Args:
            rows: the pool's.
        """
        self._day_first = days_first(self.specs, rows)
        return self

    def read(self, rows: Sequence[Row]) -> list[Values]:
        """Typed values of rows.

        Args:
            rows: field → cell, as the card names the fields.

        Returns:
            Every field of :attr:`specs` → value, ``None`` where there is none.
        """
        return [{spec.name: self._read(spec, row) for spec in self.specs} for row in rows]

    def _read(self, spec: FieldSpec, row: Row) -> Any:
        cell = spec.find(row)
        if is_missing(cell):
            return None
        try:
            return read_cell(spec, cell, day_first=self._day_first.get(spec.name))
        except (RowError, OverflowError):
            return None


__all__ = ["ValueReader"]
