"""Labelled rows in, predictions of simple methods out.

>>> train = LabelledRows.of(["good", "bad"] * 4, texts=["works well", "broke at once"] * 4)
>>> found = run_baselines(train, LabelledRows.of(["good"], texts=["works"]))
>>> [name for name, p in found.items() if not isinstance(p, Undefined)]
['majority', 'prior_random', 'tfidf_logistic']
>>> found["knn"].reason
'no vectors were given'
"""

from __future__ import annotations

from collections.abc import Sequence

from ecomfs_eval.baselines.base import Baseline
from ecomfs_eval.baselines.boosting import features_boosting, gradient_boosting
from ecomfs_eval.baselines.data import LabelledRows
from ecomfs_eval.baselines.linear import (
    embedding_logistic,
    features_logistic,
    tfidf_logistic,
)
from ecomfs_eval.baselines.neighbours import knn
from ecomfs_eval.baselines.simple import majority, prior_random
from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import Predictions

BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in (
        majority,
        prior_random,
        knn(),
        tfidf_logistic,
        embedding_logistic,
        gradient_boosting,
        features_logistic,
        features_boosting,
    )
}
"""Every baseline by name."""


def run_baselines(
    train: LabelledRows,
    test: LabelledRows,
    names: Sequence[str | Baseline] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Predictions | Undefined]:
    """Fit baselines on the labelled rows and predict the others.

    Args:
        train: the labelled rows, the same as for the system.
        test: the rows to predict; their labels are only used as gold labels.
        names: of the baselines; by default all.
        seed: of the random ones.

    Returns:
        name → predictions, or why there are none.

    Raises:
        OptionError: no baseline has this name.
        MissingLibraryError: scikit-learn is not installed.
    """
    chosen = []
    for name in names if names is not None else BASELINES.values():
        if isinstance(name, str) and name not in BASELINES:
            raise OptionError(
                f"no baseline is called {name!r}", hint="one of: " + ", ".join(BASELINES)
            )
        chosen.append(BASELINES[name] if isinstance(name, str) else name)
    return {b.name: b(train, test, seed) for b in chosen}


__all__ = [
    "BASELINES",
    "LabelledRows",
    "gradient_boosting",
    "knn",
    "run_baselines",
]
