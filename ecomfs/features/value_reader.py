"""Converts rows to typed values, by the fields of a task card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecomfs.errors import RowError
from ecomfs.features.block import Values
from ecomfs.features.cells import days_first, read_cell
from ecomfs.task import FieldSpec, is_missing
from ecomfs.types import Row


class ValueReader:
    """Converts the cells of rows to typed values.

    A cell that is not of its field's kind counts as missing; rendering the row reports the error.

    Args:
        specs: the fields of a task. JSON fields are left out, and ids other than the user.
        user: name of the field with the user.

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
            rows: the rows of the pool.
        """
        self._day_first = days_first(self.specs, rows)
        return self

    def read(self, rows: Sequence[Row]) -> list[Values]:
        """Typed values of rows.

        Args:
            rows: field → cell, as the card names the fields.

        Returns:
            Every field of :attr:`specs` → value; ``None``: missing.
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
