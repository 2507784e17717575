"""Predictions with true labels to comparable systems: ecomfs, its parts, and simple baselines.

The model alone, the experts alone, the neighbours' vote and the majority label are scored on the
same rows with the same labelled examples, so the table shows what the model adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch import Gold
from ecomfs.errors import ConfigError
from ecomfs.evaluation.harness import (
    SupportsBaselines,
    at_stage,
    harness_errors,
    positive_of,
    to_harness,
)
from ecomfs.evaluation.rules import MAJORITY, trivial_rule
from ecomfs.pipeline import Pipeline
from ecomfs.task import LabelSpace, label_order
from ecomfs.types import Row
from ecomfs_eval import Bootstrap, Predictions, get_metric
from ecomfs_eval.compare import differences
from ecomfs_eval.report.contribution import METRICS as CONTRIBUTED
from ecomfs_eval.report.contribution import contribution
from ecomfs_eval.report.words import ReportWords

KNN_NEIGHBOURS = 8
MOST_NAMED = 12
"""Most labels listed in a note."""


ANSWERED = {"answered_rate": "answered", "accuracy_answered": "precision among answered"}
"""Metric of the harness → title, of metrics that are also shown if rows abstained (accuracy counts
these as wrong)."""
MODEL_ALONE = "LLM alone"
EXPERTS_ALONE = "without LLM"
RULE = "rule: "
"""Prefix of the name of the task's trivial rule."""


def unknown_labels(gold: Iterable[str], space: LabelSpace) -> str:
    """A note on true labels outside the label space, whose rows always count as wrong; empty if
    there are none.

    >>> from ecomfs.task import Label
    >>> unknown_labels(["a", "c", "b", "c", ""], LabelSpace([Label("a"), Label("b")]))
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


@harness_errors()
def systems(gold: Gold, pipeline: Pipeline) -> dict[str, Predictions]:
    """The predictions, their parts and the baselines, on the rows that have a true label.

    Model and experts together are called ``ecomfs``, the calibrated model alone ``LLM alone``, and
    the experts alone ``without LLM``. A row that skipped the model has its final prediction in
    both parts. A model without experts is called ``LLM``, experts without a model ``without LLM``.
    The positive class is that of the card (:func:`ecomfs.evaluation.harness.positive_of`).
    The trivial rule of the task (:mod:`ecomfs.evaluation.rules`) is called ``rule: NAME``, unless
    it is the majority.

    Raises:
        EmptyInputError: no row has a true label.
    """
    gold = gold.scored()
    truth, ids, predictions = gold.labels, gold.ids, gold.predictions
    names = list(pipeline.space.names)
    space = names + label_order(set(truth) - set(names))
    shared: dict[str, Any] = {"ids": ids, "positive": positive_of(pipeline.card, pipeline.space)}
    together = any(p.source in ("fused", "experts") for p in predictions)
    name = "ecomfs" if together else "LLM"
    if not pipeline.has_model:
        name, together = EXPERTS_ALONE, False
    out = {name: to_harness(predictions, truth, space, name=name, **shared)}
    for part, stages in ((MODEL_ALONE, ("calibrated", "read")), (EXPERTS_ALONE, ("experts",))):
        if together:
            then = [at_stage(p, stages) for p in predictions]
            out[part] = to_harness(then, truth, space, tokens=False, name=part, **shared)
    if pipeline.retriever is not None:
        texts = [pipeline.text(row) for row in gold.rows]
        table = vote(pipeline, texts, space, gold.rows)
        out["kNN only"] = _baseline(table, truth, space, name="kNN only", **shared)
        shares = Counter(e.label for e in pipeline.retriever.examples)
        prior = np.array([[shares[label] for label in names]] * len(truth), dtype=np.float64)
        out["majority"] = _baseline(prior, truth, space, name="majority", **shared)
        rule = trivial_rule(pipeline, gold.rows)
        if rule.name != MAJORITY:
            named = f"{RULE}{rule.name}"
            out[named] = _baseline(rule.probabilities, truth, space, name=named, **shared)
            if not rule.scored:
                answers = list(out[named].predicted)
                out[named] = Predictions.of(
                    truth, answers, None, labels=space, name=named, **shared
                )
    return out


@harness_errors()
def model_adds(systems: Mapping[str, Predictions], seed: int = 0) -> str:
    """One line that says whether the model improves on the experts; empty if either is missing.

    Args:
        systems: the result of :func:`systems`.
        seed: seed of the resampling.
    """
    if "ecomfs" not in systems or EXPERTS_ALONE not in systems:
        return ""
    both, experts = systems["ecomfs"], systems[EXPERTS_ALONE]
    metrics = [get_metric(name) for name in CONTRIBUTED]
    found = differences(experts, both, metrics, Bootstrap(seed=seed))
    words = ReportWords("en")
    return contribution(found, len(both), words, main="ecomfs", without=EXPERTS_ALONE)


def vote(
    pipeline: SupportsBaselines, texts: Sequence[str], labels: Sequence[str], rows: Sequence[Row]
) -> NDArray[np.float64]:
    """The vote of the nearest examples, shape (texts, labels).

    Raises:
        ConfigError: the pipeline has no labelled examples.
    """
    if pipeline.retriever is None:
        raise ConfigError("the neighbours' vote needs labelled examples", hint="fit on examples")
    votes = pipeline.retriever.vote(texts, KNN_NEIGHBOURS, rows=rows)
    # A closed label space may have a label without an example in the pool.
    by_label = dict(zip(pipeline.retriever.labels, votes.T, strict=True))
    absent = np.zeros(len(texts))
    return np.column_stack([by_label.get(label, absent) for label in labels])


def _baseline(
    scores: NDArray[np.float64],
    truth: Sequence[str],
    space: Sequence[str],
    **columns: Any,
) -> Predictions:
    """A baseline over the whole label space; labels without an example have probability 0."""
    full = np.zeros((len(truth), len(space)))
    full[:, : scores.shape[1]] = scores / scores.sum(axis=1, keepdims=True)
    return Predictions.of(truth, None, full, labels=space, **columns)
