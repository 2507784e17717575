"""One frame, read column by column, with errors that name row and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecomfs_eval import _check
from ecomfs_eval._labels import aligned, column_labels, label_text
from ecomfs_eval.columns import USUAL, ColumnNames
from ecomfs_eval.errors import DataError, RowsDifferError
from ecomfs_eval.predictions import FloatArray

if TYPE_CHECKING:
    import pandas as pd


def _text(value: object) -> str:
    """A cell as text; missing values of any kind are empty."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return ""
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    if isinstance(value, str):
        return value
    text = str(value)
    return "" if text in ("<NA>", "NaT") else text


class FrameReader:
    """One frame, read column by column."""

    def __init__(self, frame: pd.DataFrame, columns: ColumnNames, source: str) -> None:
        self.frame, self.columns, self.source = frame, columns, source
        self.names_here = [str(c) for c in frame.columns]
        doubled = sorted({c for c in self.names_here if self.names_here.count(c) > 1})
        if doubled:
            raise DataError(
                f"{source}: column {doubled[0]!r} stands twice", hint="rename one of them"
            )

    def column(self, name: str) -> list[str]:
        if name not in self.names_here:
            raise DataError(
                f"{self.source}: no column {name!r}",
                hint=f"columns are: {_check.some(self.names_here, 20)}",
            )
        position = self.names_here.index(name)
        return [_text(v) for v in self.frame.iloc[:, position].tolist()]

    def labels(self, name: str) -> list[str]:
        """The labels of a column, empty where there is none."""
        if name not in self.names_here:
            self.column(name)  # raises
        cells = self.frame.iloc[:, self.names_here.index(name)].tolist()
        where = [f"{self.source}: row {row}, column {name!r}" for row in range(1, len(cells) + 1)]
        return column_labels(cells, where)

    def find(self, what: str) -> str | None:
        named: str | None = getattr(self.columns, what)
        if named is not None:
            return named
        return next((c for c in USUAL[what] if c in self.names_here), None)

    def ids(self) -> list[str]:
        if not self.columns.id:
            return [str(i) for i in range(1, len(self.frame) + 1)]
        if self.columns.id not in self.names_here:
            raise DataError(
                f"{self.source}: no column {self.columns.id!r}",
                hint="name the id column with ColumnNames(id=...), or ColumnNames(id='') to number rows; "
                f"columns are: {_check.some(self.names_here, 20)}",
            )
        ids = self.column(self.columns.id)
        for row, value in enumerate(ids):
            if not value:
                raise DataError(
                    f"{self.source}: row {row + 1} has no id in column {self.columns.id!r}",
                    hint="give every row its own id",
                )
        return ids

    def gold(self, ids: list[str], given: Mapping[str, str] | None) -> list[str]:
        if given is not None:
            strangers = [i for i in ids if i not in given]
            if strangers:
                raise RowsDifferError(
                    f"{self.source}: {len(strangers)} rows have no gold label: "
                    f"{_check.some(strangers)}",
                    hint="the gold labels must cover every predicted id",
                )
            return [label_text(given[i], f"gold label of {i!r}") for i in ids]
        name = self.find("gold")
        if name is None:
            raise DataError(
                f"{self.source}: no column of gold labels",
                hint="name it with ColumnNames(gold=...); "
                f"columns are: {_check.some(self.names_here, 20)}",
            )
        values = self.labels(name)
        for row, value in enumerate(values):
            if not value:
                raise DataError(
                    f"{self.source}: row {row + 1} (id {ids[row]!r}) has no gold label "
                    f"in column {name!r}",
                    hint="label the row, or leave it out",
                )
        return values

    def probabilities(
        self, labels: Sequence[str] | None
    ) -> tuple[tuple[str, ...] | None, FloatArray | None]:
        prefix = self.columns.probability_prefix
        columns = [c for c in self.names_here if prefix and c.startswith(prefix)]
        found = [c.removeprefix(prefix).strip() for c in columns]
        space = tuple(map(label_text, labels)) if labels is not None else tuple(found) or None
        if not found or space is None:
            return space, None
        found = aligned(found, space)
        if labels is not None and set(found) != set(space):
            strangers = [f for f in found if f not in space]
            if strangers:
                raise DataError(
                    f"{self.source}: column {prefix + strangers[0]!r} belongs to no label",
                    hint=f"labels are: {_check.some(space)}; "
                    "or set ColumnNames(probability_prefix=...)",
                )
            lost = [s for s in space if s not in found]
            raise DataError(
                f"{self.source}: no column {prefix + lost[0]!r}",
                hint="give a probability column for every label, or for none",
            )
        column = dict(zip(found, columns, strict=True))
        return space, np.column_stack([self.floats(column[label]) for label in space])

    def predicted(self, table: FloatArray | None, space: tuple[str, ...] | None) -> list[str]:
        name = self.find("predicted")
        if name is not None:
            return self.labels(name)
        if table is None or space is None:
            raise DataError(
                f"{self.source}: neither a column of predicted labels nor of probabilities",
                hint="name it with ColumnNames(predicted=...), or write columns p_<label>; "
                f"columns are: {_check.some(self.names_here, 20)}",
            )
        return [a or "" for a in _check.most_probable(table, space, self.source)]

    def statuses(
        self,
        ids: list[str],
        answers: list[str],
        space: tuple[str, ...],
        unknown: Literal["error", "invalid"],
    ) -> tuple[list[str], list[str | None], list[str]]:
        name = self.find("status")
        written = self.column(name) if name is not None else [""] * len(answers)
        known = set(space)
        statuses: list[str] = []
        clean: list[str | None] = []
        raw = [""] * len(answers)
        for row, (answer, status) in enumerate(zip(answers, written, strict=True)):
            if answer and answer not in known and unknown == "invalid":
                statuses.append("invalid")
                clean.append(None)
                raw[row] = answer
                continue
            clean.append(answer or None)
            statuses.append(status or ("ok" if answer else "invalid"))
        return statuses, clean, raw

    def names(self, column: str | None) -> tuple[str, ...] | None:
        if column is None:
            return None
        values = self.column(column)
        for row, value in enumerate(values):
            if not value:
                raise DataError(
                    f"{self.source}: row {row + 1} has nothing in column {column!r}",
                    hint="every row needs its group",
                )
        return tuple(values)

    def texts(self, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {c: tuple(self.column(c)) for c in columns}

    def numbers(self, what: str) -> FloatArray | None:
        name = self.find(what)
        if name is None:
            return None
        values = self.floats(name)
        return None if np.isnan(values).all() else values

    def floats(self, name: str) -> FloatArray:
        values = np.full(len(self.frame), np.nan)
        for row, text in enumerate(self.column(name)):
            if not text:
                continue
            try:
                values[row] = float(text)
            except ValueError as error:
                raise DataError(
                    f"{self.source}: row {row + 1}, column {name!r}: {text!r} is not a number",
                    hint="write a plain number, or leave it empty",
                ) from error
        return values
