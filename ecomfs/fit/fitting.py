"""Leave-one-out fitting on the pool, without gradients.

Some labelled examples are read as if they were new, with demonstrations from the rest of the pool.
From these readings come the calibration of label bias and confidence
(:mod:`ecomfs.calibration.calibrate`), the weights of model and experts
(:mod:`ecomfs.calibration.fusion`), and the thresholds of guarantees
(:mod:`ecomfs.calibration.conformal`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import (
    EXPERTS,
    EXPERTS_ALONE,
    FEATURES,
    MINIMUM,
    MODEL,
    MODEL_ALONE,
    PER_LABEL,
    Blend,
    DecisionPolicy,
    Evidence,
    FloatArray,
    Fusion,
    Threshold,
    UsualReadings,
    adds_to_experts,
    cross_calibrated,
    cross_fitted,
    expert_priors,
    fit_blend,
    fit_calibration,
    prior_fusion,
    usable_rows,
    weights_of,
)
from ecomfs.core.progress import FITTING, Progress, part, silent
from ecomfs.engine.cached import CachedEngine
from ecomfs.errors import ConfigError
from ecomfs.experts import Experts
from ecomfs.fit.guarantees import Guarantees, LeftOut, fit_skip_threshold, with_thresholds
from ecomfs.fit.notes import model_adds
from ecomfs.fit.stopping import FIRST, GAIN, LOOKS, STEP, HeldLoss, remaining_gain
from ecomfs.pipeline import LeftOutDraw, Pipeline, draw_left_out
from ecomfs.types import Example

CHUNK = 16
"""Most readings between two progress reports."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a fit, for people and for the profile.

    Attributes:
        readings: number of examples classified leave-one-out; read by the model, if there is one.
        loss: mean log loss on them, by step; ``experts`` is that of the experts alone. The
            ``calibrated`` value was fitted on the same readings and is slightly optimistic;
            ``experts`` and ``fused`` are cross-fitted.
        accuracy: accuracy by step.
        skip, accept: thresholds with evidence; ``None``: not asked for, or not supported.
        decided: number of examples whose label the model could not change, leave-one-out; ``None``:
            every row is read.
        notes: notes for the user, one line each.
        engine: spec of the engine.
        rate: readings per second; ``None`` if all came from the cache.

    >>> Fitted(16, {"read": 0.7}).skip is None
    True
    """

    readings: int
    loss: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    skip: Threshold | None = None
    accept: Threshold | None = None
    decided: int | None = None
    notes: tuple[str, ...] = ()
    engine: str = ""
    rate: float | None = None


async def fit(
    pipeline: Pipeline,
    most: int,
    guarantees: Guarantees,
    progress: Progress = silent,
) -> tuple[Pipeline, Fitted]:
    """Read examples leave-one-out and fit calibration, fusion and thresholds.

    Examples that are hard for the experts are sampled more often, and weighted by the inverse of
    their sampling probability (:mod:`ecomfs.pipeline.left_out`). Reading stops when more readings
    would gain little (:mod:`ecomfs.fit.stopping`). Guarantees need all readings, and readings
    distributed like new rows: for them, examples are sampled uniformly, without early stopping.

    Parameters
    ----------
    pipeline : Pipeline
        The unfitted pipeline.
    most : int
        Most examples to read, one reading each. Failed readings, and text read-outs (which give no
        probabilities of the other labels), are left out. Without a model nothing is read; the
        experts classify the examples of the pool.
    guarantees : Guarantees
        The guarantees to fit.
    progress : Progress
        Called with the number of readings done and planned.

    Returns
    -------
    tuple of Pipeline and Fitted
        The fitted pipeline, and the result of the fit.

    Examples
    --------
    Without a model, only the experts are fitted, on their own predictions:

    >>> from ecomfs import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> from ecomfs.core import event_loop
    >>> fitted, found = event_loop.run(fit(pipeline, 0, Guarantees()))
    >>> found.readings, fitted.policy.experts_only is not None
    (2, True)
    """
    if not pipeline.has_model:
        return _without_model(pipeline, guarantees)
    experts = None
    if guarantees.fusion and pipeline.retriever is not None:
        experts = Experts(pipeline.retriever, pipeline.space.names, pipeline.card)
    bare = replace(pipeline, experts=experts or pipeline.experts, policy=DecisionPolicy())
    before, started = _read_so_far(bare), time.monotonic()
    experts_only, answers, labels = None, np.empty((0, 0)), np.empty(0, dtype=np.int64)
    if experts is not None:
        experts_only, answers, labels = _experts_alone(experts)
    readings, weights, tried = await _read_enough(
        bare, experts_only, answers, most, guarantees, progress
    )
    seconds = time.monotonic() - started
    asked = tried if before is None else (_read_so_far(bare) or 0) - before
    truth = np.array([reading.label for reading in readings], dtype=np.int64)
    calibrated, model, unseen = _calibrated(bare, readings, weights)
    steps = {"read": np.array([r.posterior.probabilities for r in readings]), "calibrated": model}
    like = _like_new_rows(weights)
    notes: list[str] = []
    policy, fused, skip = DecisionPolicy(), model, None
    if experts is not None and experts_only is not None and (len(readings) or not tried):
        alone = _answers_for(experts, experts_only, answers, readings)
        fusion, fused = _fused(experts, alone, unseen, truth, weights, notes)
        if readings:
            remark = model_adds(alone[like], fused[like], truth[like])
            notes += [remark] if remark else []
        if _model_excluded(experts, alone, fused, truth, weights):
            fusion, fused = Blend((EXPERTS_ALONE,), (1.0, 0.0), experts_only.shares), alone
            notes.append(
                f"the model is not used for predictions: on {len(readings)} examples it did not "
                "lower the log loss of the experts by more than one standard error"
            )
        policy = DecisionPolicy(fusion=fusion, experts_only=experts_only)
        if readings:
            steps |= {"experts": alone, "fused": fused}
        skip = fit_skip_threshold(guarantees, answers, labels, notes)
        policy = replace(policy, skip_from=None if skip is None else skip.value)
    elif guarantees.max_loss is not None:
        notes.append(
            "the model reads every row: no reading gave probabilities, which max_loss needs"
        )
    if readings:
        usual = UsualReadings.of(
            unseen.tolist(),
            steps["experts"].tolist() if "experts" in steps else [],
            [r.posterior.label_mass for r in readings],
        )
        policy = replace(policy, usual=usual)
    loss = {name: _loss(p, truth, weights) for name, p in steps.items() if readings}
    right = {name: _right(p, truth, weights) for name, p in steps.items() if readings}
    alike = [readings[i] for i in like]
    similar = [r.state.opinion.similarity for r in alike if r.state.opinion is not None]
    masses = [r.posterior.label_mass for r in alike]
    policy, accept = with_thresholds(
        policy, fused[like], truth[like], similar, masses, guarantees, notes
    )
    found = replace(calibrated, policy=policy)
    report = Fitted(
        len(readings),
        loss,
        right,
        skip,
        accept,
        _decided(found, answers) if found.skips_decided else None,
        tuple(notes),
        engine=pipeline.engine.spec,
        rate=asked / seconds if asked and seconds else None,
    )
    return found, report


def _decided(fitted: Pipeline, answers: FloatArray) -> int:
    """The number of examples whose label the model could not change, in any language.

    Args:
        answers: leave-one-out distributions of the experts alone.
    """
    fusion = fitted.policy.fusion
    if fusion is None or not len(answers):
        return 0
    evidence = Evidence.of((), None, answers)
    each = [fusion.decided(evidence, setup.calibration) for setup in fitted.setups.values()]
    return int(np.all(each, axis=0).sum())


def _without_model(pipeline: Pipeline, guarantees: Guarantees) -> tuple[Pipeline, Fitted]:
    """Weigh the experts and fit the thresholds on the pool's examples, without readings."""
    experts = pipeline.experts
    if experts is None or not guarantees.fusion:
        raise ConfigError(
            "no model (--engine none) and no experts (--no-fusion): rows cannot be classified",
            hint="leave one of them out",
        )
    if guarantees.max_loss is not None:
        raise ConfigError(
            "--max-loss has no effect without a model (--engine none)",
            hint="leave one of them out",
        )
    experts_only, answers, truth = _experts_alone(experts)
    notes: list[str] = []
    similar = [
        float(hits.similarities[0]) if len(hits) else math.nan for hits in experts.data.queries.hits
    ]
    policy, accept = with_thresholds(
        DecisionPolicy(experts_only=experts_only),
        answers,
        truth,
        similar,
        [None] * len(truth),
        guarantees,
        notes,
        "examples",
    )
    measured = {"experts": answers} if len(truth) else {}
    found = Fitted(
        len(truth),
        {name: _loss(p, truth) for name, p in measured.items()},
        {name: _right(p, truth) for name, p in measured.items()},
        accept=accept,
        notes=tuple(notes),
        engine=pipeline.engine.spec,
    )
    return replace(pipeline, policy=policy), found


