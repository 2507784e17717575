"""Baselines that the harness trains on the labelled examples: linear models and gradient
boosting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec

import pandas as pd

from ecomfs.batch import Gold
from ecomfs.errors import RowError
from ecomfs.evaluation.harness import SupportsBaselines, harness_errors, positive_of
from ecomfs.features import FeatureSet, comparable_value, has_features, read_cell
from ecomfs.pipeline import Pipeline
from ecomfs.task import NUMBERS, TaskCard, label_order
from ecomfs.task import FieldSpec as RenderSpec
from ecomfs.types import Example
from ecomfs_eval import Predictions
from ecomfs_eval.baselines import LabelledRows, run_baselines

_CELLS = ("number", "category", "price", "date")
_SHOWN = {
    "tfidf_logistic": "TF-IDF + LR",
    "gradient_boosting": "boosting",
    "features_logistic": "features + LR",
    "features_boosting": "features + boosting",
}


@harness_errors()
def trained(gold: Gold, pipeline: Pipeline, seed: int = 0) -> dict[str, Predictions]:
    """Trained baselines on the rows that have a true label, with ids as in
    :func:`ecomfs.evaluation.evaluate.systems`.

    They are logistic regression on TF-IDF; gradient boosting for tabular tasks; and both on the
    features of :mod:`ecomfs.features`, if the task has any. Empty without labelled examples, or if
    scikit-learn is not installed.
    """
    if pipeline.retriever is None or find_spec("sklearn") is None:
        return {}
    gold = gold.scored()
    if not gold.ids:
        return {}
    rows = [Example(*row) for row in zip(gold.ids, gold.rows, gold.labels, strict=True)]
    labelled, test = baseline_tables(pipeline, pipeline.retriever.examples, rows, _SHOWN)
    names = list(pipeline.space.names)
    space = names + label_order(set(test.labels) - set(names))
    positive = positive_of(pipeline.card, pipeline.space)
    out = {}
    for name, got in run_baselines(labelled, test, list(_SHOWN), seed=seed).items():
        if isinstance(got, Predictions):
            shown = _SHOWN[name]
            out[shown] = replace(got.with_labels(space, positive), name=shown)
    return out


def raw_columns(card: TaskCard, pool: Sequence[Example]) -> list[str]:
    """The fields of a tabular task whose cells are features; empty for tasks with required texts
    or histories."""
    if any(f.kind in ("text", "history") and f.required for f in card.fields):
        return []
    names = [f.name for f in card.fields if f.kind in _CELLS]
    return [n for n in names if any(str(row.fields.get(n, "")).strip() for row in pool)]


def feature_set(card: TaskCard, pool: Sequence[Example]) -> FeatureSet | None:
    """The features of a task, scaled on the labelled examples; ``None`` if the task has none, or
    if they are constant."""
    if not has_features(card):
        return None
    found = FeatureSet(card).fit([e.fields for e in pool])
    return found if found.names else None


def baseline_tables(
    pipeline: SupportsBaselines,
    pool: Sequence[Example],
    test: Sequence[Example],
    names: Collection[str],
) -> tuple[LabelledRows, LabelledRows]:
    """Labelled examples and test rows for the harness: retrieval texts, labels in the pool's
    spelling, and the inputs that the named baselines need."""
    card = pipeline.card
    columns = raw_columns(card, pool) if "gradient_boosting" in names else []
    specs = {s.name: s.rendering for s in card.fields}
    made = {"features_logistic", "features_boosting"} & set(names)
    features = feature_set(card, pool) if made else None

    def table(rows: Sequence[Example]) -> LabelledRows:
        texts = [pipeline.text(row.fields) for row in rows]
        vectors = cells = None
        if "embedding_logistic" in names and pipeline.retriever is not None:
            # All rows as queries: some embedders encode queries and passages differently.
            vectors = pipeline.retriever.embedder.embed(texts, query=True)
        if columns:
            cells = {c: [_cell(specs[c], r.fields.get(c)) for r in rows] for c in columns}
        return LabelledRows.of(
            [pipeline.space.true_label(row.label) or row.label for row in rows],
            ids=[row.id for row in rows],
            texts=texts,
            vectors=vectors,
            table=None if cells is None else pd.DataFrame(cells),
            features=None if features is None else features.transform([r.fields for r in rows]),
        )

    return table(pool), table(test)


def _cell(spec: RenderSpec, value: object) -> str:
    """The cell as text; numbers are normalised by their column's decimal mark."""
    if spec.kind not in NUMBERS:
        return "" if value is None else str(value)
    with suppress(RowError):
        value = comparable_value(spec, read_cell(spec, value))
    return "" if value is None else str(value)


__all__ = ["baseline_tables", "feature_set", "raw_columns", "trained"]
