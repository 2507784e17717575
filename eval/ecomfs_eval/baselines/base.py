"""The baseline: labelled rows in, predictions for other rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ecomfs_eval._check import widen
from ecomfs_eval._labels import label_order
from ecomfs_eval.baselines.data import LabelledRows
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

Fit = Callable[[LabelledRows, LabelledRows, int], tuple[list[str], FloatArray] | Undefined]
"""(labelled rows, rows to predict, seed) → (classes, n × classes probabilities), or why not."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A named baseline.

    Attributes:
        name: in options, files and reports.
        title: in text.
        definition: the method and its settings.
        fit: see :data:`Fit`; it never sees the labels of the rows to predict.
    """

    name: str
    title: str
    definition: str
    fit: Fit

    def __call__(
        self, train: LabelledRows, test: LabelledRows, seed: int = 0
    ) -> Predictions | Undefined:
        """Fit on ``train``, predict ``test``.

        Returns:
            The predictions, over every label of either; or why there are none (no text, one
            class only).

        Raises:
            MissingLibraryError: scikit-learn is not installed.
        """
        with one_thread():
            got = self.fit(train, test, seed)
        if isinstance(got, Undefined):
            return got
        classes, table = got
        space = label_order({*train.labels, *test.labels})
        return Predictions.of(
            test.labels,
            ids=test.ids,
            probabilities=widen(table, classes, space, rows=len(test)),
            labels=space,
            name=self.name,
            source=f"baseline {self.name}",
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread: for few-shot matrices, several threads on a busy machine make a
    fit many times slower."""
    if find_spec("threadpoolctl") is None:  # it comes with scikit-learn
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def one_class(train: LabelledRows) -> Undefined | None:
    """Why a classifier cannot be fitted on a single class."""
    if len(set(train.labels)) < 2:
        return Undefined(f"the labelled rows have one class only ({train.labels[0]!r})")
    return None


def priors(train: LabelledRows) -> tuple[list[str], FloatArray]:
    """Classes in order, and their shares among the labelled rows."""
    classes, counts = np.unique(np.array(train.labels), return_counts=True)
    return [str(c) for c in classes], counts / counts.sum()
