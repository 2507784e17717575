"""Notes of a fit: whether the model improves on the experts, and labels with few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import MINIMUM, FloatArray
from ecomfs.pipeline import Pipeline

RARE = 1 / 3
"""A label is rare if it has less than this fraction of an even share of the examples."""
_NAMED = 6
"""Most rare labels listed in the note."""


def model_adds(experts: FloatArray, fused: FloatArray, truth: NDArray[np.int64]) -> str:
    """One line on the improvement of the model over the experts alone, in accuracy and log loss,
    with 95 % intervals; empty with too few readings.

    Args:
        experts: leave-one-out distributions of the experts alone, shape (n, L).
        fused: distributions of model and experts together, shape (n, L).
        truth: positions of the true labels, shape (n,).

    >>> truth = np.tile([0, 1], 8)
    >>> sure = np.where(np.eye(2)[truth] > 0, 0.9, 0.1)
    >>> model_adds(np.full((16, 2), 0.5), sure, truth).split(":")[0]
    'Does the model add anything? Yes'
    >>> model_adds(sure, sure, truth).split(",")[0]
    'Does the model add anything? Not shown: fused answer compared with experts alone'
    """
    if len(truth) < MINIMUM:
        return ""
    # Imported here because only a fit needs the harness.
    from ecomfs_eval import Bootstrap, Predictions, get_metric
    from ecomfs_eval.compare import differences
    from ecomfs_eval.report.contribution import METRICS, contribution
    from ecomfs_eval.report.words import ReportWords

    labels = [str(place) for place in range(experts.shape[1])]
    gold = [labels[place] for place in truth]
    alone, both = (Predictions.of(gold, None, p, labels=labels) for p in (experts, fused))
    found = differences(alone, both, [get_metric(name) for name in METRICS], Bootstrap())
    return contribution(
        found, len(truth), ReportWords("en"), main="fused answer", without="experts alone"
    )


def rare_labels(pipeline: Pipeline) -> str:
    """:func:`rare` for the examples of a pipeline; empty without examples."""
    if pipeline.retriever is None:
        return ""
    return rare([e.label for e in pipeline.retriever.examples], pipeline.space.names)


def rare(labels: Sequence[str], names: Sequence[str]) -> str:
    """One line that names labels with few examples; empty if there are none.

    Predictions favour labels with many examples: these appear more often in prompts, and the label
    shares matter if neither model nor experts are confident.

    Args:
        labels: labels of the examples.
        names: all labels.

    >>> rare(["good"] * 18 + ["bad"] * 2, ["good", "bad"])
    "labels with few of the 20 examples are unlikely answers: 'bad' (2, 10 %); label more of them"
    >>> rare(["good", "bad"], ["good", "bad"])
    ''
    """
    counts = Counter(labels)
    few = [name for name in names if counts[name] * len(names) < RARE * len(labels)]
    few.sort(key=counts.__getitem__)
    if not few:
        return ""
    named = [f"{n!r} ({counts[n]}, {100 * counts[n] / len(labels):.0f} %)" for n in few[:_NAMED]]
    more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    return (
        f"labels with few of the {len(labels)} examples are unlikely answers: "
        f"{', '.join(named)}{more}; label more of them"
    )


__all__ = ["RARE", "model_adds", "rare", "rare_labels"]
