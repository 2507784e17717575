"""What scikit-learn asks of a classifier of one label a row, from its predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.estimators.answers import accuracy, labels_of, probabilities_of
from ecomfs.estimators.following import AnswersOfPool, PoolFollower
from ecomfs.estimators.inputs import Rows
from ecomfs.types import Prediction


class OneLabelClassifier(PoolFollower[AnswersOfPool]):
    """A classifier of one label a row; a class that derives from it has ``classify``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels as they were given, in NumPy's order.
    """

    classes_: NDArray[Any]
    _classes: Mapping[str, Any]  # label in the label space → label as it was given

    def classify(self, X: Rows, ids: Sequence[str] | None = None) -> list[Prediction]:  # noqa: N803
        """One :class:`Prediction` a row, in order."""
        raise NotImplementedError

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """Labels, shape (n,), of the type that was given.

        A row that failed, abstained, or whose answer was invalid has no label, and never a
        default one. Among labels that are text it is ``None`` (dtype object); numbers and
        booleans have no room for it.

        Raises:
            RowError: rows without a label where labels are numbers or booleans. ``classify``
                has every row with its status, :meth:`predict_proba` NaN for these.
        """
        return labels_of(self.classify(X), self._classes, self.classes_)

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``. A row
        that failed is a row of NaN."""
        return probabilities_of(self.classify(X), self._classes)

    def score(self, X: Rows, y: Iterable[Any], sample_weight: Any = None) -> float:  # noqa: N803
        """Accuracy; rows without a label count as wrong."""
        return accuracy(self.classify(X), self._classes, y, sample_weight)


__all__ = ["OneLabelClassifier"]
