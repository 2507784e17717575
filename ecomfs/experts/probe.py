"""The linear probe: a second cheap expert beside the neighbours' vote.

Ridge regression from centred embeddings to one column a label, solved in closed form. Nothing is
iterated, and its leave-one-out scores come from the same solution, so it costs a matrix inverse
and no model call.

Source: the leave-one-out identity of linear smoothers, Hastie, Tibshirani, Friedman, *The
Elements of Statistical Learning*, section 7.10; for examples that are copies of each other the
whole group is left out, by the block form of the same identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PENALTIES = tuple(float(p) for p in np.geomspace(0.03, 30.0, 10))
"""Ridge penalties tried, in units of the mean squared length of the centred vectors."""


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A closed-form linear classifier on embeddings.

    Attributes:
        mean: of the pool's vectors, shape (dimensions,).
        weights: shape (dimensions, labels).
        shares: share of each label in the pool, shape (labels,): the score of an average vector.
        penalty: the ridge penalty that was chosen.
        own: leave-one-out scores of the pool's own examples, shape (examples, labels).

    >>> rng = np.random.default_rng(0)
    >>> labels = np.array([0, 1] * 20)
    >>> vectors = rng.normal(size=(40, 5)) + labels[:, None]
    >>> probe = LinearProbe.fit(vectors, labels, 2)
    >>> probe.scores(np.array([[1.0] * 5, [0.0] * 5])).argmax(axis=1).tolist()
    [1, 0]
    """

    mean: Floats
    weights: Floats
    shares: Floats
    penalty: float
    own: Floats

    @classmethod
    def fit(
        cls,
        vectors: NDArray[np.floating],
        labels: Sequence[int] | NDArray[np.int64],
        label_count: int,
        groups: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> LinearProbe:
        """Solve for a pool; the penalty is the one with the least leave-one-out squared error.

        Args:
            vectors: shape (examples, dimensions).
            labels: position of each example's label.
            label_count: number of labels; some may have no example.
            groups: equal numbers mark copies of one example, which are left out together;
                ``None``: there are none.

        Raises:
            ValueError: there are no examples.
        """
        x = np.asarray(vectors, dtype=np.float64)
        if not len(x):
            raise ValueError("a probe needs at least one example")
        targets = np.eye(label_count)[np.asarray(labels, dtype=np.int64)]
        mean, shares = x.mean(axis=0), targets.mean(axis=0)
        centred, residual = x - mean, targets - shares
        scale = max(float(np.einsum("ij,ij->i", centred, centred).mean()), 1e-12)
        # One decomposition serves every penalty: centred = u · diag(s) · vt.
        u, s, vt = np.linalg.svd(centred, full_matrices=False)
        projected = u.T @ residual
        copies = _copies(groups, len(x))
        best: tuple[float, float, Floats] | None = None
        for penalty in PENALTIES:
            shrink = s**2 / (s**2 + penalty * scale)
            errors = residual - u @ (shrink[:, None] * projected)
            left_out = _left_out(errors, u, shrink, copies)
            loss = float((left_out**2).mean())
            if best is None or loss < best[0]:
                best = (loss, penalty, targets - left_out)
        assert best is not None  # PENALTIES is not empty
        _, penalty, own = best
        gain = s / (s**2 + penalty * scale)
        return cls(mean, vt.T @ (gain[:, None] * projected), shares, penalty, own)

    def scores(self, vectors: NDArray[np.floating]) -> Floats:
        """Scores, shape (queries, labels): about 1 for the label of a clear case, about 0 for the
        others; not probabilities (a row sums to one, but a score may be negative)."""
        return np.asarray(
            (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.weights + self.shares
        )


def _copies(groups: Sequence[int] | NDArray[np.int64] | None, n: int) -> list[NDArray[np.int64]]:
    """Positions of every group with more than one member."""
    if groups is None:
        return []
    numbers = np.asarray(groups)
    if len(numbers) != n:
        raise ValueError(f"{len(numbers)} groups for {n} examples")
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order])) + 1
    return [part for part in np.split(order, starts) if len(part) > 1]


def _left_out(
    errors: Floats, u: Floats, shrink: Floats, copies: Sequence[NDArray[np.int64]]
) -> Floats:
    """Errors of each example under the solution without it (and its copies)."""
    n = len(errors)
    leverage = np.minimum(1 / n + np.einsum("ij,j,ij->i", u, shrink, u), 1 - 1e-9)
    out = errors / (1 - leverage)[:, None]
    for part in copies:
        hat = 1 / n + (u[part] * shrink) @ u[part].T
        out[part] = np.linalg.lstsq(np.eye(len(part)) - hat, errors[part], rcond=None)[0]
    return np.asarray(out)


__all__ = ["LinearProbe"]
