"""Labelled examples and test rows in, baselines trained by the harness out: linear models and
gradient boosting."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec

import pandas as pd

from ecomfs.batch import Gold
from ecomfs.errors import RowError
from ecomfs.evaluation.harness import harness_errors
from ecomfs.evaluation.labels import SupportsBaselines
from ecomfs.features import FeatureSet, has_features, measured, read_cell
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
    """TF-IDF with logistic regression, for tables gradient boosting, and where the task has
    features (:mod:`ecomfs.features`) both on these, on the rows that have a true label; ids as in
    :func:`ecomfs.evaluation.evaluate.systems`. Nothing without labelled examples, or where
    scikit-learn is not installed."""
    if pipeline.retriever is None or find_spec("sklearn") is None:
        return {}
    kept = [i for i, label in enumerate(gold.labels) if label]
    if not kept:
        return {}
    pool = pipeline.retriever.examples
    rows = [Example(f"{i}:{gold.ids[i]}", gold.rows[i], gold.labels[i]) for i in kept]
    columns = raw_columns(pipeline.card, pool)
    features = feature_set(pipeline.card, pool)
    labelled = labelled_rows(pipeline, pool, columns=columns, features=features)
    test = labelled_rows(pipeline, rows, columns=columns, features=features)
    names = list(pipeline.space.names)
    space = names + label_order(set(test.labels) - set(names))
    out = {}
    for name, got in run_baselines(labelled, test, list(_SHOWN), seed=seed).items():
        if isinstance(got, Predictions):
            shown = _SHOWN[name]
            out[shown] = replace(got.with_labels(space), name=shown)
    return out


def raw_columns(card: TaskCard, pool: Sequence[Example]) -> list[str]:
    """The fields of a tabular task whose cells are features; none for tasks of text or history."""
    if any(f.kind in ("text", "history") and f.required for f in card.fields):
        return []
    names = [f.name for f in card.fields if f.kind in _CELLS]
    return [n for n in names if any(str(row.fields.get(n, "")).strip() for row in pool)]


def feature_set(card: TaskCard, pool: Sequence[Example]) -> FeatureSet | None:
    """The features of a task, scaled on the labelled examples; ``None`` where the task has none,
    or where they are the same for all examples."""
    if not has_features(card):
        return None
    found = FeatureSet(card).fit([e.fields for e in pool])
    return found if found.names else None


def labelled_rows(
    pipeline: SupportsBaselines,
    rows: Sequence[Example],
    *,
    columns: Sequence[str] = (),
    vectors: bool = False,
    features: FeatureSet | None = None,
) -> LabelledRows:
    """Rows in the form of the harness: the texts that are retrieved by, labels in the pool's
    spelling.

    Args:
        columns: fields whose cells are features.
        vectors: embed the texts too.
        features: makes numbers from the rows.
    """
    texts = [pipeline.text(row.fields) for row in rows]
    embedded = table = None
    if vectors and pipeline.retriever is not None:
        # All rows as queries: a model embedder puts queries and passages in different places.
        embedded = pipeline.retriever.embedder.embed(texts, query=True)
    if columns:
        specs = {s.name: s.rendering for s in pipeline.card.fields}
        table = pd.DataFrame({c: [_cell(specs[c], r.fields.get(c)) for r in rows] for c in columns})
    return LabelledRows.of(
        [_spelling(pipeline, row.label) for row in rows],
        ids=[row.id for row in rows],
        texts=texts,
        vectors=embedded,
        table=table,
        features=None if features is None else features.transform([r.fields for r in rows]),
    )


def _cell(spec: RenderSpec, value: object) -> str:
    """A number as the harness reads it, by its column's decimal mark; others as they are."""
    if spec.kind not in NUMBERS:
        return "" if value is None else str(value)
    with suppress(RowError):
        value = measured(spec, read_cell(spec, value))
    return "" if value is None else str(value)


def _spelling(pipeline: SupportsBaselines, label: str) -> str:
    return pipeline.space.true_label(label) or label


__all__ = ["feature_set", "labelled_rows", "raw_columns", "trained"]
