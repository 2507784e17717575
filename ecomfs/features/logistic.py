"""Multinomial logistic regression with a ridge penalty, by Newton's method.

The score of label l for a row is ``b_l + x · w_l + z_l · v``: ``x`` are features of the row, each
with one weight per label; ``z_l`` are features of row and label, with weights shared by all labels
(a conditional logit, McFadden 1974). A pseudo-row of weight one at the mean of the features, spread
evenly over the labels, keeps the probability of every label above zero.

The penalty is the one with the least approximate leave-one-out log loss: the solution without a row
is approximated in closed form by one Newton step (Rad and Maleki 2020, *Journal of the Royal
Statistical Society B* 82(4)); the same holds for a group of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert
from threadpoolctl import threadpool_limits

from ecomfs.features.block import Floats

PENALTIES = tuple(float(p) for p in np.geomspace(30.0, 0.03, 8))
"""Penalties in the order in which they are tried. Features have a standard deviation of one half:
for an average row, a weight of 1 adds half a unit of log-odds."""
MOST_WEIGHTS = 150
"""Most weights (features times labels); beyond it, only the main axes of the features are used."""
MOST_TOGETHER = 1_000
"""Most rows times labels that are left out together when the penalty is chosen; a larger group is
split."""
FLOOR = 1e-12
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted model.

    Attributes:
        row_weights: shape (row features, labels); each row sums to zero.
        shared: shape (label features,)
        offsets: shape (labels,)
        penalty: the chosen penalty.
        loss: its approximate leave-one-out log loss.

    >>> x = np.array([[-0.5], [-0.4], [0.4], [0.5]])
    >>> model = fit_logistic(x, np.zeros((4, 2, 0)), np.array([0, 0, 1, 1]))
    >>> model.probabilities(x, np.zeros((4, 2, 0))).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """

    row_weights: Floats
    shared: Floats
    offsets: Floats
    penalty: float
    loss: float

    def scores(self, x: Floats, z: Floats) -> Floats:
        """Scores; their softmax gives the probabilities.

        Args:
            x: shape (rows, row features)
            z: shape (rows, labels, label features)

        Returns:
            Shape (rows, labels).
        """
        return np.asarray(x @ self.row_weights + z @ self.shared + self.offsets)

    def probabilities(self, x: Floats, z: Floats) -> Floats:
        """Distributions, shape (rows, labels); the arguments are those of :meth:`scores`."""
        return softmax(self.scores(x, z))


def softmax(scores: Floats) -> Floats:
    """Softmax along the last axis; finite for finite scores of any size.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def fit_logistic(
    x: Floats,
    z: Floats,
    labels: np.ndarray,
    penalties: tuple[float, ...] = PENALTIES,
    groups: np.ndarray | None = None,
) -> Logistic:
    """Fit with the penalty of least approximate leave-one-out log loss.

    Args:
        x: shape (rows, row features); centred, with a standard deviation of about one half.
        z: shape (rows, labels, label features); with a standard deviation of about one.
        labels: shape (rows,); positions of the true labels. A label may have no row, and there may
            be no rows.
        penalties: penalties to try, in this order; the first of equally good ones is used.
        groups: shape (rows,); rows with the same number are left out together.
    """
    with threadpool_limits(1):  # small matrices: threads would only wait for each other
        axes = _main_axes(x, MOST_WEIGHTS // max(1, z.shape[1] - 1))
        design, targets, offsets = _design(x @ axes, z, labels)
        most = max(1, MOST_TOGETHER // z.shape[1])
        parts = _parts(np.arange(len(x)) if groups is None else groups, most)
        loss, penalty, weights = _best(design, targets, offsets, penalties, parts)
    shared, contrasts = z.shape[2], helmert(z.shape[1]).T
    rows = weights[shared:].reshape(1 + axes.shape[1], z.shape[1] - 1) @ contrasts.T
    return Logistic(axes @ rows[1:], weights[:shared], rows[0], penalty, loss)


def _best(
    design: Floats,
    targets: Floats,
    offsets: np.ndarray,
    penalties: tuple[float, ...],
    parts: Sequence[np.ndarray],
) -> tuple[float, float, Floats]:
    """Loss, penalty and weights for the best penalty; the last row is the pseudo-row."""
    best: tuple[float, float, Floats] | None = None
    weights = np.zeros(design.shape[2])
    for penalty in penalties:
        ridge = penalty * np.where(offsets, 1e-6, 1.0)  # the pseudo-row holds the offsets
        weights, inverse = _solve(design, targets, ridge, weights)
        loss = _moved_loss(design[:-1], targets[:-1], weights, inverse, parts)
        if best is None or loss < best[0] - 1e-9:
            best = (loss, penalty, weights)
    assert best is not None  # there are penalties
    return best


def _design(x: Floats, z: Floats, labels: np.ndarray) -> tuple[Floats, Floats, np.ndarray]:
    """Rows and the pseudo-row, shape (rows + 1, labels, weights); their targets; which weights are
    offsets. Weights are the shared ones, then one per contrast of labels for the offset and for
    every feature of the row."""
    n, label_count, shared = z.shape
    contrasts = helmert(label_count).T  # (labels, labels − 1), columns orthonormal, sum zero
    ones = np.zeros((n + 1, 1 + x.shape[1]))
    ones[:, 0], ones[:n, 1:] = 1.0, x
    design = np.zeros((n + 1, label_count, shared + ones.shape[1] * (label_count - 1)))
    design[:n, :, :shared] = z
    wide = ones[:, None, :, None] * contrasts[None, :, None, :]
    design[:, :, shared:] = wide.reshape(n + 1, label_count, -1)
    targets = np.vstack([np.eye(label_count)[labels], np.full(label_count, 1 / label_count)])
    offsets = np.zeros(design.shape[2], dtype=bool)
    offsets[shared : shared + label_count - 1] = True
    return design, targets, offsets


def _main_axes(x: Floats, most: int) -> Floats:
    """Orthonormal axes, shape (features, axes), that span the rows; at most ``most`` main ones. The
    ridge penalty does not depend on the axes, so nothing is lost if all are kept."""
    if not x.size:
        return np.zeros((x.shape[1], 0))
    if x.shape[1] <= min(len(x), most):
        return np.eye(x.shape[1])
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    return np.asarray(vt[: min(most, int((s > 1e-9 * max(s[0], 1e-300)).sum()))].T)


def _solve(design: Floats, targets: Floats, ridge: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Weights and the inverse Hessian at them, by Newton's method with step halving."""
    if not len(start):  # one label, and no feature of row and label
        return start, np.zeros((0, 0))
    weights, loss = start, _loss(design, targets, ridge, start)
    for _ in range(_STEPS):
        p = softmax(design @ weights)
        slope = np.einsum("ilm,il->m", design, p - targets, optimize=True) + ridge * weights
        step = np.linalg.solve(_curvature(design, p, ridge), slope)
        size = 1.0
        while True:
            tried = weights - size * step
            new = _loss(design, targets, ridge, tried)
            if new <= loss or size < 1e-6:
                break
            size /= 2
        gained, weights, loss = loss - new, tried, new
        if gained < 1e-8 * max(1.0, abs(loss)):
            break
    p = softmax(design @ weights)
    inverse = np.asarray(np.linalg.inv(_curvature(design, p, ridge)), dtype=np.float64)
    return weights, inverse


