"""Rows that may have several labels: sets of labels, their scores, and paired differences.

Micro F1 counts every label of every row alike; macro F1 is the mean over labels; *all right* is
the share of rows with exactly the right labels; Hamming loss the share of wrong decisions. Rows
are resampled, not labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ecomfs_eval.errors import DataError, EmptyDataError
from ecomfs_eval.intervals import Bootstrap, wilson
from ecomfs_eval.metrics.score import ConfidenceInterval, Score

Table = NDArray[np.bool_]
SET_METRICS = {
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "all_right": "all labels right",
    "hamming_loss": "Hamming loss",
}
"""Metric → its title."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelSets:
    """Label sets of one system for n rows over L labels.

    Attributes
    ----------
    name
        Of the system.
    labels
        The L labels.
    truth, given
        Shape (n, L): whether the row has the label, and whether the system gave it. A row without
        an answer has none, and is not all right.
    answered
        Shape (n,): whether the system answered.

    Examples
    --------
    >>> sets = LabelSets.of([{"late"}, {"late", "broken"}], [{"late"}, None], ["late", "broken"])
    >>> sets.given.tolist(), sets.answered.tolist()
    ([[True, False], [False, False]], [True, False])
    """

    name: str
    labels: tuple[str, ...]
    truth: Table
    given: Table
    answered: Table

    @classmethod
    def of(
        cls,
        truth: Sequence[Collection[str]],
        given: Sequence[Collection[str] | None],
        labels: Sequence[str],
        *,
        name: str = "",
    ) -> Self:
        """Sets of labels, one per row; ``None``: no answer.

        Raises:
            DataError: lists of different lengths, or a label that is not among ``labels``.
            EmptyDataError: no rows.
        """
        if len(truth) != len(given):
            raise DataError(f"{len(truth)} rows have true labels and {len(given)} predictions")
        if not truth:
            raise EmptyDataError("no row has true labels")
        place = {label: i for i, label in enumerate(labels)}
        tables = [np.zeros((len(truth), len(labels)), dtype=bool) for _ in range(2)]
        for table, rows in zip(tables, (truth, [own or () for own in given]), strict=True):
            for row, own in enumerate(rows):
                for label in own:
                    if label not in place:
                        raise DataError(f"row {row + 1}: {label!r} is none of the labels")
                    table[row, place[label]] = True
        answered = np.array([own is not None for own in given])
        return cls(name, tuple(labels), tables[0], tables[1], answered)

    def __len__(self) -> int:
        return len(self.truth)


def set_scores(sets: LabelSets, how: Bootstrap | None = None) -> dict[str, Score]:
    """The metrics of :data:`SET_METRICS` with intervals.

    >>> sets = LabelSets.of([{"a"}, {"a", "b"}] * 10, [{"a"}] * 20, ["a", "b"])
    >>> {name: round(score.value, 2) for name, score in set_scores(sets).items()}
    {'f1_micro': 0.8, 'f1_macro': 0.5, 'all_right': 0.5, 'hamming_loss': 0.25}
    """
    how = how or Bootstrap()
    n = len(sets)
    point = _metrics(sets, np.ones((1, n)))
    drawn = _resampled([sets], how)[0]
    right = int((_right(sets)).sum())
    out = {}
    for name in SET_METRICS:
        value = float(point[name][0])
        unit, higher = ("share", True) if name == "all_right" else ("score", name != "hamming_loss")
        if np.isnan(value):
            reason = "no row has a label, and none was given"
            out[name] = Score(name, None, reason, n=n, higher_is_better=higher)
            continue
        interval = (
            wilson(right, n, how.level) if name == "all_right" else _interval(drawn[name], how)
        )
        out[name] = Score(
            name,
            value,
            n=n,
            unit="share" if unit == "share" else "score",
            higher_is_better=higher,
            interval=interval,
        )
    return out


def set_difference(a: LabelSets, b: LabelSets, how: Bootstrap | None = None) -> dict[str, Score]:
    """b − a on the same rows, with paired bootstrap intervals.

    Raises:
        DataError: the systems have other rows or labels.

    >>> truth = [{"a"}, {"b"}] * 10
    >>> one, two = (LabelSets.of(truth, given, ["a", "b"]) for given in ([{"a"}] * 20, truth))
    >>> set_difference(one, two)["all_right"].value
    0.5
    """
    if a.labels != b.labels or not np.array_equal(a.truth, b.truth):
        raise DataError(f"{a.name} and {b.name} have other rows, or other labels")
    how = how or Bootstrap()
    ones = np.ones((1, len(a)))
    before, after = _metrics(a, ones), _metrics(b, ones)
    drawn = _resampled([a, b], how)
    out = {}
    for name in SET_METRICS:
        value = float(after[name][0] - before[name][0])
        if np.isnan(value):
            out[name] = Score(name, None, "undefined for one of the two", n=len(a))
            continue
        interval = _interval(drawn[1][name] - drawn[0][name], how)
        unit = "share" if name == "all_right" else "score"
        out[name] = Score(
            name, value, n=len(a), unit="share" if unit == "share" else "score", interval=interval
        )
    return out


def _right(sets: LabelSets) -> Table:
    return np.asarray((sets.truth == sets.given).all(axis=1) & sets.answered)


def _metrics(sets: LabelSets, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Every metric, once for each row of weights."""
    both = weights @ (sets.truth & sets.given)
    either = weights @ sets.truth + weights @ sets.given
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        labels = 2 * both / either
        micro = 2 * both.sum(axis=1) / either.sum(axis=1)
    known = ~np.isnan(labels)
    # A label that no row has and that was never given has no F1.
    counted = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    macro = np.where(known, labels, 0).sum(axis=1) / counted
    wrong = weights @ (sets.truth != sets.given)
    return {
        "f1_micro": micro,
        "f1_macro": macro,
        "all_right": weights @ _right(sets) / total,
        "hamming_loss": wrong.sum(axis=1) / (total * len(sets.labels)),
    }


def _resampled(
    systems: Sequence[LabelSets], how: Bootstrap
) -> list[dict[str, NDArray[np.float64]]]:
    """The metrics of each system on the same bootstrap samples of the rows."""
    n, rng = len(systems[0]), np.random.default_rng(how.seed)
    found: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in systems]
    step = max(1, 2_000_000 // n)
    for start in range(0, how.resamples, step):
        size = min(step, how.resamples - start)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        for parts, sets in zip(found, systems, strict=True):
            parts.append(_metrics(sets, weights))
    return [
        {name: np.concatenate([part[name] for part in parts]) for name in SET_METRICS}
        for parts in found
    ]


def _interval(drawn: NDArray[np.float64], how: Bootstrap) -> ConfidenceInterval:
    tail = (1 - how.level) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return ConfidenceInterval(float(low), float(high), how.level, "percentile")


__all__ = ["SET_METRICS", "LabelSets", "set_difference", "set_scores"]
