"""Classifiers with one label per row: predictions as arrays, like in scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import InputError, RowError
from ecomfs.estimators.base import Estimator, PipelineT, weighted_mean
from ecomfs.estimators.inputs import Rows
from ecomfs.task import InputLabels, label_text

SHOWN = 5


class OneLabelClassifier(Estimator[PipelineT]):
    """A classifier with one label per row."""

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """Labels, shape (n,), of the type given to ``fit``.

        A row that failed, abstained, or whose answer was invalid has no label. With text labels it
        is ``None`` (dtype object); arrays of numbers or booleans cannot hold ``None``.

        Raises:
            RowError: rows without a label, and labels are numbers or booleans. ``classify``
                returns every row with its status; :meth:`predict_proba` returns NaN for these.
        """
        predictions, classes = self.classify(X), self.classes_
        place = {name: at for at, name in enumerate(self._classes)}
        found = [None if p.label is None else place[p.label] for p in predictions]
        none = [row for row, at in enumerate(found) if at is None]
        if not none:
            return classes[np.array(found, dtype=np.intp)]
        if classes.dtype.kind in "biuf":
            rows = ", ".join(str(row) for row in none[:SHOWN]) + (", …" if none[SHOWN:] else "")
            first = predictions[none[0]]
            raise RowError(
                f"{len(none)} of {len(found)} rows have no label (rows {rows}; the first: "
                f"{first.error or first.note}), and an array of numbers cannot hold None",
                hint="use classify, which gives every row with its status",
            )
        values = classes.tolist() if classes.dtype.kind != "O" else list(classes)
        out = np.empty(len(found), dtype=object)
        out[:] = [None if at is None else values[at] for at in found]
        return out

    def score(self, X: Rows, y: Iterable[Any], sample_weight: Any = None) -> float:  # noqa: N803
        """Accuracy; a row without a predicted label or without a true label counts as wrong. True
        labels are read as in ``fit``: an alias of the task is the label that it stands for.

        Raises:
            InputError: labels or weights differ in number from the rows, or weights have no mean.
        """
        predictions, truth = self.classify(X), InputLabels.of(y, "y").texts
        if len(truth) != len(predictions):
            raise InputError(f"{len(predictions)} rows but {len(truth)} labels")
        right = [
            p.label is not None and label is not None and p.label == self._pool_label(label)
            for p, label in zip(predictions, truth, strict=True)
        ]
        return weighted_mean(right, sample_weight)

    def _pool_label(self, text: str) -> str | None:
        """The label in the pool's spelling that a true label stands for; another text if there is
        none."""
        return {label_text(value): name for name, value in self._classes.items()}.get(text)


__all__ = ["OneLabelClassifier"]
