"""How good rankings are: the model's beside the neighbours' and a random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecomfs.batch import Gold
from ecomfs.batch.evaluate import systems
from ecomfs.pipeline import Pipeline
from ecomfs.rank.pairs import Pairs
from ecomfs.types import Prediction
from ecomfs_eval import Predictions

METRICS = {
    "ndcg@5": "NDCG@5",
    "ndcg@10": "NDCG@10",
    "hit@1": "Hit@1",
    "mrr": "MRR",
    "query_auc": "AUC in lists",
    "roc_auc": "AUC of all",
}
"""Metric of the harness → what a table calls it."""

RANDOM = "random order"


def rankings(
    pairs: Pairs, predictions: Sequence[Prediction], pipeline: Pipeline, positive: str
) -> dict[str, Predictions]:
    """Predictions of each system on the pairs with a true label, as two classes (positive or
    not), with their lists and the units to resample.

    The systems are the model, the neighbours' vote (not for zero-shot), and the random order,
    whose rows all tie: the metrics give ties their expectation.

    Raises:
        EmptyInputError: no pair has a true label.
    """
    space = pipeline.space
    names = [space.true_label(text) for text in pairs.truth or []]
    kept = [i for i, name in enumerate(names) if name]
    gold = Gold(
        ids=[str(i) for i in kept],
        rows=[pairs.fields[i] for i in kept],
        labels=[names[i] for i in kept],
        predictions=[predictions[i] for i in kept],
    )
    lists = tuple(pairs.lists[i] for i in kept)
    units = tuple(pairs.units[i] for i in kept)
    found = {
        name: _two_classes(p, positive, name)
        for name, p in systems(gold, pipeline).items()
        if name != "majority"
    }
    model = next(iter(found.values()))
    found[RANDOM] = Predictions.of(
        model.gold,
        None,
        np.full((len(model), 2), 0.5),
        labels=model.labels,
        ids=model.ids,
        positive=positive,
        name=RANDOM,
    )
    return {name: replace(p, queries=lists, groups=units) for name, p in found.items()}


def _two_classes(p: Predictions, positive: str, name: str) -> Predictions:
    """The positive label against all others."""
    if p.probabilities is None:
        table = np.full((len(p), 2), np.nan)
    else:
        score = p.probabilities[:, p.labels.index(positive)]
        table = np.column_stack([1 - score, score])
    other = f"not {positive}"
    return Predictions.of(
        [positive if g == positive else other for g in p.gold],
        [None if a is None else positive if a == positive else other for a in p.predicted],
        table,
        labels=[other, positive],
        ids=p.ids,
        status=p.status,
        positive=positive,
        name=name,
    )
