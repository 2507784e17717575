"""Rows with several labels each: F1 over labels, and exactly right rows.

A row without an answer (``None``) has none of the labels and is never exactly right, whatever its
gold: it was not answered. Averages over labels run over those that occur in gold or in answers,
as those of single labels do.

>>> rows = LabelSets.of([{"a", "b"}, {"b"}, set()], [{"a"}, {"b"}, None])
>>> [round(float(m.evaluate(rows, np.ones((1, 3)))[0]), 3) for m in METRICS.values()]
[0.8, 0.833, 0.333]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecomfs_eval._labels import label_order
from ecomfs_eval.errors import DataError, EmptyDataError
from ecomfs_eval.metrics.base import RowWeights, ratio
from ecomfs_eval.predictions import FloatArray

_F1 = "van Rijsbergen 1979, Information Retrieval, ch. 7; averages: Sokolova & Lapalme 2009"
_EXACT = "Ghamrawi & McCallum 2005, doi:10.1145/1099554.1099591 (subset accuracy)"


@dataclass(frozen=True, slots=True, eq=False)
class LabelSets:
    """Gold and answered labels of n rows over L labels.

    Attributes:
        labels: the label space.
        gold, given: n × L, whether a row has the label, and was given it.
        answered: n, whether there is an answer at all.
    """

    labels: tuple[str, ...]
    gold: NDArray[np.bool_]
    given: NDArray[np.bool_]
    answered: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.gold)

    @classmethod
    def of(
        cls,
        gold: Sequence[Collection[str]],
        given: Sequence[Collection[str] | None],
        labels: Sequence[str] | None = None,
    ) -> LabelSets:
        """From sets of labels.

        Args:
            given: one set a row, perhaps empty; ``None`` for a row without an answer.
            labels: the label space; when left out, every label seen, sorted.

        Raises:
            EmptyDataError: no rows.
            DataError: not one answer a row, or a row that is a text and no set.
            DataError: a label outside ``labels``.
        """
        if not len(gold):
            raise EmptyDataError("no rows")
        if len(given) != len(gold):
            raise DataError(f"{len(gold)} rows but {len(given)} answers")
        answers = [() if own is None else own for own in given]
        for name, column in (("gold", gold), ("answer", answers)):
            for at, own in enumerate(column):
                if isinstance(own, str):
                    raise DataError(f"row {at}: {name} {own!r} is a text", hint="give a set")
        if labels is None:
            labels = label_order({label for own in [*gold, *answers] for label in own})
        place = {label: at for at, label in enumerate(labels)}

        def table(column: Sequence[Collection[str]]) -> NDArray[np.bool_]:
            out = np.zeros((len(column), len(place)), dtype=bool)
            for at, own in enumerate(column):
                for label in own:
                    if label not in place:
                        raise DataError(
                            f"row {at}: no label {label!r}", hint=f"labels are: {', '.join(place)}"
                        )
                    out[at, place[label]] = True
            return out

        answered = np.array([own is not None for own in given])
        return cls(tuple(labels), table(gold), table(answers), answered)


@dataclass(frozen=True, slots=True)
class SetMetric:
    """A metric of label sets.

    Attributes:
        name, title, definition, source: as of :class:`~ecomfs_eval.metrics.base.Metric`.
        evaluate: the rows and B × n weights → B values, ``nan`` where they are undefined.
        undefined: why a value may be ``nan``.
        proportion: it is a share of rows.
    """

    name: str
    title: str
    definition: str
    source: str
    evaluate: Callable[[LabelSets, RowWeights], FloatArray]
    undefined: str = "no row has a label, in gold or among the answers"
    proportion: bool = False


def exact(rows: LabelSets) -> NDArray[np.bool_]:
    """n values: whether the answered labels are exactly those of gold."""
    same = (rows.gold == rows.given).all(axis=1)
    return np.asarray(same & rows.answered)


def _counts(rows: LabelSets, weights: RowWeights) -> tuple[FloatArray, FloatArray]:
    """B × L: hits, and rows with the label in gold plus rows given it."""
    hit = weights @ (rows.gold & rows.given).astype(np.float64)
    return hit, weights @ (rows.gold.astype(np.float64) + rows.given)


def _micro(rows: LabelSets, weights: RowWeights) -> FloatArray:
    hit, seen = _counts(rows, weights)
    return ratio(2 * hit.sum(axis=1), seen.sum(axis=1))


def _macro(rows: LabelSets, weights: RowWeights) -> FloatArray:
    hit, seen = _counts(rows, weights)
    return ratio(np.nan_to_num(ratio(2 * hit, seen)).sum(axis=1), (seen > 0).sum(axis=1))


def _exact(rows: LabelSets, weights: RowWeights) -> FloatArray:
    return ratio(weights @ exact(rows).astype(np.float64), weights.sum(axis=1))


METRICS: dict[str, SetMetric] = {
    m.name: m
    for m in (
        SetMetric(
            "f1_micro",
            "F1 of label sets, micro",
            "2 · right labels / (given labels + gold labels), all rows and labels pooled",
            _F1,
            _micro,
        ),
        SetMetric(
            "f1_macro",
            "F1 of label sets, macro",
            "mean over labels of 2 · right / (rows given the label + rows that have it)",
            _F1,
            _macro,
        ),
        SetMetric(
            "subset_accuracy",
            "Exactly right rows",
            "rows whose answered labels are exactly those of gold / all rows",
            _EXACT,
            _exact,
            proportion=True,
        ),
    )
}

__all__ = ["METRICS", "LabelSets", "SetMetric", "exact"]
