"""Every system of a cell, from one run of the classifier: its final answers, the stages they went
through, and the baselines on the same labelled examples."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ecomfs.evaluation.evaluate import vote
from ecomfs.evaluation.trained import labelled_rows, over, raw_columns
from ecomfs.pipeline import Pipeline
from ecomfs.task import label_order
from ecomfs.types import Example, Prediction
from ecomfs_eval import Predictions, Undefined
from ecomfs_eval.baselines import BASELINES, run_baselines

MAIN = "ecomfs"


class Scored:
    """The test rows as predictions need them.

    Args:
        test: the rows, with gold labels.
        groups: one name a row, or ``None``.
    """

    def __init__(
        self, pipeline: Pipeline, test: Sequence[Example], groups: Sequence[str] | None
    ) -> None:
        self.pipeline = pipeline
        self.test = test
        self.gold = [row.label for row in test]
        names = pipeline.space.names
        self.labels = [*names, *label_order(set(self.gold) - set(names))]
        self.common: dict[str, Any] = {
            "labels": self.labels,
            "ids": [row.id for row in test],
            "positive": _positive(pipeline, self.labels),
        }
        if groups is not None:
            self.common["groups"] = tuple(groups)

    def of(self, name: str, predicted: Any, probabilities: Any, **columns: Any) -> Predictions:
        """Predictions on these rows."""
        return Predictions.of(
            self.gold, predicted, probabilities, name=name, **self.common, **columns
        )


def answers(
    scored: Scored, found: Sequence[Prediction], *, stages: bool
) -> tuple[list[Predictions], dict[str, str]]:
    """The final answers, and one system a stage that the predictions tell of; and why a stage is
    absent. Rows that failed stay in, as failed."""
    tokens = np.array([float(p.prompt_tokens) or np.nan for p in found])
    final = scored.of(
        MAIN,
        [p.label for p in found],
        [_row(p.probabilities, scored.labels) for p in found],
        status=[str(p.status) for p in found],
        prompt_tokens=tokens,
        cached_tokens=np.where(np.isnan(tokens), np.nan, [float(p.cached_tokens) for p in found]),
        extra={
            "text": tuple(scored.pipeline.text(row.fields) for row in scored.test),
            "error": tuple(p.error for p in found),
            "note": tuple(p.note for p in found),
            "demonstrations": tuple(" ".join(p.demonstration_ids) for p in found),
        },
    )
    if not stages:
        return [final], {}
    systems, absent = [final], {}
    for name in dict.fromkeys(name for p in found for name in p.stages):
        values = [_stage_of(p, name) for p in found]
        if any(v is None and p.probabilities for v, p in zip(values, found, strict=True)):
            absent[f"{MAIN}:{name}"] = "some rows were answered without it"
        else:
            systems.append(_stage(scored, found, name, values))
    return systems, absent


_BEFORE = {"fused": "calibrated", "calibrated": "read"}
"""A step that a row did not take left the distribution as it was (a language may have too few
examples to calibrate)."""


def _stage_of(p: Prediction, name: str | None) -> tuple[float, ...] | None:
    while name is not None and name not in p.stages:
        name = _BEFORE.get(name)
    return None if name is None else p.stages[name]


def _stage(
    scored: Scored,
    found: Sequence[Prediction],
    name: str,
    values: Sequence[tuple[float, ...] | None],
) -> Predictions:
    """One stage as a system. A row that abstained in the end has an answer at every stage; one
    that failed has none."""
    tables = [
        _row({} if v is None else dict(zip(p.probabilities, v, strict=True)), scored.labels)
        for p, v in zip(found, values, strict=True)
    ]
    answered = [v is not None for v in values]
    return scored.of(
        f"{MAIN}:{name}",
        [
            scored.labels[int(np.argmax(row))] if there else None
            for row, there in zip(tables, answered, strict=True)
        ],
        tables,
        status=["ok" if there else str(p.status) for p, there in zip(found, answered, strict=True)],
    )


def _row(probabilities: Mapping[str, float], labels: Sequence[str]) -> list[float]:
    if not probabilities:
        return [np.nan] * len(labels)
    return [probabilities.get(label, 0.0) for label in labels]


def baselines(
    scored: Scored, pool: Sequence[Example], wanted: Collection[str], seed: int
) -> tuple[list[Predictions], dict[str, str]]:
    """The baselines that the data allow, and why the others are absent."""
    pipeline = scored.pipeline
    found: dict[str, Predictions | Undefined] = {}
    if "knn" in wanted and pipeline.retriever is not None:
        texts = [pipeline.text(row.fields) for row in scored.test]
        rows = [row.fields for row in scored.test]
        found["knn"] = scored.of("knn", None, vote(pipeline, texts, scored.labels, rows))
    names = [name for name in BASELINES if name in wanted and name != "knn"]
    if names and pool:
        columns = raw_columns(pipeline.card, pool) if "gradient_boosting" in wanted else []
        vectors = "embedding_logistic" in wanted
        train = labelled_rows(pipeline, pool, columns=columns, vectors=vectors)
        test = labelled_rows(pipeline, scored.test, columns=columns, vectors=vectors)
        for name, got in run_baselines(train, test, names, seed=seed).items():
            found[name] = (
                got
                if isinstance(got, Undefined)
                else scored.of(name, list(got.predicted), over(got, scored.labels))
            )
    if "repeat_last" in wanted:
        found["repeat_last"] = _repeat_last(scored)
    systems = [p for p in found.values() if isinstance(p, Predictions)]
    return systems, {n: u.reason for n, u in found.items() if isinstance(u, Undefined)}


def _repeat_last(scored: Scored) -> Predictions | Undefined:
    """The label that the last step of a history names: the bar of next-step tasks."""
    card = scored.pipeline.card
    if card.name != "next_category":
        return Undefined("the task does not predict a next step")
    field = next(f for f in card.fields if f.kind == "history")
    items = field.rendering.items
    keys = next((k.name, *k.aliases) for k in items if k.name == "category")
    predicted = []
    for row in scored.test:
        last = _last(row.fields.get(field.name, ""), keys)
        predicted.append(None if last is None else scored.pipeline.space.index(last))
    names = scored.pipeline.space.names
    return scored.of("repeat_last", [None if i is None else names[i] for i in predicted], None)


def _last(cell: Any, keys: Iterable[str]) -> str | None:
    try:
        steps = json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        return None
    if not isinstance(steps, list) or not steps:
        return None
    last = steps[-1]
    if isinstance(last, Mapping):
        return next((str(last[k]) for k in keys if last.get(k)), None)
    return str(last)


def _positive(pipeline: Pipeline, labels: Sequence[str]) -> str | None:
    """The card's positive label in the pool's spelling, for binary metrics."""
    name = pipeline.card.positive
    if name is None:
        return None
    found = pipeline.space.index(name)
    return None if found is None else labels[found]
