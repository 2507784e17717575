"""Predictions in, every metric with its interval out.

>>> from ecomfs_eval import Predictions, summarise
>>> s = summarise(Predictions.of(["a", "b", "b", "b"] * 5, ["a", "b", "b", "a"] * 5))
>>> s["accuracy"].text()
'75.0 % [53.1, 88.8]'
>>> s["roc_auc"].reason
'no row has probabilities'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ecomfs_eval.errors import OptionError
from ecomfs_eval.html_view import paragraph, table, view
from ecomfs_eval.intervals import Bootstrap, scores
from ecomfs_eval.metrics import METRICS, get_metric
from ecomfs_eval.metrics.base import Metric
from ecomfs_eval.metrics.confusion import ConfusionMatrix, confusion_matrix
from ecomfs_eval.metrics.precision_recall_f1 import (
    ClassScores,
    class_f1,
    class_precision,
    class_recall,
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

    Attributes
    ----------
    name, source
        As in the predictions.
    rows
        Number of rows.
    labels
        The label space; of sets, the labels that they hold.
    positive
        The positive class of binary metrics, or ``None``.
    scores
        Metric name → score, in the order of the reports.
    classes
        Per-class precision, recall and F1.
    slices
        Slicing → value → metric name → score.
    confusion
        The confusion matrix.

    Examples
    --------
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
        return {
            "name": self.name,
            "source": self.source,
            "rows": self.rows,
            "labels": list(self.labels),
            "positive": self.positive,
            "scores": {k: s.to_dict() for k, s in self.scores.items()},
            "classes": [
                {
                    "label": c.label,
                    "support": c.support,
                    "answered": c.answered,
                    "precision": c.precision.to_dict(),
                    "recall": c.recall.to_dict(),
                    "f1": c.f1.to_dict(),
                }
                for c in self.classes
            ],
            "slices": {
                name: {
                    value: {m: s.to_dict() for m, s in found.items()}
                    for value, found in values.items()
                }
                for name, values in self.slices.items()
            },
            "confusion": self.confusion.to_dict(),
        }

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        defined = [
            [METRICS[k].title if k in METRICS else k, s.text(), s.note]
            for k, s in self.scores.items()
            if s.value is not None
        ]
        classes = [
            [c.label, c.support, c.precision.value, c.recall.value, c.f1.value]
            for c in self.classes
        ]
        absent: dict[str, list[str]] = {}
        for k, s in self.scores.items():
            if s.value is None:
                absent.setdefault(s.reason, []).append(METRICS[k].title if k in METRICS else k)
        return view(
            f"{self.name}: {self.rows:,} rows, {len(self.labels)} labels",
            table(["metric", "value", ""], defined),
            table(["label", "rows", "precision", "recall", "F1"], classes) if classes else "",
            *(
                paragraph(f"undefined, {why}: {', '.join(n)}", note=True)
                for why, n in absent.items()
            ),
        )

    def to_text(self) -> str:
        """A plain table: defined metrics first, then the undefined ones with their reasons."""
        defined = {k: s for k, s in self.scores.items() if s.value is not None}
        width = max(len(METRICS[k].title if k in METRICS else k) for k in self.scores)
        lines = [f"{self.name}: {self.rows} rows, {len(self.labels)} labels"]
        for k, s in defined.items():
            note = f"  ({s.note})" if s.note else ""
            title = METRICS[k].title if k in METRICS else k
            lines.append(f"  {title:<{width}}  {s.text()}{note}")
        reasons: dict[str, list[str]] = {}
        for k, s in self.scores.items():
            if s.value is None:
                reasons.setdefault(s.reason, []).append(k)
        lines += [f"  undefined, {reason}: {', '.join(names)}" for reason, names in reasons.items()]
        return "\n".join(lines)


def summarise(
    p: Predictions,
    metrics: Sequence[str | Metric] | None = None,
    *,
    how: Bootstrap | None = None,
    slice_metrics: Sequence[str | Metric] = ("accuracy", "f1_macro"),
) -> Summary:
    """Score predictions.

    Parameters
    ----------
    p
        The predictions.
    metrics
        Names or metrics; by default all of :data:`~ecomfs_eval.METRICS`.
    how
        Resamples, level and seed of the intervals.
    slice_metrics
        Names or metrics for each slice of ``p.slices``.

    Raises
    ------
    OptionError
        An unknown metric, or none.

    Examples
    --------
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


def _classes(p: Predictions, how: Bootstrap) -> tuple[ClassScores, ...]:
    plain = per_class(p)
    if len(p.classes) > CLASSES_WITH_INTERVALS:
        return plain
    wanted: dict[str, Metric] = {}
    for label in p.classes:
        for metric in (class_precision(label), class_recall(label), class_f1(label)):
            wanted[metric.name] = metric
    found = scores(wanted, p, how)
    return tuple(
        ClassScores(
            c.label,
            c.support,
            c.answered,
            found[f"precision[{c.label}]"],
            found[f"recall[{c.label}]"],
            found[f"f1[{c.label}]"],
        )
        for c in plain
    )