def _read_so_far(pipeline: Pipeline) -> int | None:
    """Number of readings that did not come from the cache; ``None`` without a cache."""
    engine = pipeline.engine
    return engine.misses if isinstance(engine, CachedEngine) else None


async def _read_enough(
    bare: Pipeline,
    experts_only: Blend | None,
    answers: FloatArray,
    most: int,
    guarantees: Guarantees,
    progress: Progress,
) -> tuple[list[LeftOut], FloatArray, int]:
    """Read examples leave-one-out, up to a limit or until more would gain little. Returns the
    readings, their weights, and the number of examples read."""
    retriever = bare.retriever
    if retriever is None or not most:
        return [], np.empty(0), 0
    experts = None if guarantees.needs_uniform_draw else bare.experts
    draw = draw_left_out(retriever.examples, most, bare.seed, experts)
    bound, done, small = len(draw.examples), 0, 0
    found: list[LeftOut | None] = []
    while done < bound:
        size = bound - done if guarantees.needs_uniform_draw else FIRST if not done else STEP
        some = draw.examples[done : done + size]
        found += (await read_left_out(bare, some, part(progress, FITTING, done, bound)))[0]
        done += len(some)
        if guarantees.needs_uniform_draw or done >= bound:
            continue
        readings, weights = _given(found, draw)
        truth = np.array([reading.label for reading in readings], dtype=np.int64)
        if len(readings) < FIRST:
            continue
        alone = None
        if bare.experts is not None and experts_only is not None:
            alone = _answers_for(bare.experts, experts_only, answers, readings)
        learning = _learning(bare, alone, readings, truth, weights)
        gain = remaining_gain(learning, truth, weights, bound, bare.seed)
        small = small + 1 if gain < GAIN else 0
        if small == LOOKS:
            break
    readings, weights = _given(found, draw)
    return readings, weights, len(found)


