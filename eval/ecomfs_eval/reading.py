"""Reads :class:`~ecomfs_eval.predictions.Predictions` from tables.

A table has one row per prediction: an id, the gold label, the predicted label, and optionally one
probability column per label (``p_<label>``). Everything else is optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecomfs_eval import _check
from ecomfs_eval._labels import (
    aligned,
    column_labels,
    integer_spellings,
    label_order,
    label_text,
)
from ecomfs_eval.errors import DataError, EmptyDataError
from ecomfs_eval.files import FileKind, read_table
from ecomfs_eval.predictions import FloatArray, Predictions
from ecomfs_eval.structure import LabelStructure

if TYPE_CHECKING:
    import pandas as pd

USUAL: dict[str, tuple[str, ...]] = {
    "gold": ("gold", "label"),
    "predicted": ("predicted", "prediction", "predicted_label"),
    "status": ("status",),
    "latency": ("latency", "latency_s"),
    **{name: (name,) for name in _check.MEASUREMENTS if name != "latency"},
}
"""Attribute of :class:`ColumnNames` → its usual column names."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns of a table of predictions.

    A column named here must exist. An attribute that is ``None`` is looked up under its usual
    names and may be missing, except gold labels and answers.

    Attributes:
        id: row id; ``""`` numbers the rows 1 … n.
        gold: gold label; usual names ``gold``, ``label``.
        predicted: answer; usual names ``predicted``, ``prediction``, ``predicted_label``.
        probability_prefix: a column that starts with it holds the probability of the label that
            follows.
        status: status of the row; usual name ``status``.
        group: the sampled unit (user, query, item). No usual name, because it changes the
            intervals.
        query: the ranked list of the row. No usual name.
        slices: columns to slice by.
        extra: text columns to keep for the report (input, prompt, demonstrations).
        latency: seconds; usual names ``latency``, ``latency_s``.
        prompt_tokens, completion_tokens, cached_tokens, cost: counts and cost; found under these
            names.

    >>> ColumnNames(id="row", gold="truth", slices=("language",)).predicted is None
    True
    """

    id: str = "id"
    gold: str | None = None
    predicted: str | None = None
    probability_prefix: str = "p_"
    status: str | None = None
    group: str | None = None
    query: str | None = None
    slices: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    latency: str | None = None
    prompt_tokens: str | None = None
    completion_tokens: str | None = None
    cached_tokens: str | None = None
    cost: str | None = None


def from_file(
    path: str | Path,
    columns: ColumnNames | None = None,
    *,
    kind: FileKind | None = None,
    **options: Any,
) -> Predictions:
    """See :meth:`ecomfs_eval.Predictions.from_file`."""
    options.setdefault("name", Path(path).stem)
    options.setdefault("source", str(path))
    return from_frame(read_table(path, kind), columns, **options)


def from_frame(
    frame: pd.DataFrame,
    columns: ColumnNames | None = None,
    *,
    labels: Sequence[str] | None = None,
    unknown_predicted: Literal["error", "invalid"] = "error",
    positive: str | None = None,
    currency: str = "USD",
    structure: LabelStructure | None = None,
    name: str = "system",
    source: str = "frame",
) -> Predictions:
    """See :meth:`ecomfs_eval.Predictions.from_frame`."""
    if len(frame.columns) == 0 or len(frame) == 0:
        raise EmptyDataError(f"{source}: no rows", hint="a metric needs at least one row")
    reader = FrameReader(frame, columns or ColumnNames(), source)
    ids = reader.ids()
    golds = reader.gold(ids)
    space, table = reader.probabilities(labels)
    answers = reader.predicted(table, space)
    # One column may have 1.0 where another has 1: both are the same label.
    plain = integer_spellings(golds, space or ())
    if space is not None:
        space = tuple(plain.get(label, label) for label in space)
    golds = aligned([plain.get(label, label) for label in golds], space or ())
    answers = aligned(answers, space or golds)
    if space is None:
        seen = {*golds, *(a for a in answers if a)} if unknown_predicted == "error" else {*golds}
        space = tuple(label_order(seen))
    statuses, clean, raw = reader.statuses(answers, space, unknown_predicted)
    extra = reader.texts(reader.columns.extra)
    if any(raw):
        extra = {**extra, "answer": tuple(raw)}
    return Predictions(
        ids=tuple(ids),
        labels=space,
        gold=tuple(golds),
        predicted=tuple(clean),
        status=tuple(statuses),
        probabilities=table,
        positive=None if positive is None else aligned([plain.get(positive, positive)], space)[0],
        groups=reader.names(reader.columns.group),
        queries=reader.names(reader.columns.query),
        slices=reader.texts(reader.columns.slices),
        extra=extra,
        currency=currency,
        structure=structure,
        name=name,
        source=source,
        **{name: reader.numbers(name) for name in _check.MEASUREMENTS},
    )


def to_frame(p: Predictions) -> pd.DataFrame:
    """See :meth:`ecomfs_eval.Predictions.to_frame`."""
    import pandas as pd

    data: dict[str, Any] = {
        "id": list(p.ids),
        "gold": list(p.gold),
        "predicted": [a or "" for a in p.predicted],
        "status": list(p.status),
    }
    if p.probabilities is not None:
        data |= {f"p_{label}": p.probabilities[:, j] for j, label in enumerate(p.labels)}
    if p.groups is not None:
        data["group"] = list(p.groups)
    if p.queries is not None:
        data["query"] = list(p.queries)
    for measurement in _check.MEASUREMENTS:
        if getattr(p, measurement) is not None:
            data[measurement] = getattr(p, measurement)
    taken = {*data, *(name for m in _check.MEASUREMENTS for name in USUAL[m])}
    for column, values in (*p.slices.items(), *p.extra.items()):
        again = column in data and column not in taken and data[column] != list(values)
        if column in taken or again or column.startswith("p_"):
            raise DataError(
                f"{p.source}: column {column!r} would be read back as something else",
                hint="rename the slicing or the extra column",
            )
        data[column] = list(values)
    return pd.DataFrame(data)


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
    """Reads a frame column by column; its errors name row and column."""

    def __init__(self, frame: pd.DataFrame, columns: ColumnNames, source: str) -> None:
        self.frame, self.columns, self.source = frame, columns, source
        self.header = [str(c) for c in frame.columns]
        doubled = sorted({c for c in self.header if self.header.count(c) > 1})
        if doubled:
            raise DataError(
                f"{source}: column {doubled[0]!r} occurs twice", hint="rename one of them"
            )

    def cells(self, name: str) -> list[Any]:
        """The values of a column, unchanged."""
        if name not in self.header:
            raise DataError(f"{self.source}: no column {name!r}", hint=self._have())
        values: list[Any] = self.frame.iloc[:, self.header.index(name)].tolist()
        return values

    def _have(self) -> str:
        return f"columns are: {_check.some(self.header, 20)}"

    def column(self, name: str) -> list[str]:
        """A column as text."""
        return [_text(v) for v in self.cells(name)]

    def labels(self, name: str) -> list[str]:
        """The labels of a column, empty where one is missing."""
        cells = self.cells(name)
        where = [f"{self.source}: row {row}, column {name!r}" for row in range(1, len(cells) + 1)]
        return column_labels(cells, where)

    def find(self, what: str) -> str | None:
        """The column of an attribute of :class:`ColumnNames`, if there is one."""
        named: str | None = getattr(self.columns, what)
        if named is not None:
            return named
        return next((c for c in USUAL[what] if c in self.header), None)

    def ids(self) -> list[str]:
        """The row ids."""
        name = self.columns.id
        if not name:
            return [str(i) for i in range(1, len(self.frame) + 1)]
        if name not in self.header:
            raise DataError(
                f"{self.source}: no column {name!r}",
                hint="name the id column with ColumnNames(id=...), or ColumnNames(id='') to "
                f"number the rows; {self._have()}",
            )
        ids = self.column(name)
        if "" in ids:
            raise DataError(
                f"{self.source}: row {ids.index('') + 1} has no id in column {name!r}",
                hint="give every row an id of its own",
            )
        return ids

    def gold(self, ids: list[str]) -> list[str]:
        """The gold labels; every row has one."""
        name = self.find("gold")
        if name is None:
            raise DataError(
                f"{self.source}: no column of gold labels",
                hint=f"name it with ColumnNames(gold=...); {self._have()}",
            )
        values = self.labels(name)
        if "" in values:
            row = values.index("")
            raise DataError(
                f"{self.source}: row {row + 1} (id {ids[row]!r}) has no gold label "
                f"in column {name!r}",
                hint="label the row, or leave it out",
            )
        return values

    def probabilities(
        self, labels: Sequence[str] | None
    ) -> tuple[tuple[str, ...] | None, FloatArray | None]:
        """The label space, if known, and the n × L probabilities, if there are any."""
        prefix = self.columns.probability_prefix
        columns = [c for c in self.header if prefix and c.startswith(prefix)]
        found = [c.removeprefix(prefix).strip() for c in columns]
        space = tuple(map(label_text, labels)) if labels is not None else tuple(found) or None
        if not found or space is None:
            return space, None
        found = aligned(found, space)
        if labels is not None and set(found) != set(space):
            unknown = [f for f in found if f not in space]
            if unknown:
                raise DataError(
                    f"{self.source}: column {prefix + unknown[0]!r} belongs to no label",
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
        """The answers, else the most probable labels."""
        name = self.find("predicted")
        if name is not None:
            return self.labels(name)
        if table is None or space is None:
            raise DataError(
                f"{self.source}: neither a column of predicted labels nor of probabilities",
                hint="name it with ColumnNames(predicted=...), or write columns p_<label>; "
                f"{self._have()}",
            )
        return [a or "" for a in _check.most_probable(table, space, self.source)]

    def statuses(
        self, answers: list[str], space: tuple[str, ...], unknown: Literal["error", "invalid"]
    ) -> tuple[list[str], list[str | None], list[str]]:
        """The status of each row, its answer, and the text of an answer that is not a label."""
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
        """A column in which every row must have a value."""
        if column is None:
            return None
        values = self.column(column)
        if "" in values:
            raise DataError(
                f"{self.source}: row {values.index('') + 1} has no value in column {column!r}",
                hint="give every row a value",
            )
        return tuple(values)

    def texts(self, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Text columns by name."""
        return {c: tuple(self.column(c)) for c in columns}

    def numbers(self, what: str) -> FloatArray | None:
        """A column of measurements; ``None`` if the table has none."""
        name = self.find(what)
        if name is None:
            return None
        values = self.floats(name)
        return None if np.isnan(values).all() else values

    def floats(self, name: str) -> FloatArray:
        """A column as numbers, NaN where it is empty."""
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
