"""Rows as they came to typed values, by the fields of a task card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecomfs.errors import RowError
from ecomfs.features.block import Values
from ecomfs.features.cells import guess_day_first, read_cell
from ecomfs.task import FieldSpec, is_missing
from ecomfs.types import Row


class ValueReader:
    """Reads the cells of rows.

    A cell that is not of its field's kind counts as missing: whatever puts the row into words
    reports it.

    Parameters
    ----------
    specs : sequence of FieldSpec
        The fields of a task; JSON is not read, and of ids only the user's.
    user : str, optional
        Name of the field that names the user.

    Examples
    --------
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

        Parameters
        ----------
        rows : sequence of Row
            The pool's.

        Returns
        -------
        ValueReader
            Itself.
        """
        for spec in self.specs:
            if spec.kind == "date":
                cells = [spec.find(row) for row in rows]
                self._day_first[spec.name] = guess_day_first(spec, cells)
        return self

    def read(self, rows: Sequence[Row]) -> list[Values]:
        """Typed values of rows.

        Parameters
        ----------
        rows : sequence of Row
            Field → cell, as the card names the fields.

        Returns
        -------
        list of dict
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
