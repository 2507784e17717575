"""Every system of a cell, from one run of the classifier: its final answers, the stages they went
through, and the baselines on the same labelled examples."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ecomfs.batch.evaluate import vote
from ecomfs.batch.harness import at_stage, to_harness
from ecomfs.batch.trained import labelled_rows, raw_columns
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
    """The final answers, and one system for each stage of the predictions; and why a stage is
    absent. Failed rows stay in, as failed."""
    final = to_harness(
        found,
        scored.gold,
        name=MAIN,
        extra={
            "text": tuple(scored.pipeline.text(row.fields) for row in scored.test),
            "error": tuple(p.error for p in found),
            "note": tuple(p.note for p in found),
            "demonstrations": tuple(" ".join(p.demonstration_ids) for p in found),
        },
        **scored.common,
    )
    if not stages:
        return [final], {}
    systems, absent = [final], {}
    for name in dict.fromkeys(name for p in found for name in p.stages):
        title, chain = f"{MAIN}:{name}", _chain(name)
        if any(p.probabilities and not set(chain) & set(p.stages) for p in found):
            absent[title] = "some rows were answered without this step"
            continue
        then = [at_stage(p, chain) for p in found]
        systems.append(to_harness(then, scored.gold, tokens=False, name=title, **scored.common))
    return systems, absent


_BEFORE = {"fused": "calibrated", "calibrated": "read"}
"""A row that skipped a step has the distribution of the step before (a language may have too few
examples to calibrate)."""


def _chain(name: str) -> list[str]:
    """A step and those before it."""
    return [name, *(_chain(_BEFORE[name]) if name in _BEFORE else ())]


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
                else scored.of(
                    name, list(got.predicted), got.with_labels(scored.labels).probabilities
                )
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
