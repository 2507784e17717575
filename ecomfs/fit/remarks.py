"""Notes of a fit: a model that adds nothing, labels that the pool makes unlikely."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import MINIMUM, MODEL, Blend, FloatArray
from ecomfs.pipeline import Pipeline

RARE = 1 / 3
"""A label is rare that has less than this part of an even share of the examples."""
_NAMED = 6
"""Most rare labels that are named."""


def adds_nothing(
    fusion: Blend, experts: FloatArray, fused: FloatArray, truth: NDArray[np.int64]
) -> str:
    """One line when readings do not show that the model is worth its cost; else empty.

    It adds something when the log loss of the common answer is lower than that of the experts
    alone by more than one standard error of the difference, or its accuracy is higher by more
    than one.

    Args:
        fusion: its weights.
        experts: answers of the experts alone to examples left out, shape (n, L).
        fused: of model and experts together, shape (n, L).
        truth: positions of the true labels, shape (n,).

    >>> truth = np.tile([0, 1], 8)
    >>> sure = np.where(np.eye(2)[truth] > 0, 0.9, 0.1)
    >>> weights = Blend((), (1.0,))
    >>> adds_nothing(weights, np.full((16, 2), 0.5), sure, truth)
    ''
    >>> adds_nothing(weights, sure, sure, truth).split(":")[0]
    '16 readings do not show that the model adds anything here'
    """
    if len(truth) < MINIMUM:
        return ""
    rows = np.arange(len(truth))
    losses = [-np.log(np.maximum(p[rows, truth], 1e-9)) for p in (experts, fused)]
    right = [(p.argmax(axis=1) == truth).astype(np.float64) for p in (experts, fused)]
    if _shown(losses[0] - losses[1]) or _shown(right[1] - right[0]):
        return ""
    weight = ""
    if fusion.components:
        weight = f"weight {fusion.components[0].weights.get(MODEL, 0.0):.2f}; "
    return (
        f"{len(truth)} readings do not show that the model adds anything here: {weight}"
        f"leave-one-out the common answer has accuracy {right[1].mean():.1%} and log loss "
        f"{losses[1].mean():.3f}, the experts alone, at no cost, {right[0].mean():.1%} and "
        f"{losses[0].mean():.3f}"
    )


def _shown(gain: FloatArray) -> bool:
    """Whether a mean gain is more than its standard error."""
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain))
    return bool(gain.mean() > error)


def rare_labels(pipeline: Pipeline) -> str:
    """:func:`rare` of a pipeline's examples; empty without any."""
    if pipeline.retriever is None:
        return ""
    return rare([e.label for e in pipeline.retriever.examples], pipeline.space.names)


def rare(labels: Sequence[str], names: Sequence[str]) -> str:
    """One line that names the labels that the examples make unlikely; empty when there are none.

    Answers lean to labels with many examples: these are shown more often, and the shares of the
    labels count where neither model nor experts are sure.

    Args:
        labels: of the examples.
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


__all__ = ["RARE", "adds_nothing", "rare", "rare_labels"]