def _given(found: Sequence[LeftOut | None], draw: LeftOutDraw) -> tuple[list[LeftOut], FloatArray]:
    """The readings that have a distribution, and their weights."""
    kept = [i for i, reading in enumerate(found) if reading is not None]
    weights = weights_of(draw.weights(len(found))[kept], len(kept))
    return [reading for reading in found if reading is not None], weights


def _learning(
    bare: Pipeline,
    alone: FloatArray | None,
    readings: Sequence[LeftOut],
    truth: NDArray[np.int64],
    weights: FloatArray,
) -> HeldLoss:
    """A function that fits on some readings and returns the log loss of held-out ones."""
    read = np.array([r.posterior.probabilities for r in readings])
    languages = np.array([r.state.language for r in readings])

    def held_loss(fitted: NDArray[np.int64], held: NDArray[np.int64]) -> FloatArray:
        model = read.copy()
        for language in bare.setups:
            mine, other = fitted[languages[fitted] == language], held[languages[held] == language]
            rows, labels = read[mine].tolist(), truth[mine].tolist()
            calibration = fit_calibration(rows, labels, weights[mine])
            if calibration is not None:
                model[other] = calibration.apply(read[other])
                model[mine] = cross_calibrated(rows, labels, weights[mine])
        if bare.experts is not None and alone is not None:
            together = _FusionInputs.of(bare.experts, alone, model, truth, weights)
            model[held] = together.fit(fitted).apply(together.evidence.part(held))
        given = model[held, truth[held]]
        return np.asarray(-np.log(np.maximum(given, 1e-9)))

    return held_loss


