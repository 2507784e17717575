"""Guarantees for new rows, fitted on labelled rows.

All three guarantees assume that labelled and new rows are exchangeable: drawn in the same way, in
no special order.

precision   rows accepted without review are right at least this often
            (fixed-sequence testing of thresholds with exact binomial bounds; for the rows of one
            batch, an exact bound on its errors at all thresholds at once)
coverage    the true label is in the prediction set at least this often (split conformal)
loss        answering rows without the model costs at most this much accuracy, on average
            (conformal risk control)

Sources: Angelopoulos, Bates, Candès, Jordan, Lei 2021, *Learn then Test*, arXiv:2110.01052 (fixed
sequence testing); Vovk, Gammerman, Shafer 2005, *Algorithmic Learning in a Random World*, and
Sadinle, Lei, Wasserman 2019, arXiv:1609.00451 (sets by least ambiguous labels); Angelopoulos,
Bates, Fisch, Lei, Schuster 2022, *Conformal Risk Control*, arXiv:2208.02814; Katsevich, Ramdas
2020, arXiv:1803.06790, and Gazin, Blanchard, Roquain 2024, arXiv:2310.18108 (errors of a finite
batch, bounded along the whole path of thresholds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecomfs.calibration.batch_errors import error_bounds
from ecomfs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Threshold:
    """A confidence threshold, and its results on the labelled rows.

    Attributes:
        value: the lowest accepted confidence.
        share: share of the labelled rows that reach it.
        error: share of wrong rows among these.
        rows: number of labelled rows it was chosen on.

    >>> Threshold(0.9, share=0.5, error=0.02, rows=100).value
    0.9
    """

    value: float
    share: float
    error: float
    rows: int


def accept_threshold(
    confidence: ArrayLike,
    right: ArrayLike,
    precision: float,
    delta: float = 0.1,
    *,
    batch: ArrayLike | None = None,
) -> Threshold | None:
    """The lowest confidence threshold with a guaranteed precision of accepted rows.

    Without ``batch`` the guarantee is about the source of the rows: with probability at least
    ``1 - delta`` over the labelled rows, a new row that reaches the threshold is right with
    probability at least ``precision``. Thresholds are tested from the strictest on with the exact
    binomial test of "the error rate of accepted rows is above ``1 - precision``"; the result is the
    last threshold before the first test that does not reject. A batch is itself random: if rows are
    right with probability ``precision``, about half of all batches have fewer right rows.

    With ``batch`` the guarantee is about these rows: with probability at least ``1 - delta`` over
    the choice of the labelled rows, at least ``precision`` of the batch's rows that reach the
    threshold *are* right. The result is the lowest confidence of a labelled row at which the bound
    of :func:`~ecomfs.calibration.batch_errors.error_bounds` on the errors in the batch is small
    enough for the rows it accepts. This holds exactly, at all thresholds at once, for any number of
    labelled rows and rows of the batch.

    ``delta`` is the probability that a guarantee is given *and* broken. If guarantees are rarely
    given, a larger share of those given may be broken.

    Args:
        confidence: confidence of the predicted label, one per labelled row.
        right: whether the prediction was right, one per row.
        precision: the guaranteed precision, between 0 and 1.
        delta: probability that the guarantee fails.
        batch: confidences of the rows to accept. The labelled rows are not among them, but drawn
            in the same way (best: at random from the same table).

    Returns:
        The threshold; ``None`` if the rows do not support the guarantee at any threshold. (For a
        source, 95 % at delta = 0.1 needs at least 45 rows without an error.)

    Raises:
        ConfigError: a number is out of range, lists differ in length, or a confidence is not a
            number.

    >>> scores = [0.99 - i / 1000 for i in range(60)] + [0.5, 0.4]
    >>> accept_threshold(scores, [True] * 60 + [False, False], 0.95).share > 0.9
    True
    >>> accept_threshold(scores[:10], [True] * 10, 0.95) is None
    True
    >>> table = [0.99 - i / 3000 for i in range(200)]
    >>> found = accept_threshold(scores, [True] * 50 + [False] * 12, 0.9, batch=table)
    >>> found.value, sum(c >= found.value for c in table)
    (0.941, 148)
    """
    _between(precision, "precision")
    _between(delta, "delta")
    score, good = _paired(confidence, right)
    order = np.argsort(-score, kind="stable")
    score = score[order]
    wrong: NDArray[np.int64] = np.cumsum(~good[order], dtype=np.int64)
    # Rows of equal confidence are accepted together.
    ends = _ends(score)
    if batch is None:
        best = _last_proved(wrong, ends, precision, delta)
    else:
        best = _lowest_for(np.asarray(batch, dtype=np.float64), score, wrong, precision, delta)
    if best is None:
        return None
    return Threshold(
        float(score[best]), (best + 1) / len(score), float(wrong[best]) / (best + 1), len(score)
    )


def _last_proved(
    wrong: NDArray[np.int64], ends: NDArray[np.int64], precision: float, delta: float
) -> int | None:
    """The last threshold before the fixed sequence of tests stops; ``None`` if it stops at once."""
    from scipy.stats import binom  # takes 0.2 s to import, and only a fit needs it

    best: int | None = None
    # A test that no outcome can pass would end the sequence before it began.
    least = math.ceil(math.log(delta) / math.log(precision))
    for end in ends:
        accepted = int(end) + 1
        if accepted < least:
            continue
        if binom.cdf(wrong[end], accepted, 1 - precision) > delta:
            break
        best = int(end)
    return best


def _lowest_for(
    batch: NDArray[np.float64],
    score: NDArray[np.float64],
    wrong: NDArray[np.int64],
    precision: float,
    delta: float,
) -> int | None:
    """The last labelled row, from the most confident on, whose confidence is a valid threshold for
    the batch."""
    if batch.ndim != 1 or np.isnan(batch).any():
        raise ConfigError(
            "the batch must be a list of confidences",
            hint="give one number per row, and leave out rows without an answer in both groups",
        )
    if not len(batch) or not len(score):
        return None
    limits = error_bounds(len(score), len(batch), _allowed(len(batch), precision), delta)
    ends = _ends(score)
    accepted = len(batch) - np.searchsorted(np.sort(batch), score[ends])
    enough = [
        int(end)
        for end, reached in zip(ends, accepted, strict=True)
        if reached
        and wrong[end] < len(limits)
        and limits[wrong[end]] <= _allowed(int(reached), precision)
    ]
    return enough[-1] if enough else None


def _allowed(accepted: int, precision: float) -> int:
    """Most errors among accepted rows that keep the precision: 5 of 50 at 90 %, in spite of the
    rounding of 1 - 0.9."""
    return math.floor(round((1 - precision) * accepted, 9))


def set_threshold(true_probability: ArrayLike, coverage: float) -> float:
    """The probability threshold of prediction sets, so that a set contains the true label with
    probability at least ``coverage``.

    Args:
        true_probability: probability of the true label, one per labelled row.
        coverage: the guaranteed coverage, between 0 and 1.

    Returns:
        The threshold; 0 (sets contain all labels) if there are too few rows for the guarantee.

    Raises:
        ConfigError: ``coverage`` is out of range, or a probability is not a number.

    >>> set_threshold([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 0.9)
    0.1
    >>> set_threshold([0.9, 0.8], 0.9)
    0.0
    """
    _between(coverage, "coverage")
    given = np.asarray(true_probability, dtype=np.float64)
    _numbers(given)
    p = np.sort(given)[::-1]
    rank = math.ceil(round((len(p) + 1) * coverage, 9))
    return float(p[rank - 1]) if 0 < rank <= len(p) else 0.0


def prediction_set(probabilities: ArrayLike, threshold: float) -> list[int]:
    """Positions of the labels whose probability reaches the threshold, most likely first. The most
    likely label is always included.

    >>> prediction_set([0.1, 0.7, 0.2], 0.2), prediction_set([0.4, 0.6], 0.9)
    ([1, 2], [1])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    return [int(i) for i in order[: max(1, int((p >= threshold).sum()))]]


def skip_threshold(confidence: ArrayLike, right: ArrayLike, max_loss: float) -> Threshold | None:
    """The lowest confidence of the experts from which the model is skipped.

    The expected share of rows that the experts answer wrongly is at most ``max_loss``. This is an
    upper bound on the lost accuracy, for any answers of the model.

    Args:
        confidence: confidence of the experts' answer, one per labelled row.
        right: whether the experts' answer was right.
        max_loss: largest loss, such as 0.01 for one point of accuracy.

    Returns:
        The threshold; ``None`` if the rows do not support it: it needs at least
        ``1 / max_loss - 1`` rows.

    Raises:
        ConfigError: as for :func:`accept_threshold`.

    >>> scores = [0.9] * 150 + [0.6] * 50
    >>> skip_threshold(scores, [True] * 150 + [False] * 50, 0.01).share
    0.75
    >>> skip_threshold([0.9] * 50, [True] * 50, 0.01) is None
    True
    """
    _between(max_loss, "max_loss")
    score, good = _paired(confidence, right)
    n = len(score)
    order = np.argsort(-score, kind="stable")
    score, wrong = score[order], np.cumsum(~good[order])
    ends = _ends(score)
    kept = [int(e) for e in ends if (wrong[e] + 1) / (n + 1) <= max_loss]
    if not kept:
        return None
    end = kept[-1]
    return Threshold(float(score[end]), (end + 1) / n, float(wrong[end]) / (end + 1), n)


def _paired(
    confidence: ArrayLike, right: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    score, good = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if score.shape != good.shape or score.ndim != 1:
        raise ConfigError(f"{score.shape} confidences but {good.shape} outcomes")
    _numbers(score)
    return score, good


def _numbers(values: NDArray[np.float64]) -> None:
    """Refuse NaN, which would be sorted like a number, and become a threshold."""
    if np.isnan(values).any():
        raise ConfigError(
            f"{np.isnan(values).sum()} of {len(values)} confidences are not numbers",
            hint="leave out rows without an answer",
        )


def _ends(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the last of equal confidences."""
    if not len(score):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.append(np.diff(score) != 0, True))


def _between(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name} is {value}", hint="use a number between 0 and 1")


__all__ = ["Threshold", "accept_threshold", "prediction_set", "set_threshold", "skip_threshold"]
