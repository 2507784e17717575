"""Guarantees for new rows, from labelled rows that stand for them.

Three guarantees, each with its assumption: that the labelled rows and the new ones are exchangeable
(drawn alike, in no special order).

precision   rows accepted without review are right at least this often
            (a threshold tested with exact binomial bounds, in a fixed sequence; for the rows of
            one batch, an exact bound of the errors in it, at all thresholds at once)
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

from ecomfs.calibration.batch_errors import most_errors
from ecomfs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Threshold:
    """A confidence from which on rows are answered, and what was seen on the labelled rows.

    Attributes:
        value: the least confidence that is enough.
        share: share of the labelled rows that reach it.
        error: share of wrong ones among these.
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
    """The lowest confidence from which on accepted rows keep a guaranteed precision.

    Without ``batch`` the guarantee is about the source of the rows: with probability at least
    ``1 - delta`` over the labelled rows, a new row that reaches the threshold is right with
    probability at least ``precision``. Thresholds are tested from the strictest on, each by the
    exact binomial test of "the error rate among the accepted is above ``1 - precision``"; the last
    one before the first that is not rejected is taken. A batch is itself a draw: of rows that are
    right with probability ``precision`` about half of all batches hold fewer right ones.

    With ``batch`` the guarantee is about these rows: with probability at least ``1 - delta`` over
    which rows of the two groups were the labelled ones, at least ``precision`` of the batch's rows
    that reach the threshold *are* right. Of the confidences that were seen on labelled rows the
    lowest is taken at which the most errors that
    :func:`~ecomfs.calibration.batch_errors.most_errors` leaves to the batch are not too many for
    the rows it accepts. This holds at all thresholds at once, exactly, for any number of rows on
    either side.

    ``delta`` counts draws in which a guarantee is given *and* broken, among all draws. Where
    guarantees are rarely given, a larger share of those that are given may be broken.

    Args:
        confidence: of the predicted label, one per labelled row.
        right: whether the prediction was right, one per row.
        precision: guaranteed, between 0 and 1.
        delta: how often the guarantee may fail.
        batch: confidences of the rows to be accepted; the labelled ones are not among them, but
            drawn like them (best: at random from the same table).

    Returns:
        ``None`` when the rows do not support the guarantee at any threshold (with 95 % at
        delta = 0.1 at least 45 rows without an error are needed, about a source).

    Raises:
        ConfigError: a number out of range, lists of different lengths, a confidence that is none.

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
    """Where the fixed sequence of tests stops."""
    from scipy.stats import binom  # a fifth of a second that only a fit needs

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
    """The last labelled row, from the surest on, whose confidence is enough for the batch."""
    if batch.ndim != 1 or np.isnan(batch).any() or np.isnan(score).any():
        raise ConfigError(
            "the batch is no list of confidences",
            hint="give one number per row, and leave rows without an answer out, of both groups",
        )
    if not len(batch) or not len(score):
        return None
    limits = most_errors(len(score), len(batch), _allowed(len(batch), precision), delta)
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
    """Most errors among the accepted that keep the precision: 5 of 50 at 90 %, whatever the last
    bit of 1 - 0.9."""
    return math.floor(round((1 - precision) * accepted, 9))


def set_threshold(true_probability: ArrayLike, coverage: float) -> float:
    """The probability from which on a label belongs to the prediction set, so that the set holds
    the true label with probability at least ``coverage``.

    Args:
        true_probability: probability given to the true label, one per labelled row.
        coverage: between 0 and 1.

    Returns:
        0 (every label belongs) when there are too few rows for the guarantee.

    >>> set_threshold([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 0.9)
    0.1
    >>> set_threshold([0.9, 0.8], 0.9)
    0.0
    """
    _between(coverage, "coverage")
    p = np.sort(np.asarray(true_probability, dtype=np.float64))[::-1]
    rank = math.ceil(round((len(p) + 1) * coverage, 9))
    return float(p[rank - 1]) if 0 < rank <= len(p) else 0.0


def prediction_set(probabilities: ArrayLike, threshold: float) -> list[int]:
    """Positions of the labels with at least the threshold's probability, most likely first; the
    most likely label always belongs.

    >>> prediction_set([0.1, 0.7, 0.2], 0.2), prediction_set([0.4, 0.6], 0.9)
    ([1, 2], [1])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    return [int(i) for i in order[: max(1, int((p >= threshold).sum()))]]


def skip_threshold(confidence: ArrayLike, right: ArrayLike, max_loss: float) -> Threshold | None:
    """The lowest confidence of the experts from which on the model need not be asked.

    The expected share of all rows that are answered by the experts and wrong, an upper bound
    of the accuracy lost whatever the model would have answered, is at most ``max_loss``.

    Args:
        confidence: of the experts' answer, one per labelled row.
        right: whether the experts' answer was right.
        max_loss: such as 0.01 for one point of accuracy.

    Returns:
        ``None`` when the rows do not support it: at least ``1 / max_loss - 1`` are needed.

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
    return score, good


def _ends(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where a run of equal confidences ends."""
    if not len(score):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.append(np.diff(score) != 0, True))


def _between(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name} is {value}", hint="use a number between 0 and 1")


__all__ = ["Threshold", "accept_threshold", "prediction_set", "set_threshold", "skip_threshold"]
