"""The report: scores, curves, worst errors and comparisons of systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ecomfs_eval.compare.comparison import Comparisons, PairwiseComparison
from ecomfs_eval.compare.paired import answer_text, gold_probability
from ecomfs_eval.errors import OptionError
from ecomfs_eval.intervals import Bootstrap
from ecomfs_eval.learning_curve import LearningCurve
from ecomfs_eval.metrics import (
    METRICS,
    USUAL,
    PrecisionRecallCurve,
    ReliabilityBin,
    RiskCoverage,
    RocCurve,
    get_metric,
    precision_recall_curve,
    reliability_curve,
    risk_coverage_curve,
    roc_curve,
)
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import Predictions
from ecomfs_eval.report.document import Document, ReportLanguage
from ecomfs_eval.report.words import STRINGS
from ecomfs_eval.structure import LabelKind
from ecomfs_eval.summary import Summary, summarise


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row with a wrong answer.

    Attributes:
        id, gold, answer, status: of the row.
        confidence: probability of the answer; ``None`` without a distribution.
        p_gold: probability of the gold label; ``None`` without a distribution.
        extra: its other text columns (input, prompt, demonstrations).
    """

    id: str
    gold: str
    answer: str
    status: str
    confidence: float | None
    p_gold: float | None
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class SystemReport:
    """One system: scores, curves, worst errors.

    Attributes:
        summary: every metric.
        roc, pr: curves of the positive class; ``Undefined`` for several labels.
        reliability, risk: calibration and selective prediction.
        mean_confidence: mean of the highest probabilities; ``None`` without distributions.
        worst: wrong rows, the most confident first.
        wrong: number of wrong rows.
    """

    summary: Summary
    roc: RocCurve | Undefined
    pr: PrecisionRecallCurve | Undefined
    reliability: tuple[ReliabilityBin, ...] | Undefined
    risk: RiskCoverage | Undefined
    mean_confidence: float | None
    worst: tuple[WrongRow, ...]
    wrong: int

    @property
    def name(self) -> str:
        """The system's name."""
        return self.summary.name


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The content of a report on one or several systems.

    Attributes:
        title: title of the page.
        language: language of its words, not of labels and texts.
        systems: the first is the subject of the report; baselines follow.
        comparisons: pairs, with their decisions.
        curves: learning curves.
        metrics: names of the metrics in the table.
        level: nominal coverage of the intervals.
        notes: sentences for the summary.
        source: where the numbers come from: ``command``, ``data``, ``versions``, or other words.
    """

    title: str
    language: ReportLanguage
    systems: tuple[SystemReport, ...]
    comparisons: tuple[PairwiseComparison, ...]
    curves: tuple[LearningCurve, ...]
    metrics: tuple[str, ...]
    level: float
    notes: tuple[str, ...] = ()
    source: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> Document:
        """The report as blocks, for the renderers."""
        from ecomfs_eval.report.page import report_document

        return report_document(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "title": self.title,
            "language": self.language,
            "level": self.level,
            "notes": list(self.notes),
            "source": dict(self.source),
            "systems": [
                {
                    **s.summary.to_dict(),
                    "mean_confidence": s.mean_confidence,
                    "roc": _plain(s.roc),
                    "pr": _plain(s.pr),
                    "reliability": _plain(s.reliability),
                    "risk_coverage": _plain(s.risk),
                    "wrong": s.wrong,
                    "worst": [asdict(w) for w in s.worst],
                }
                for s in self.systems
            ],
            "comparisons": [c.to_dict() for c in self.comparisons],
            "learning_curves": [c.to_dict() for c in self.curves],
        }


def _plain(value: Any) -> Any:
    """Arrays as lists, infinities as ``None``: JSON has neither."""
    if isinstance(value, Undefined):
        return {"undefined": value.reason}
    if isinstance(value, np.ndarray):
        return [float(v) if np.isfinite(v) else None for v in value]
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return {k: _plain(getattr(value, k)) for k in value.__dataclass_fields__}
    return value


SHOWN = (
    "accuracy",
    "level_accuracy@1",
    "f1_hierarchical",
    "subset_accuracy",
    "jaccard",
    "hamming_loss",
    "f1_macro",
    "balanced_accuracy",
    "mcc",
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "ece_adaptive",
    "aurc",
    "accuracy_answered",
    "answered_rate",
    "abstained_rate",
    "invalid_rate",
    "failed_rate",
    "ndcg@10",
    "hit@1",
    "hit@10",
    "mrr",
    "query_auc",
    "latency_p50",
    "latency_p95",
    "prompt_tokens",
    "completion_tokens",
    "cache_share",
    "cost_per_1000",
)
"""Metrics of the table by default; those that no system has are left out."""


def shown_for(kind: LabelKind) -> list[str]:
    """The metrics of the table by default, for labels of a kind."""
    if kind != "sets":
        return list(SHOWN)
    # For label sets micro F1 comes first, and subset accuracy takes the place of accuracy.
    return list(dict.fromkeys([*USUAL["sets"], *(m for m in SHOWN if m != "accuracy")]))


def build_report(
    systems: Sequence[Predictions],
    *,
    comparisons: Sequence[PairwiseComparison] | PairwiseComparison | Comparisons = (),
    curves: Sequence[LearningCurve] = (),
    title: str = "Evaluation",
    language: ReportLanguage = "en",
    metrics: Sequence[str] | None = None,
    how: Bootstrap | None = None,
    worst: int = 20,
    notes: Sequence[str] = (),
    source: Mapping[str, str] | None = None,
) -> Report:
    """Compute a report.

    Args:
        systems: predictions of one or several systems; the first is the subject of the report.
        comparisons: from :func:`~ecomfs_eval.compare` or :func:`~ecomfs_eval.compare_many`.
        curves: from :func:`~ecomfs_eval.learning_curve.learning_curve`.
        title: title of the page.
        language: ``en`` or ``zh``.
        metrics: names of the metrics in the table; by default :data:`SHOWN`.
        how: resamples, level and seed of the intervals.
        worst: number of wrong rows to list for each system.
        notes: sentences for the summary.
        source: where the numbers come from (``command``, ``data``, ``versions``); the last
            section. Settings of the intervals are added.

    Raises:
        OptionError: no systems, two with one name, or an unknown language.
    """
    if not systems:
        raise OptionError("no systems", hint="give at least one Predictions")
    names = [p.name for p in systems]
    if len(set(names)) != len(names):
        raise OptionError(f"systems share a name: {names}", hint="give each its own name=")
    if language not in STRINGS:
        raise OptionError(f"language {language!r}", hint="one of: " + ", ".join(STRINGS))
    how = how or Bootstrap()
    if isinstance(comparisons, PairwiseComparison):
        pairs: tuple[PairwiseComparison, ...] = (comparisons,)
    elif isinstance(comparisons, Comparisons):
        pairs = comparisons.comparisons
    else:
        pairs = tuple(comparisons)
    kind = systems[0].kind
    usual = [m for m in shown_for(kind) if get_metric(m).applies(kind)]
    wanted = list(metrics) if metrics is not None else usual
    every = list(dict.fromkeys([*wanted, *(m for m, x in METRICS.items() if x.applies(kind))]))
    return Report(
        title,
        language,
        tuple(_system(p, every, how, worst) for p in systems),
        pairs,
        tuple(curves),
        tuple(wanted),
        how.level,
        tuple(notes),
        {**(source or {}), "settings": settings(how)},
    )


def settings(how: Bootstrap) -> str:
    """The settings of the intervals, in a line.

    >>> settings(Bootstrap())
    '95 %, 2,000 resamples, seed 0'
    """
    return f"{100 * how.level:g} %, {how.resamples:,} resamples, seed {how.seed}"


def _system(p: Predictions, metrics: Sequence[str], how: Bootstrap, worst: int) -> SystemReport:
    rows = np.flatnonzero(p.has_distribution)
    confidence = None
    if p.probabilities is not None and rows.size:
        confidence = float(p.probabilities[rows].max(axis=1).mean())
    errors = wrong_rows(p)
    return SystemReport(
        summarise(p, metrics, how=how),
        roc_curve(p),
        precision_recall_curve(p),
        reliability_curve(p),
        risk_coverage_curve(p),
        confidence,
        errors[:worst],
        len(errors),
    )


def wrong_rows(p: Predictions) -> tuple[WrongRow, ...]:
    """Every wrong row: the most confident first, rows without confidence last.

    >>> from ecomfs_eval import Predictions
    >>> p = Predictions.of(["a", "b", "b"], probabilities=[[.4, .6], [.9, .1], [.2, .8]])
    >>> [(w.id, w.answer) for w in wrong_rows(p)]
    [('2', 'a'), ('1', 'b')]
    """
    found = []
    gold, answers, there = p.gold_index, p.predicted_index, p.has_distribution
    for row in np.flatnonzero(gold != answers):
        confidence = None
        if p.probabilities is not None and there[row]:
            at = answers[row] if answers[row] >= 0 else int(p.probabilities[row].argmax())
            confidence = float(p.probabilities[row, at])
        found.append(
            WrongRow(
                p.ids[row],
                p.gold[row],
                answer_text(p, int(row)),
                p.status[row],
                confidence,
                gold_probability(p, int(row)),
                {k: v[row] for k, v in p.extra.items()},
            )
        )
    return tuple(sorted(found, key=lambda w: -(w.confidence if w.confidence is not None else -1)))
