"""What stands beside every result: its parts, and the baselines.

The model alone, the cheap experts alone, kNN-only and majority answer the same rows with the same
labelled examples. If the model adds nothing to them, the table shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch import Gold
from ecomfs.errors import ConfigError
from ecomfs.pipeline import Pipeline
from ecomfs.task import LabelSpace, label_order
from ecomfs.types import Prediction, Row
from ecomfs_eval import Predictions

KNN_NEIGHBOURS = 8
MOST_NAMED = 12
"""Most labels that a note names."""


ANSWERED = {"answered_rate": "answered", "accuracy_answered": "precision among answered"}
"""Metrics that are shown too where rows abstained, which accuracy counts as wrong: metric of the
harness → title."""
MODEL_ALONE = "LLM alone"
EXPERTS_ALONE = "without LLM"


def strangers(gold: Iterable[str], space: LabelSpace) -> str:
    """What a person should know of true labels that are no label of the run: every answer to
    their rows counts as wrong. Empty when there are none.

    >>> from ecomfs.task import Label
    >>> strangers(["a", "c", "b", "c", ""], LabelSpace([Label("a"), Label("b")]))
    "2 rows have a true label that no labelled example has, and count as wrong: 'c' (2)"
    """
    counts = Counter(label for label in gold if label and label not in space.names)
    if not counts:
        return ""
    named = [f"{label!r} ({counts[label]:,})" for label in label_order(counts)]
    shown = ", ".join(named[:MOST_NAMED]) + (
        f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    )
    rows = counts.total()
    what = "rows have a true label" if rows > 1 else "row has a true label"
    count = "count" if rows > 1 else "counts"
    return f"{rows:,} {what} that no labelled example has, and {count} as wrong: {shown}"


def systems(gold: Gold, pipeline: Pipeline) -> dict[str, Predictions]:
    """The predictions, their parts and the baselines, on the rows that have a true label.

    Where model and experts spoke together the answer is called ``ecomfs``, and the calibrated
    model stands beside it as ``LLM alone``, the experts as ``without LLM``; a row that skipped
    the model counts for both with the answer it got. Where only the model spoke it is ``LLM``.
    """
    kept = [i for i, label in enumerate(gold.labels) if label]
    truth = [gold.labels[i] for i in kept]
    ids = [f"{position}:{gold.ids[position]}" for position in kept]  # input ids may repeat
    names = list(pipeline.space.names)
    space = names + label_order(set(truth) - set(names))
    predictions = [gold.predictions[i] for i in kept]
    rows = [[p.probabilities.get(label, 0.0) for label in space] for p in predictions]
    together = any(p.source in ("fused", "experts") for p in predictions)
    name = "ecomfs" if together else "LLM"
    status = [str(p.status) for p in predictions]
    out = {
        name: Predictions.of(
            truth,
            [p.label for p in predictions],
            [row if sum(row) else [np.nan] * len(space) for row in rows],
            labels=space,
            ids=ids,
            status=status,
            name=name,
        )
    }
    for part, stages in ((MODEL_ALONE, ("calibrated", "read")), (EXPERTS_ALONE, ("experts",))):
        if not together:
            break
        parts = [_part(p, stages, len(space)) for p in predictions]
        out[part] = Predictions.of(
            truth,
            [space[int(np.argmax(row))] if sum(row) > 0 else None for row in parts],
            parts,
            labels=space,
            ids=ids,
            # A row that abstained had an answer at every stage.
            status=["ok" if sum(r) > 0 else s for r, s in zip(parts, status, strict=True)],
            name=part,
        )
    if pipeline.retriever is not None:
        texts = [pipeline.text(gold.rows[i]) for i in kept]
        table = vote(pipeline, texts, space, [gold.rows[i] for i in kept])
        out["kNN only"] = _baseline(table, truth, ids, space, "kNN only")
        shares = Counter(e.label for e in pipeline.retriever.examples)
        prior = np.array([[shares[label] for label in names]] * len(truth), dtype=np.float64)
        out["majority"] = _baseline(prior, truth, ids, space, "majority")
    return out


def _part(prediction: Prediction, stages: Sequence[str], size: int) -> list[float]:
    """The distribution after the first of some stages that a row has, over the whole space; its
    answer where it has none of them, NaN where it failed."""
    found = next((prediction.stages[s] for s in stages if s in prediction.stages), None)
    values = list(prediction.probabilities.values() if found is None else found)
    return values + [0.0] * (size - len(values)) if values else [np.nan] * size


def vote(
    pipeline: Pipeline, texts: Sequence[str], labels: Sequence[str], rows: Sequence[Row]
) -> NDArray[np.float64]:
    """The neighbours' own answer, shape (texts, labels), for a pipeline that has examples."""
    if pipeline.retriever is None:
        raise ConfigError("no labelled examples to vote", hint="fit on examples")
    votes = pipeline.retriever.vote(texts, KNN_NEIGHBOURS, rows=rows)
    # A closed label space may hold a label of which the pool has no example.
    by_label = dict(zip(pipeline.retriever.labels, votes.T, strict=True))
    absent = np.zeros(len(texts))
    return np.column_stack([by_label.get(label, absent) for label in labels])


def _baseline(
    scores: NDArray[np.float64],
    truth: Sequence[str],
    ids: Sequence[str],
    space: Sequence[str],
    name: str,
) -> Predictions:
    """Predictions of a baseline over the whole space; labels it never saw have probability 0."""
    full = np.zeros((len(truth), len(space)))
    full[:, : scores.shape[1]] = scores / scores.sum(axis=1, keepdims=True)
    return Predictions.of(truth, None, full, labels=space, ids=ids, name=name)