def _loss(design: Floats, targets: Floats, ridge: Floats, weights: Floats) -> float:
    scores = design @ weights
    top = scores.max(axis=1, keepdims=True)
    log_total = top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))
    return float(log_total.sum() - (targets * scores).sum() + 0.5 * (ridge * weights**2).sum())


def _curvature(design: Floats, p: Floats, ridge: Floats) -> Floats:
    flat = (design * np.sqrt(p)[:, :, None]).reshape(-1, design.shape[2])
    mean = np.einsum("ilm,il->im", design, p, optimize=True)
    return np.asarray(flat.T @ flat - mean.T @ mean + np.diag(ridge))


def _parts(groups: np.ndarray, most: int) -> list[np.ndarray]:
    """Positions of the rows that are left out together, one array per group size, each of shape
    (groups of that size, rows of a group)."""
    _, sizes = np.unique(groups, return_counts=True)
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    members = [m[at : at + most] for m in members for at in range(0, len(m), most)]
    by_size: dict[int, list[np.ndarray]] = {}
    for own in members:
        by_size.setdefault(len(own), []).append(own)
    return [np.array(alike) for alike in by_size.values()]


def _moved_loss(
    design: Floats,
    targets: Floats,
    weights: Floats,
    inverse: Floats,
    parts: Sequence[np.ndarray],
) -> float:
    """Approximate mean leave-one-out log loss: one Newton step removes the group of each row."""
    if not design.size:
        return 0.0  # without rows or weights all penalties are equally good
    scores = design @ weights
    p = softmax(scores)
    labels = p.shape[1]
    curve = p[:, :, None] * np.eye(labels) - p[:, :, None] * p[:, None, :]
    left_out = np.empty_like(p)
    for rows in parts:  # (groups, rows of a group)
        count, size = rows.shape
        own = design[rows].reshape(count, size * labels, -1)
        spread = np.matmul(own @ inverse, own.transpose(0, 2, 1))
        blocks = np.zeros((count, size, labels, size, labels))
        at = np.arange(size)
        blocks[:, at, :, at, :] = curve[rows].transpose(1, 0, 2, 3)
        bent = blocks.reshape(count, size * labels, size * labels)
        away = (p - targets)[rows].reshape(count, size * labels, 1)
        moved = np.linalg.solve(np.eye(size * labels) - bent @ spread, away)
        left_out[rows] = scores[rows] + (spread @ moved).reshape(count, size, labels)
    found = softmax(left_out)
    return float(-np.log(np.maximum((found * targets).sum(axis=1), FLOOR)).mean())


__all__ = ["PENALTIES", "Logistic", "fit_logistic", "softmax"]
