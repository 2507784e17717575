"""Leave-one-out fitting for tasks with several labels per row, and its profile.

One calibration of yes and no, and one weight of the neighbours, are fitted for all labels
together, because few examples have any one label. Each label has its own threshold: the probability
with the best F1. With few readings this is a poor estimate of the best threshold on new rows, so it
is shrunk towards 0.5, on the log-odds scale, with a prior worth :data:`PRIOR` examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from ecomfs.calibration import Threshold, accept_threshold, fit_calibration
from ecomfs.core.options import NO_MODEL
from ecomfs.core.progress import FITTING, Progress, silent
from ecomfs.errors import ConfigError
from ecomfs.estimators.multilabel.neighbours import fit_cells
from ecomfs.estimators.multilabel.pipeline import LabelReadings, MultiLabelPipeline, RowPrompts
from ecomfs.estimators.multilabel.prompts import NO, YES, YES_NO
from ecomfs.fit import BlendWeights, LanguageCalibration, pool_hash
from ecomfs.fit.profile_file import ProfileFile, StrictRecord
from ecomfs.types import Example, Language, Posterior

CHUNK = 8
"""Examples between two reports of progress."""
PRIOR = 8
"""Weight of the prior of a threshold, in examples that have the label."""
FLOOR = 1e-6


class LabelThreshold(StrictRecord):
    """The threshold of one label, and the readings behind it.

    Attributes:
        value: the least probability with which a row gets the label.
        best: the threshold with the best F1 on the readings; ``None`` if no example that was read
            has the label.
        f1: F1 of ``value`` on the readings that it was fitted on (slightly optimistic); ``None``
            if undefined.
        yes: number of examples with the label among those read.
        readings: number of examples read.
    """

    value: float = 0.5
    best: float | None = None
    f1: float | None = None
    yes: int = 0
    readings: int = 0


def fit_threshold(p: ArrayLike, truth: ArrayLike, prior: float = PRIOR) -> LabelThreshold:
    """The threshold of a label, from leave-one-out readings.

    Args:
        p: probability of the label for n examples.
        truth: whether each example has the label.
        prior: weight of 0.5, in examples that have the label.

    >>> found = fit_threshold([0.9, 0.3, 0.2, 0.1], [True, True, False, False], prior=0)
    >>> 0.2 < found.value < 0.3, found.f1
    (True, 1.0)
    >>> found.value < fit_threshold([0.9, 0.3, 0.2, 0.1], [True, True, False, False]).value < 0.5
    True
    """
    values, true = np.asarray(p, dtype=np.float64), np.asarray(truth, dtype=bool)
    yes = int(true.sum())
    if not yes:
        return LabelThreshold(readings=len(values))
    odds = _log_odds(values)
    points = np.unique(odds)
    cuts = np.concatenate([[0.0, points[0] - 1.0], (points[:-1] + points[1:]) / 2])
    scores = np.array([_f1(odds >= cut, true) for cut in cuts])
    # Of equally good thresholds, the one nearest to 0.5.
    best = min(np.flatnonzero(scores == scores.max()), key=lambda i: abs(cuts[i]))
    drawn = float(cuts[best]) * yes / (yes + prior)
    return LabelThreshold(
        value=_probability(drawn),
        best=_probability(float(cuts[best])),
        f1=_f1(odds >= drawn, true),
        yes=yes,
        readings=len(values),
    )


def _f1(given: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float(2 * (given & true).sum() / (given.sum() + true.sum()))


def _log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(p, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(kept / (1 - kept)))


def _probability(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


class _Cell(NamedTuple):
    """One label of one example, read leave-one-out."""

    language: Language
    label: int
    truth: int
    read: Posterior
    vote: float | None


async def fit_thresholds(
    rows: MultiLabelPipeline,
    examples: Sequence[Example],
    sets: Mapping[str, frozenset[int]],
    progress: Progress = silent,
) -> tuple[MultiLabelPipeline, dict[str, LabelThreshold], tuple[str, ...]]:
    """Read examples leave-one-out for every label, and fit calibration, blend and thresholds.

    Args:
        examples: examples of the pool.
        sets: example id → positions of its labels.

    Returns:
        The fitted pipeline, the threshold of each label, and notes for the user.
    """
    answered = await _left_out(rows, examples, progress)
    fitted: list[LabelThreshold]
    if not rows.has_model:  # the neighbours' vote needs no reading
        voted = [(asked.votes, sets[e.id]) for e, asked, _ in answered if asked.votes]
        fitted = [
            fit_threshold([v[label] for v, _ in voted], [label in own for _, own in voted])
            for label in range(len(rows.space))
        ]
    else:
        found: list[_Cell] = []
        for example, asked, read in answered:
            for label, posterior in enumerate(read):
                # Text read-outs and failures have no probabilities.
                if isinstance(posterior, Posterior) and posterior.label_mass is not None:
                    truth = YES if label in sets[example.id] else NO
                    vote = asked.votes[label] if asked.votes else None
                    found.append(_Cell(asked.language, label, truth, posterior, vote))
        rows = _calibrated(rows, found)
        fitted = []
        for label in range(len(rows.space)):
            own = [cell for cell in found if cell.label == label]
            probabilities = []
            for cell in own:
                votes = [] if cell.vote is None else [cell.vote]
                probabilities += rows.probabilities(cell.language, [cell.read], votes)
            fitted.append(fit_threshold(probabilities, [cell.truth == YES for cell in own]))
    thresholds = dict(zip(rows.space.names, fitted, strict=True))
    values = {name: threshold.value for name, threshold in thresholds.items()}
    return replace(rows, thresholds=values), thresholds, _notes(thresholds, len(examples))


def _calibrated(rows: MultiLabelPipeline, found: Sequence[_Cell]) -> MultiLabelPipeline:
    """The pipeline with a calibration per language, and the weight of the neighbours."""
    setups = {}
    for language, setup in rows.setups.items():
        mine = [cell for cell in found if cell.language == language]
        read, truth = [cell.read.probabilities for cell in mine], [cell.truth for cell in mine]
        setups[language] = replace(setup, calibration=fit_calibration(read, truth))
    asked = [cell for cell in found if cell.vote is not None]
    blend = None
    if asked:
        blend = fit_cells(
            [setups[cell.language].calibrated(cell.read) for cell in asked],
            [cell.vote for cell in asked if cell.vote is not None],
            [cell.truth for cell in asked],
        )
    return replace(rows, setups=setups, blend=blend)


async def _left_out(
    rows: MultiLabelPipeline, examples: Sequence[Example], progress: Progress
) -> list[tuple[Example, RowPrompts, LabelReadings]]:
    """Leave-one-out readings of examples, for every label."""
    out: list[tuple[Example, RowPrompts, LabelReadings]] = []
    for start in range(0, len(examples), CHUNK):
        progress(FITTING, start, len(examples))
        part = examples[start : start + CHUNK]
        answered = await rows.read(
            [e.fields for e in part],
            [e.id for e in part],
            exclude_ids=[{e.id} for e in part],
            leave_self_out=True,
        )
        out += [(e, asked, read) for e, (asked, read) in zip(part, answered, strict=True)]
    progress(FITTING, len(examples), len(examples))
    return out


async def fit_acceptance(
    rows: MultiLabelPipeline,
    examples: Sequence[Example],
    sets: Mapping[str, frozenset[int]],
    precision: float,
    progress: Progress = silent,
) -> tuple[Threshold | None, tuple[str, ...]]:
    """The least confidence at which rows have exactly the right labels with the precision asked
    for; and a note if no threshold reaches it.

    Args:
        examples: examples of the pool, read leave-one-out.
        sets: example id → positions of its labels.
    """
    confidence, right = [], []
    for example, asked, read in await _left_out(rows, examples, progress):
        found = rows.prediction(asked, read)
        if found.labels is not None and found.confidence is not None:
            confidence.append(found.confidence)
            right.append({*found.labels} == {rows.space.names[i] for i in sets[example.id]})
    accept = accept_threshold(confidence, right, precision)
    if accept is not None:
        return accept, ()
    return None, (
        f"{len(right)} examples do not show a precision of {precision:.0%} at any threshold: "
        "every row abstains and needs review; label more, or ask for less precision",
    )


def _notes(thresholds: Mapping[str, LabelThreshold], read: int) -> tuple[str, ...]:
    if not any(t.readings for t in thresholds.values()):
        why = "no reading gave probabilities" if read else "no example was read leave-one-out"
        return (f"{why}: every threshold is 0.5",)
    out = []
    never = [name for name, t in thresholds.items() if not t.yes]
    few = [f"{name} ({t.yes})" for name, t in thresholds.items() if 0 < t.yes < PRIOR]
    if never:
        out.append(
            f"no example that was read has {', '.join(never)}: F1 is undefined, and the "
            "threshold is 0.5"
        )
    if few:
        out.append(
            f"fewer than {PRIOR} of the examples that were read have {', '.join(few)}: the "
            "threshold is nearer to 0.5 than to the one with the best F1"
        )
    return tuple(out)


def _embedder(rows: MultiLabelPipeline) -> str:
    return "" if rows.retriever is None else rows.retriever.source.fingerprint


class MultiLabelProfile(ProfileFile):
    """The result of a fit for several labels per row; saved as JSON.

    Attributes:
        engine: fingerprint of the engine.
        pool: hash of the examples of the fit; ``examples`` is their number.
        embedder: fingerprint of the embedder; empty: not recorded.
        calibration: language → calibration of yes and no.
        blend: weights of model and neighbours.
        thresholds: label → threshold.
        accept_from: confidence below which a row abstains.
        found: notes.

    >>> MultiLabelProfile(task="t", engine="e", pool="p", examples=2, k=4).accept_from is None
    True
    """

    format: Literal[1] = 1
    kind: Literal["several labels"] = "several labels"
    task: str
    engine: str
    pool: str
    examples: int
    embedder: str = ""
    k: int
    calibration: dict[Language, LanguageCalibration] = Field(default_factory=dict)
    blend: BlendWeights | None = None
    thresholds: dict[str, LabelThreshold] = Field(default_factory=dict)
    accept_from: float | None = None
    guarantees: dict[str, Any] = Field(default_factory=dict)
    found: dict[str, Any] = Field(default_factory=dict)

    def _repr_html_(self) -> str:
        """HTML for notebooks."""
        from ecomfs_eval.html_view import paragraph, table, view

        rows = [[name, t.value, t.f1, t.yes, t.readings] for name, t in self.thresholds.items()]
        return view(
            f"profile of {self.task}",
            paragraph(f"fitted on {self.examples} examples, several labels per row, k = {self.k}"),
            table(["label", "threshold", "F1", "have it", "read"], rows) if rows else "",
            paragraph(f"engine {self.engine}", note=True),
        )

    @classmethod
    def of(
        cls,
        rows: MultiLabelPipeline,
        examples: Sequence[Example],
        thresholds: Mapping[str, LabelThreshold],
        **more: Any,
    ) -> Self:
        """The profile of a pipeline that was just fitted."""
        return cls(
            task=rows.card.name,
            engine=rows.engine.fingerprint,
            pool=pool_hash(examples),
            examples=len(examples),
            embedder=_embedder(rows),
            k=rows.k,
            calibration={
                language: LanguageCalibration.of(setup.calibration, YES_NO.names)
                for language, setup in rows.setups.items()
                if setup.calibration is not None
            },
            blend=BlendWeights.of(rows.blend, YES_NO.names),
            thresholds=dict(thresholds),
            **more,
        )

    def differences(self, rows: MultiLabelPipeline, examples: Sequence[Example]) -> list[str]:
        """Differences from the state in which the profile was fitted, one line each."""
        out = []
        if self.task != rows.card.name:
            out.append(f"fitted for task {self.task}, used for {rows.card.name}")
        if self.engine != rows.engine.fingerprint:
            out.append(f"fitted on engine {self.engine}, used with {rows.engine.fingerprint}")
        if other := sorted(set(self.thresholds) ^ set(rows.space.names)):
            out.append(f"other labels: {', '.join(other[:5])}{' …' if len(other) > 5 else ''}")
        if self.pool != pool_hash(examples):
            out.append(f"fitted on {self.examples} examples, used with {len(examples)} other ones")
        if self.embedder and self.embedder != _embedder(rows):
            out.append(f"fitted with embedder {self.embedder}, used with {_embedder(rows)}")
        if self.k != rows.k and rows.has_model:
            out.append(f"fitted with k = {self.k}, used with k = {rows.k}")
        return out

    def applied(
        self, rows: MultiLabelPipeline
    ) -> tuple[MultiLabelPipeline, dict[str, LabelThreshold]]:
        """The pipeline with the fitted parameters, and the thresholds by label; 0.5 for a label
        that the profile lacks.

        Raises:
            ConfigError: it was fitted with a model and is used without one, or the reverse: its
                thresholds are for other probabilities.
        """
        if rows.has_model == (self.engine == NO_MODEL):
            then, now = ("without", "with") if rows.has_model else ("with", "without")
            raise ConfigError(
                f"the profile was fitted {then} a model, and its thresholds do not hold {now} one",
                hint="fit again with this engine: ecomfs fit --engine …",
            )
        names = YES_NO.names
        kept = {language: found.read(names) for language, found in self.calibration.items()}
        setups = {
            language: replace(setup, calibration=kept.get(language))
            for language, setup in rows.setups.items()
        }
        thresholds = {
            name: self.thresholds.get(name, LabelThreshold()) for name in rows.space.names
        }
        return replace(
            rows,
            setups=setups,
            blend=None if self.blend is None else self.blend.read(names),
            thresholds={name: threshold.value for name, threshold in thresholds.items()},
            accept_from=self.accept_from,
        ), thresholds


__all__ = [
    "PRIOR",
    "LabelThreshold",
    "MultiLabelProfile",
    "fit_acceptance",
    "fit_threshold",
    "fit_thresholds",
]
