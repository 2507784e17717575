"""Every system of a cell, from one run of the classifier: its final answers, the stages they went
through, and the baselines on the same labelled examples."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ecomfs.batch.evaluate import vote
from ecomfs.pipeline import Pipeline
from ecomfs.task import TaskCard
from ecomfs.types import Example, Prediction
from ecomfs_eval import Predictions, Undefined
from ecomfs_eval.baselines import BASELINES, LabelledRows, run_baselines

MAIN = "ecomfs"
_CELLS = ("number", "category", "price", "date")


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
        self.labels = [*names, *sorted(set(self.gold) - set(names))]
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


def answers(scored: Scored, found: Sequence[Prediction], *, stages: bool) -> list[Predictions]:
    """The final answers, and one system a stage that the predictions tell of. Rows that failed
    stay in, as failed."""
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
    systems = [final]
    if stages:
        systems += [_stage(scored, found, stage) for stage in _stages(found)]
    return systems


def _stages(found: Sequence[Prediction]) -> list[str]:
    """Names in order of first appearance."""
    return list(dict.fromkeys(name for p in found for name in getattr(p, "stages", {})))


def _stage(scored: Scored, found: Sequence[Prediction], stage: str) -> Predictions:
    tables: list[list[float]] = []
    status: list[str] = []
    predicted: list[str | None] = []
    for p in found:
        values = getattr(p, "stages", {}).get(stage)
        if values is None:
            tables.append([np.nan] * len(scored.labels))
            predicted.append(None)
            # A row that abstained in the end had an answer at every stage.
            status.append(str(p.status) if str(p.status) != "ok" else "failed")
            continue
        row = _row(dict(zip(p.probabilities, values, strict=True)), scored.labels)
        tables.append(row)
        predicted.append(scored.labels[int(np.argmax(row))])
        status.append("ok")
    return scored.of(f"{MAIN}:{stage}", predicted, tables, status=status)


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
        columns = _columns(pipeline.card, pool) if "gradient_boosting" in wanted else []
        train = _labelled(pipeline, pool, wanted, columns)
        test = _labelled(pipeline, scored.test, wanted, columns)
        for name, got in run_baselines(train, test, names, seed=seed).items():
            found[name] = got if isinstance(got, Undefined) else _aligned(scored, got)
    if "repeat_last" in wanted:
        found["repeat_last"] = _repeat_last(scored)
    systems = [p for p in found.values() if isinstance(p, Predictions)]
    return systems, {n: u.reason for n, u in found.items() if isinstance(u, Undefined)}


def _labelled(
    pipeline: Pipeline, rows: Sequence[Example], wanted: Collection[str], columns: Sequence[str]
) -> LabelledRows:
    texts = [pipeline.text(row.fields) for row in rows]
    vectors = table = None
    if "embedding_logistic" in wanted and pipeline.retriever is not None:
        # Both sides as queries: a model embedder puts queries and passages in different places.
        vectors = pipeline.retriever.embedder.embed(texts, query=True)
    if columns:
        table = pd.DataFrame({c: [str(r.fields.get(c, "")) for r in rows] for c in columns})
    return LabelledRows.of(
        [_pool_spelling(pipeline, row.label) for row in rows],
        ids=[row.id for row in rows],
        texts=texts,
        vectors=vectors,
        table=table,
    )


def _pool_spelling(pipeline: Pipeline, label: str) -> str:
    found = pipeline.space.index(label)
    return label if found is None else pipeline.space.names[found]


def _columns(card: TaskCard, pool: Sequence[Example]) -> list[str]:
    """The raw cells of a tabular task; none where a row is a text or a history."""
    if any(f.kind in ("text", "history") and f.required for f in card.fields):
        return []
    names = [f.name for f in card.fields if f.kind in _CELLS]
    return [n for n in names if any(str(row.fields.get(n, "")).strip() for row in pool)]


def _aligned(scored: Scored, got: Predictions) -> Predictions:
    """A baseline over the label space of the cell; labels it never saw have probability 0."""
    assert got.probabilities is not None  # every baseline gives a distribution
    place = {label: i for i, label in enumerate(got.labels)}
    table = np.zeros((len(got), len(scored.labels)))
    for i, label in enumerate(scored.labels):
        if label in place:
            table[:, i] = got.probabilities[:, place[label]]
    return scored.of(got.name, list(got.predicted), table)


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