def _like_new_rows(weights: FloatArray) -> NDArray[np.int64]:
    """Positions of readings, repeated by their weights, so that they are distributed like new rows
    although hard examples were sampled more often."""
    n = len(weights)
    if not n or np.ptp(weights) == 0:
        return np.arange(n)
    steps = np.cumsum(weights) * (n / weights.sum())
    return np.asarray(np.searchsorted(steps, np.arange(n) + 0.5).clip(0, n - 1))


async def read_left_out(
    pipeline: Pipeline,
    examples: Sequence[Example],
    progress: Progress = silent,
) -> tuple[list[LeftOut | None], float]:
    """Read examples of the pool leave-one-out; ``None`` for a reading that fails, or has no
    probabilities of the other labels. Also returns the mean number of prompt tokens."""
    traces = []
    # A quarter of the engine's batch: on a small machine this takes seconds.
    size = min(CHUNK, max(4, pipeline.engine.capabilities.batch // 4))
    for start in range(0, len(examples), size):
        progress(FITTING, start, len(examples))
        part = examples[start : start + size]
        traces += await pipeline.trace(
            [e.fields for e in part],
            [e.id for e in part],
            exclude_ids=[{e.id} for e in part],
            leave_self_out=True,
        )
    progress(FITTING, len(examples), len(examples))
    out: list[LeftOut | None] = []
    for example, (state, posterior, _) in zip(examples, traces, strict=True):
        label = pipeline.space.require(example.label, example.id)
        if posterior is None or not posterior.probabilities or posterior.label_mass is None:
            out.append(None)
        else:
            out.append(LeftOut(label, state, posterior))
    tokens = [prediction.prompt_tokens for _, _, prediction in traces]
    return out, float(np.mean(tokens)) if tokens else 0.0


def _calibrated(
    pipeline: Pipeline, readings: Sequence[LeftOut], weights: FloatArray
) -> tuple[Pipeline, FloatArray, FloatArray]:
    """The calibration of each language, the calibrated distributions of the readings, and their
    cross-fitted distributions."""
    setups = dict(pipeline.setups)
    model = np.empty((len(readings), len(pipeline.space)))
    unseen = model.copy()
    for language, setup in pipeline.setups.items():
        mine = [i for i, reading in enumerate(readings) if reading.state.language == language]
        read = [readings[i].posterior.probabilities for i in mine]
        labels = [readings[i].label for i in mine]
        found = fit_calibration(read, labels, weights[mine])
        setups[language] = replace(setup, calibration=found)
        if mine:
            model[mine] = read if found is None else found.apply(read)
            unseen[mine] = cross_calibrated(read, labels, weights[mine])
    return replace(pipeline, setups=setups), model, unseen


def _shares(labels: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], list[float]]:
    """Examples per label, and the share of each label with add-one smoothing."""
    counts = np.bincount(labels, minlength=size)
    return counts, ((counts + 1.0) / (counts + 1.0).sum()).tolist()


def _experts_alone(experts: Experts) -> tuple[Blend, FloatArray, NDArray[np.int64]]:
    """The blend of the experts without the model, their cross-fitted leave-one-out distributions
    for the pool's examples, and the labels of these."""
    scores, labels = experts.leave_one_out()
    counts, shares = _shares(labels, len(experts.data.labels))
    usable = usable_rows(counts, labels)
    evidence = Evidence(scores)
    (prior, _), *more = expert_priors(experts.names)
    experts_only = fit_blend(evidence, labels, shares, prior, usable=usable, alternatives=more)
    answers = cross_fitted(evidence, labels, shares, prior, usable=usable, alternatives=more)
    return experts_only, answers, labels


def _fused(
    experts: Experts,
    alone: FloatArray,
    model: FloatArray,
    truth: NDArray[np.int64],
    weights: FloatArray,
    notes: list[str],
) -> tuple[Blend, FloatArray]:
    """The blend of model and experts, and the cross-fitted distributions of the readings.

    Args:
        alone: distributions of the experts without the model, for the readings.
        model: distributions of the calibrated model.
    """
    _, labels = experts.leave_one_out()
    counts, _ = _shares(labels, len(experts.data.labels))
    usable = usable_rows(counts, truth)
    if usable.sum() < MINIMUM:
        notes.append(
            f"{usable.sum()} readings of labels with {PER_LABEL} examples or more are too few to "
            "weigh the experts: they get the weights that were best on development sets"
        )
    together = _FusionInputs.of(experts, alone, model, truth, weights)
    fusion = together.fit(np.arange(len(truth)))
    return fusion, together.crossed() if len(truth) else model


def _model_excluded(
    experts: Experts,
    alone: FloatArray,
    fused: FloatArray,
    truth: NDArray[np.int64],
    weights: FloatArray,
) -> bool:
    """Whether the model is left out of the predictions. Tasks with a single text field always use
    it: on four development sets with 32 labels it was better, and held-out readings are too few to
    show this."""
    if FEATURES not in experts.names or len(truth) < MINIMUM:
        return False
    return not adds_to_experts(alone, fused, truth, weights)


@dataclass(frozen=True, slots=True)
class _FusionInputs:
    """The inputs of the fusion of model and experts."""

    evidence: Evidence
    truth: NDArray[np.int64]
    shares: list[float]
    prior: Fusion
    others: tuple[Fusion, ...]
    usable: NDArray[np.bool_]
    weights: FloatArray

    @classmethod
    def of(
        cls,
        experts: Experts,
        alone: FloatArray,
        model: FloatArray,
        truth: NDArray[np.int64],
        weights: FloatArray,
    ) -> Self:
        """The inputs for readings, from the distributions of the experts and of the calibrated
        model."""
        counts, shares = _shares(experts.leave_one_out()[1], len(experts.data.labels))
        prior, others = prior_fusion((MODEL, EXPERTS)), (EXPERTS_ALONE, MODEL_ALONE)
        usable = usable_rows(counts, truth)
        return cls(Evidence.of((), model, alone), truth, shares, prior, others, usable, weights)

    def fit(self, rows: NDArray[np.int64]) -> Blend:
        """Fit the blend on some of the readings."""
        return fit_blend(
            self.evidence.part(rows),
            self.truth[rows],
            self.shares,
            self.prior,
            self.others,
            self.usable[rows],
            weights=self.weights[rows],
        )

    def crossed(self) -> FloatArray:
        """Cross-fitted distributions of the readings."""
        return cross_fitted(
            self.evidence,
            self.truth,
            self.shares,
            self.prior,
            self.others,
            self.usable,
            weights=self.weights,
        )


def _answers_for(
    experts: Experts, experts_only: Blend, answers: FloatArray, readings: Sequence[LeftOut]
) -> FloatArray:
    """Leave-one-out distributions of the experts for the readings; cross-fitted for examples on
    which they were weighed."""
    out = np.empty((len(readings), len(experts.data.labels)))
    if readings:
        out = experts_only.apply(
            Evidence.of([r.state.opinion for r in readings if r.state.opinion])
        )
    examples = experts.data.retriever.examples
    rows = {examples[p].id: row for row, p in enumerate(experts.data.places.tolist())}
    for place, reading in enumerate(readings):
        if (row := rows.get(reading.state.id)) is not None:
            out[place] = answers[row]
    return out


def _loss(p: FloatArray, truth: NDArray[np.int64], weights: FloatArray | None = None) -> float:
    given = np.maximum(p[np.arange(len(truth)), truth], 1e-9)
    return float(-np.average(np.log(given), weights=weights))


def _right(p: FloatArray, truth: NDArray[np.int64], weights: FloatArray | None = None) -> float:
    return float(np.average(p.argmax(axis=1) == truth, weights=weights))


__all__ = ["Fitted", "fit"]
