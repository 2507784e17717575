"""Summary of predictions: every metric with its interval.

>>> from ecomfs_eval import Predictions, summarise
>>> s = summarise(Predictions.of(["a", "b", "b", "b"] * 5, ["a", "b", "b", "a"] * 5))
>>> s["accuracy"].text()
'75.0 % [53.1, 88.8]'
>>> s["roc_auc"].reason
'no row has probabilities'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecomfs_eval.errors import OptionError
from ecomfs_eval.html_view import paragraph, table, view
from ecomfs_eval.intervals import Bootstrap, scores
from ecomfs_eval.metrics import METRICS, get_metric
from ecomfs_eval.metrics.base import Metric
from ecomfs_eval.metrics.confusion import ConfusionMatrix, confusion_matrix
from ecomfs_eval.metrics.precision_recall_f1 import (
    PARTS,
    ClassScores,
    class_metric,
    per_class,
)
from ecomfs_eval.metrics.score import Score
from ecomfs_eval.predictions import Predictions

CLASSES_WITH_INTERVALS = 30
"""With more labels, the per-class table has no intervals: they would be too wide to be useful and
take longer than all other metrics."""


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The scores of one system.

    Attributes:
        name, source: as in the predictions.
        rows: number of rows.
        labels: the label space; for sets, the labels that they contain.
        positive: the positive class of binary metrics, or ``None``.
        scores: metric name → score, in the order of the reports.
        classes: per-class precision, recall and F1.
        slices: slicing → value → metric name → score.
        confusion: the confusion matrix.

    >>> from ecomfs_eval import Predictions
    >>> s = summarise(Predictions.of(["a", "b"] * 5, ["a", "b"] * 5), ["accuracy"])
    >>> print(s.to_text())
    system: 10 rows, 2 labels
      Accuracy  100.0 % [72.2, 100.0]
    """

    name: str
    source: str
    rows: int
    labels: tuple[str, ...]
    positive: str | None
    scores: dict[str, Score]
    classes: tuple[ClassScores, ...]
    slices: dict[str, dict[str, dict[str, Score]]]
    confusion: ConfusionMatrix

    def __getitem__(self, metric: str) -> Score:
        return self.scores[metric]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"confusion": self.confusion.to_dict()}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        defined = [
            [_title(s), s.text(), s.note] for s in self.scores.values() if s.value is not None
        ]
        classes = [
            [c.label, c.support, c.precision.value, c.recall.value, c.f1.value]
            for c in self.classes
        ]
        absent = [
            paragraph(f"undefined, {why}: {', '.join(map(_title, same))}", note=True)
            for why, same in self._undefined().items()
        ]
        return view(
            f"{self.name}: {self.rows:,} rows, {len(self.labels)} labels",
            table(["metric", "value", ""], defined),
            table(["label", "rows", "precision", "recall", "F1"], classes) if classes else "",
            *absent,
        )

    def to_text(self) -> str:
        """A plain table: defined metrics first, then the undefined ones with their reasons."""
        width = max(len(_title(s)) for s in self.scores.values())
        lines = [f"{self.name}: {self.rows} rows, {len(self.labels)} labels"]
        for s in self.scores.values():
            if s.value is not None:
                note = f"  ({s.note})" if s.note else ""
                lines.append(f"  {_title(s):<{width}}  {s.text()}{note}")
        for why, same in self._undefined().items():
            lines.append(f"  undefined, {why}: {', '.join(s.name for s in same)}")
        return "\n".join(lines)

    def _undefined(self) -> dict[str, list[Score]]:
        """Reason → the scores that are undefined for this reason."""
        reasons: dict[str, list[Score]] = {}
        for s in self.scores.values():
            if s.value is None:
                reasons.setdefault(s.reason, []).append(s)
        return reasons


def summarise(
    p: Predictions,
    metrics: Sequence[str | Metric] | None = None,
    *,
    how: Bootstrap | None = None,
    slice_metrics: Sequence[str | Metric] = ("accuracy", "f1_macro"),
) -> Summary:
    """Score predictions.

    Args:
        p: the predictions.
        metrics: names or metrics; by default all of :data:`~ecomfs_eval.METRICS`.
        how: resamples, level and seed of the intervals.
        slice_metrics: names or metrics for each slice of ``p.slices``.

    Raises:
        OptionError: an unknown metric, or none.

    >>> from ecomfs_eval import Predictions
    >>> s = summarise(Predictions.of(["a", "b"] * 5, ["a", "b"] * 5))
    >>> s["f1_macro"].value, s["roc_auc"].reason
    (1.0, 'no row has probabilities')
    """
    chosen = [get_metric(m) for m in (metrics if metrics is not None else METRICS.values())]
    if not chosen:
        raise OptionError("no metrics", hint="name at least one")
    how = how or Bootstrap()
    slices: dict[str, dict[str, dict[str, Score]]] = {}
    within = {m.name: m for m in map(get_metric, slice_metrics)}
    for name, values in p.slices.items():
        slices[name] = {}
        for value in sorted(set(values)):
            part = p.take(i for i, v in enumerate(values) if v == value)
            slices[name][value] = scores(within, part, how)
    return Summary(
        name=p.name,
        source=p.source,
        rows=len(p),
        labels=p.classes,
        positive=p.positive,
        scores=scores({m.name: m for m in chosen}, p, how),
        classes=_classes(p, how),
        slices=slices,
        confusion=confusion_matrix(p),
    )


def _title(s: Score) -> str:
    return METRICS[s.name].title if s.name in METRICS else s.name


def _classes(p: Predictions, how: Bootstrap) -> tuple[ClassScores, ...]:
    plain = per_class(p)
    if len(p.classes) > CLASSES_WITH_INTERVALS:
        return plain
    wanted = [class_metric(part, label) for label in p.classes for part in PARTS]
    found = scores({m.name: m for m in wanted}, p, how)
    return tuple(
        ClassScores(
            c.label, c.support, c.answered, *(found[f"{part}[{c.label}]"] for part in PARTS)
        )
        for c in plain
    )
