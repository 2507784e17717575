"""kNN vote over given vectors: what retrieval achieves without a model.

>>> from ecomfs_eval.baselines import LabelledRows
>>> train = LabelledRows.of(["a", "b", "b"], vectors=[[1, 0], [0, 1], [0.1, 1]])
>>> knn(3)(train, LabelledRows.of(["a", "b"], vectors=[[1, 0.1], [0, 2]])).predicted
('a', 'b')
"""

from __future__ import annotations

import numpy as np

from ecomfs_eval.baselines.base import Baseline
from ecomfs_eval.baselines.data import LabelledRows, need_sklearn
from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray

TEMPERATURE = 0.05
"""A neighbour whose cosine is lower by this much has 1/e of the weight."""


def _weights(distance: FloatArray) -> FloatArray:
    """Softmax weights of the neighbours' cosine similarities, relative to the nearest."""
    weights: FloatArray = np.exp((distance.min(axis=1, keepdims=True) - distance) / TEMPERATURE)
    return weights


def knn(k: int = 10) -> Baseline:
    """The vote of the k labelled rows nearest by cosine, weighted by similarity.

    Raises:
        OptionError: k is not positive.
    """
    if k < 1:
        raise OptionError(f"k={k}", hint="one or more")

    def fit(
        train: LabelledRows, test: LabelledRows, seed: int
    ) -> tuple[list[str], FloatArray] | Undefined:
        if train.vectors is None or test.vectors is None:
            return Undefined("no vectors were given")
        need_sklearn()
        from sklearn.neighbors import KNeighborsClassifier

        voter = KNeighborsClassifier(
            min(k, len(train)), weights=_weights, algorithm="brute", metric="cosine"
        )
        voter.fit(train.vectors, np.array(train.labels))
        table: FloatArray = voter.predict_proba(test.vectors)
        return [str(c) for c in voter.classes_], table

    return Baseline(
        "knn",
        "kNN vote",
        f"vote of the {k} nearest labelled rows by cosine, weights exp(cosine / {TEMPERATURE})",
        fit,
    )
