"""The baselines that stand beside every result.

Majority and kNN-only answer the same rows with the same labelled examples and no language model.
If the model adds nothing to them, the table shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch.merge import Gold
from ecomfs.errors import ConfigError
from ecomfs.pipeline import Pipeline
from ecomfs.types import Row
from ecomfs_eval import Predictions

KNN_NEIGHBOURS = 8


def systems(gold: Gold, pipeline: Pipeline, name: str = "LLM") -> dict[str, Predictions]:
    """The model's predictions and those of the baselines, on the rows that have a true label."""
    kept = [i for i, label in enumerate(gold.labels) if label]
    truth = [gold.labels[i] for i in kept]
    ids = [f"{position}:{gold.ids[position]}" for position in kept]  # input ids may repeat
    names = list(pipeline.space.names)
    space = names + sorted(set(truth) - set(names))
    predictions = [gold.predictions[i] for i in kept]
    rows = [[p.probabilities.get(label, 0.0) for label in space] for p in predictions]
    out = {
        name: Predictions.of(
            truth,
            [p.label for p in predictions],
            [row if sum(row) else [np.nan] * len(space) for row in rows],
            labels=space,
            ids=ids,
            status=[str(p.status) for p in predictions],
            name=name,
        )
    }
    if pipeline.retriever is not None:
        texts = [pipeline.text(gold.rows[i]) for i in kept]
        table = vote(pipeline, texts, space, [gold.rows[i] for i in kept])
        out["kNN only"] = _baseline(table, truth, ids, space, "kNN only")
        shares = Counter(e.label for e in pipeline.retriever.examples)
        prior = np.array([[shares[label] for label in names]] * len(truth), dtype=np.float64)
        out["majority"] = _baseline(prior, truth, ids, space, "majority")
    return out


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
