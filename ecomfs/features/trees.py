"""Gradient-boosted trees, the other learner of the feature expert, when scikit-learn is there."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecomfs.features.block import Floats

LEAST_EXAMPLES = 100
"""With fewer, trees are not tried."""


@dataclass(frozen=True, slots=True)
class Trees:
    """Fitted trees.

    Attributes
    ----------
    model : GradientBoostingClassifier
    shares : ndarray, shape (labels,)
        Of the labels; mixed in with the weight of one row, so that no label is impossible.
    rows : int
        It was fitted on.
    """

    model: Any
    shares: Floats
    rows: int

    def probabilities(self, x: Floats) -> Floats:
        """Distributions.

        Parameters
        ----------
        x : ndarray, shape (rows, features)

        Returns
        -------
        ndarray, shape (rows, labels)
        """
        out = np.zeros((len(x), len(self.shares)))
        if len(x):
            out[:, self.model.classes_] = self.model.predict_proba(x)
        return np.asarray((self.rows * out + self.shares) / (self.rows + 1))


def available() -> bool:
    """Whether scikit-learn is installed; it is imported when trees are fitted, not before."""
    return importlib.util.find_spec("sklearn") is not None


def fit_trees(x: Floats, labels: np.ndarray, label_count: int) -> Trees | None:
    """Fit small trees.

    Parameters
    ----------
    x : ndarray, shape (rows, features)
    labels : ndarray of int, shape (rows,)
    label_count : int

    Returns
    -------
    Trees or None
        ``None`` when there is no feature, or one label only.

    Examples
    --------
    >>> x = np.arange(40.0)[:, None]
    >>> trees = fit_trees(x, (x[:, 0] > 19).astype(int), 3)
    >>> trees.probabilities(x).argmax(axis=1).sum()
    np.int64(20)
    """
    if not x.shape[1] or len(np.unique(labels)) < 2:
        return None
    from sklearn.ensemble import GradientBoostingClassifier

    # Not the histogram kind: on a few hundred rows it is several times slower, and its threads
    # wait for each other on a busy machine.
    model = GradientBoostingClassifier(
        n_estimators=80,
        learning_rate=0.06,
        max_depth=3,
        min_samples_leaf=4,
        max_features=0.3,
        random_state=0,
    ).fit(x, labels)
    counts = np.bincount(labels, minlength=label_count) + 1 / label_count
    return Trees(model, counts / counts.sum(), len(x))


__all__ = ["LEAST_EXAMPLES", "Trees", "available", "fit_trees"]
