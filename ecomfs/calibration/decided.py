"""Rows whose label is decided before the model is asked: whatever it would read, the experts'
likeliest label stays the answer.

The common answer is an average of components (:mod:`ecomfs.calibration.blend`). In a component with
the model, its calibrated log-probabilities are added with a weight. They are bounded: no
probability counts as less than :data:`~ecomfs.calibration.calibrate.FLOOR` before calibration,
which adds an offset and divides by a temperature, nor after it. So there is a largest amount by
which the model can favour another label over the experts' one, in each component, and with it in
the average. Where this is not enough to turn the answer, for any other label, the row is decided.

The bound is reached with two labels. With more it is taken for each other label by itself, so that
it may leave a row to the model that no reading could turn, and never the reverse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration.blend import Blend
from ecomfs.calibration.calibrate import FLOOR, Calibration, FloatArray, softmax
from ecomfs.calibration.fusion import EXPERTS, MODEL, Evidence, Fusion, weighted_sum

_ROUNDING = 1e-9
"""Differences of probabilities that the order of additions may change."""
_LARGEST = 700.0
"""Exponents above it have no double-precision number."""


def decided(
    fusion: Blend, evidence: Evidence, calibration: Calibration | None = None
) -> NDArray[np.bool_]:
    """For each row, whether no reading of the model could change the label.

    Args:
        fusion: how model and experts answer together.
        evidence: of n rows, without the model; with the experts' common answer.
        calibration: of the model's readings; ``None``: they stand as they are read.

    >>> from ecomfs.calibration.blend import EXPERTS_ALONE, MODEL_ALONE
    >>> rows = Evidence.of((), None, [[0.95, 0.05], [0.6, 0.4]])
    >>> decided(Blend((EXPERTS_ALONE, MODEL_ALONE), (0.7, 0.3)), rows).tolist()
    [True, False]
    >>> decided(Blend((EXPERTS_ALONE, MODEL_ALONE), (1.0, 0.0)), rows).tolist()
    [True, True]
    """
    n, size = evidence.shape
    if not fusion.asks_model:
        return np.ones(n, dtype=np.bool_)
    rows, top = np.arange(n), evidence.scores[EXPERTS].argmax(axis=1)
    reach = _reach(calibration, size)[top]
    ahead = np.zeros((n, size))
    for component, weight in zip(fusion.components, fusion.weights, strict=False):
        if weight:
            ahead += weight * _ahead(component, evidence, top, reach)
    if fusion.shares:
        shares = np.array(fusion.shares)
        ahead += fusion.weights[-1] * (shares - shares[top][:, None])
    ahead[rows, top] = -np.inf
    return np.asarray(ahead.max(axis=1, initial=-np.inf) < -_ROUNDING)


def _reach(calibration: Calibration | None, size: int) -> FloatArray:
    """By how much, in nats, the model's calibrated log-probability of a label (column) can be above
    that of another (line), at most."""
    most = float(-np.log(FLOOR))
    reach = np.full((size, size), most)
    if calibration is not None:
        offsets = np.array(calibration.offsets)
        apart = (most + offsets[None, :] - offsets[:, None]) / calibration.temperature
        reach = np.clip(apart, 0.0, most)
    np.fill_diagonal(reach, 0.0)
    return reach


def _ahead(
    component: Fusion, evidence: Evidence, top: NDArray[np.int64], reach: FloatArray
) -> FloatArray:
    """By how much the probability of each label can be above that of the top one, at most; below 0
    where it always is less likely."""
    rest = {name: weight for name, weight in component.weights.items() if name != MODEL}
    scores, rows = weighted_sum(rest, evidence), np.arange(len(top))
    weight = component.weights.get(MODEL, 0.0)
    if not weight:
        p = softmax(scores)
        return np.asarray(p - p[rows, top][:, None])
    apart = scores - scores[rows, top][:, None] + weight * reach
    # What the two labels have together: at most all, at least what the top one has left if the
    # model favours every other label as far as it can.
    least = 1 / np.exp(np.minimum(apart, _LARGEST)).sum(axis=1, keepdims=True)
    if apart.shape[1] == 2:
        least = np.ones_like(least)
    return np.asarray(np.tanh(apart / 2) * np.where(apart > 0, 1.0, least))


__all__ = ["decided"]
