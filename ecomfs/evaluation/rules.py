"""The trivial rule of a task: a prediction that needs no learning, such as the majority label.

A task that such a rule solves needs no model, so every report shows the rule beside the systems.
The fields of the task card select the rule; the labelled examples only decide which label it
favours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.evaluation.harness import SupportsBaselines
from ecomfs.features import ValueReader, containment, grams, item_kind, match_key
from ecomfs.types import Row

MAJORITY = "majority"
LAST = "repeat_last"
LIKED = "like_ratio"
SIMILAR = "field_similarity"
RULES = {
    MAJORITY: "the most frequent label of the labelled examples",
    LAST: "the label that the last step of the history names",
    LIKED: "the first label where the first history is longer than the second",
    SIMILAR: "the first label where the second text has half of the characters of the first",
}
"""Rule → what it predicts."""


@dataclass(frozen=True, slots=True)
class RuleAnswers:
    """The predictions of a task's trivial rule.

    Attributes:
        name: one of :data:`RULES`.
        probabilities: shape (rows, labels); one-hot for :data:`LAST`, which only names a label.

    >>> RuleAnswers("majority", np.array([[0.7, 0.3]])).scored
    True
    """

    name: str
    probabilities: NDArray[np.float64]

    @property
    def scored(self) -> bool:
        """Whether the probabilities are more than a one-hot label."""
        return self.name != LAST


def trivial_rule(pipeline: SupportsBaselines, rows: Sequence[Row]) -> RuleAnswers:
    """Classify rows by the trivial rule of a pipeline's task.

    - The last items of histories are labels: predict the last item.
    - Two labels and two histories: compare the lengths of the histories.
    - Two labels and two texts: compare the characters of the texts.
    - Otherwise: predict the most frequent label.

    Args:
        pipeline: a pipeline with labelled examples.
        rows: the rows to classify.

    Returns:
        Predictions with one column per label of the pipeline.

    Raises:
        ConfigError: the pipeline has no labelled examples.

    >>> from types import SimpleNamespace
    >>> from ecomfs.task import Label, LabelSpace, load_task
    >>> from ecomfs.types import Example
    >>> pool = [Example(str(i), {"query": "mug", "product": p}, label) for i, (p, label)
    ...         in enumerate([("red mug", "relevant"), ("hose", "irrelevant")] * 4)]
    >>> pipeline = SimpleNamespace(
    ...     card=load_task("query_relevance"), retriever=SimpleNamespace(examples=pool),
    ...     space=LabelSpace([Label("relevant"), Label("irrelevant")]))
    >>> found = trivial_rule(pipeline, [{"query": "pan", "product": "steel pan"}])
    >>> found.name, found.probabilities.tolist()
    ('field_similarity', [[1.0, 0.0]])
    """
    if pipeline.retriever is None:
        raise ConfigError("no labelled examples for a trivial rule", hint="fit on examples")
    examples = pipeline.retriever.examples
    names = pipeline.space.names
    counts = Counter(e.label for e in examples)
    shares = np.array([counts[name] for name in names], dtype=np.float64) / len(examples)
    pool = [e.fields for e in examples]
    last = _last_labels(pipeline, pool)
    if last is not None and 2 * sum(place is not None for place in last) > len(pool):
        answers = _last_labels(pipeline, rows) or [None] * len(rows)
        most = int(shares.argmax())
        return RuleAnswers(LAST, np.eye(len(names))[[most if a is None else a for a in answers]])
    truth = np.array([names.index(e.label) for e in examples])
    for name, measure in ((LIKED, _more_in_first), (SIMILAR, _shared)):
        seen = measure(pipeline, pool) if len(names) == 2 else None
        given = measure(pipeline, rows)
        if seen is None or given is None or np.ptp(seen) == 0:
            continue
        # A high value is evidence for the label whose examples have the higher mean.
        high = int(seen[truth == 1].mean() > seen[truth == 0].mean()) if np.ptp(truth) else 0
        table = np.column_stack([given, 1 - given] if high == 0 else [1 - given, given])
        return RuleAnswers(name, table)
    return RuleAnswers(MAJORITY, np.tile(shares, (len(rows), 1)))


def _last_labels(pipeline: SupportsBaselines, rows: Sequence[Row]) -> list[int | None] | None:
    """For each row, the position of the label that the last item of its first history names;
    ``None`` if the task has no history."""
    specs = [f.rendering for f in pipeline.card.fields if f.kind == "history"]
    if not specs:
        return None
    spec = specs[0]
    places = {match_key(name): place for place, name in enumerate(pipeline.space.names)}
    out: list[int | None] = []
    for values in _values(pipeline, rows):
        items = values[spec.name] or [""]
        out.append(places.get(match_key(item_kind(spec, items[-1]))))
    return out


def _more_in_first(pipeline: SupportsBaselines, rows: Sequence[Row]) -> NDArray[np.float64] | None:
    """Share of the items that are in the first of two histories, with add-one smoothing."""
    names = [f.name for f in pipeline.card.fields if f.kind == "history"][:2]
    if len(names) < 2:
        return None
    sizes = np.array([[len(v[n] or ()) for n in names] for v in _values(pipeline, rows)]).reshape(
        -1, 2
    )
    return np.asarray((sizes[:, 0] + 1) / (sizes.sum(axis=1) + 2))


def _shared(pipeline: SupportsBaselines, rows: Sequence[Row]) -> NDArray[np.float64] | None:
    """Share of the characters of the first text that are in the second."""
    names = [f.name for f in pipeline.card.fields if f.kind == "text"][:2]
    if len(names) < 2:
        return None
    texts = [[grams(str(v[n] or ""), 1) for n in names] for v in _values(pipeline, rows)]
    return np.array([containment(first, second) for first, second in texts])


def _values(pipeline: SupportsBaselines, rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Typed values of the fields of each row; ``None`` for a missing cell."""
    return list(ValueReader(pipeline.card.specs).read(rows))


__all__ = ["LAST", "LIKED", "MAJORITY", "RULES", "SIMILAR", "RuleAnswers", "trivial_rule"]
