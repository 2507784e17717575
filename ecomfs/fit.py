"""What is fitted on the pool, leave-one-out and without gradients.

Each of a few labelled examples is read as if it were new, with demonstrations from the rest of
the pool. The readings show the model's label bias and its confidence
(:mod:`ecomfs.read.calibrate`) and what each expert is worth (:mod:`ecomfs.read.fusion`); with
them thresholds are chosen for what the user asks to be promised (:mod:`ecomfs.read.conformal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ecomfs.decide import Policy
from ecomfs.errors import ConfigError
from ecomfs.pipeline import Case, Pipeline
from ecomfs.read import fit_calibration
from ecomfs.read.calibrate import MINIMUM
from ecomfs.read.conformal import Threshold, accept_threshold, set_threshold, skip_threshold
from ecomfs.read.fusion import PRIOR, PRIOR_CHEAP, Evidence, cross_fitted, fit_fusion
from ecomfs.read.novelty import MINIMUM as NOVELTY_MINIMUM
from ecomfs.read.novelty import Novelty, signs
from ecomfs.retrieve import Experts
from ecomfs.types import Example, Posterior

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a fit shall provide.

    Attributes:
        fusion: whether the neighbours' vote and the linear probe speak beside the model.
        max_loss: most accuracy, as a share, that may be lost by letting sure experts answer
            without the model; ``None``: the model reads every row.
        precision: of the rows that are accepted without a person; ``None``: all are accepted.
        coverage: of the prediction sets; ``None``: none are made.
        novel_below: rows that belong to no label with a p-value below this are left to a person;
            ``None``: none are.
    """

    fusion: bool = True
    max_loss: float | None = None
    precision: float | None = None
    coverage: float | None = None
    novel_below: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_loss", "precision", "coverage", "novel_below"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"{name} is {value}", hint="use a number between 0 and 1")
        if self.max_loss is not None and not self.fusion:
            raise ConfigError("max_loss needs the experts", hint="leave fusion on")


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit found, for people and for the profile.

    Attributes:
        readings: examples that were read leave-one-out.
        loss: mean log loss on them after each step, by the step's name. The calibrated ones were
            fitted on these readings and look a little better than they are; the fused one is
            cross-fitted.
        accuracy: share of right answers after each step.
        skip, accept: thresholds, with what was seen; ``None``: not wanted, or not supported.
        notes: what the user should know, one line each.
    """

    readings: int
    loss: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    skip: Threshold | None = None
    accept: Threshold | None = None
    notes: tuple[str, ...] = ()


async def calibrate(pipeline: Pipeline, examples: Sequence[Example]) -> Pipeline:
    """:func:`fit` with nothing wanted but each language's calibration and the fusion."""
    return (await fit(pipeline, examples, Wanted()))[0]


async def fit(
    pipeline: Pipeline, examples: Sequence[Example], wanted: Wanted
) -> tuple[Pipeline, Fitted]:
    """Read examples leave-one-out and fit what is wanted.

    Args:
        examples: of the pool; one reading each. Readings that fail, and text read-outs (whose
            posterior says nothing of the other labels), are left out.

    Returns:
        The pipeline with everything applied, and what was found.
    """
    experts = None
    if wanted.fusion and pipeline.retriever is not None:
        experts = Experts(pipeline.retriever, pipeline.space.names)
    bare = replace(pipeline, experts=experts, policy=Policy())
    traces = await bare.trace(
        [e.fields for e in examples],
        [e.id for e in examples],
        exclude_ids=[{e.id} for e in examples],
        leave_self_out=True,
    )
    kept = [
        (pipeline.space.require(example.label, example.id), case, posterior)
        for example, (case, posterior, _) in zip(examples, traces, strict=True)
        if posterior is not None and posterior.probabilities and posterior.label_mass is not None
    ]
    truth = np.array([label for label, _, _ in kept], dtype=np.int64)
    calibrated, model = _calibrated(bare, kept)
    notes: list[str] = []
    policy, fused = Policy(), model
    if experts is not None and (len(kept) or not examples):
        policy, fused = _fused(experts, kept, model, truth, notes)
    loss = {"read": _loss(np.array([p.probabilities for _, _, p in kept]), truth)} if kept else {}
    right = {"read": _right(np.array([p.probabilities for _, _, p in kept]), truth)} if kept else {}
    if kept:
        loss["calibrated"], right["calibrated"] = _loss(model, truth), _right(model, truth)
    if kept and policy.fusion is not None:
        loss["fused"], right["fused"] = _loss(fused, truth), _right(fused, truth)
    policy, skip, accept = _promises(policy, experts, kept, fused, truth, wanted, notes)
    report = Fitted(len(kept), loss, right, skip, accept, tuple(notes))
    return replace(calibrated, policy=policy), report


Kept = Sequence[tuple[int, Case, Posterior]]


def _calibrated(pipeline: Pipeline, kept: Kept) -> tuple[Pipeline, Floats]:
    """Each language's calibration, and the calibrated distributions of the readings."""
    voices = dict(pipeline.voices)
    for language, voice in pipeline.voices.items():
        mine = [(label, p) for label, case, p in kept if case.language == language]
        found = fit_calibration([p.probabilities for _, p in mine], [label for label, _ in mine])
        voices[language] = replace(voice, calibration=found)
    rows = []
    for _, case, posterior in kept:
        by = voices[case.language].calibration
        rows.append(posterior.probabilities if by is None else by.apply(posterior.probabilities))
    model = np.array(rows, dtype=np.float64).reshape(len(rows), len(pipeline.space))
    return replace(pipeline, voices=voices), model


def _fused(
    experts: Experts, kept: Kept, model: Floats, truth: NDArray[np.int64], notes: list[str]
) -> tuple[Policy, Floats]:
    """The weights of model and experts, and cross-fitted distributions of the readings."""
    votes, scores, labels = experts.own()
    alone = Evidence(np.full_like(votes, np.nan), votes, scores)
    cheap = fit_fusion(alone, labels, PRIOR_CHEAP)
    if len(kept) < MINIMUM:
        notes.append(
            f"{len(kept)} readings are too few to weigh the experts: they have the weights that "
            "were best on development sets"
        )
        return Policy(fusion=PRIOR, cheap=cheap), model
    opinions = [case.opinion for _, case, _ in kept]
    evidence = Evidence(
        model,
        np.array([o.vote for o in opinions if o is not None]),
        np.array([o.probe for o in opinions if o is not None]),
    )
    return Policy(fusion=fit_fusion(evidence, truth), cheap=cheap), cross_fitted(evidence, truth)


def _promises(
    policy: Policy,
    experts: Experts | None,
    kept: Kept,
    fused: Floats,
    truth: NDArray[np.int64],
    wanted: Wanted,
    notes: list[str],
) -> tuple[Policy, Threshold | None, Threshold | None]:
    """Thresholds for what was asked to be promised."""
    skip = accept = None
    if wanted.max_loss is not None and experts is not None and policy.cheap is not None:
        votes, scores, labels = experts.own()
        answers = cross_fitted(
            Evidence(np.full_like(votes, np.nan), votes, scores), labels, PRIOR_CHEAP
        )
        skip = skip_threshold(
            answers.max(axis=1), answers.argmax(axis=1) == labels, wanted.max_loss
        )
        if skip is None:
            notes.append(
                f"the experts may not answer alone: {len(labels)} examples do not show a loss of "
                f"at most {wanted.max_loss:.1%} (at least {round(1 / wanted.max_loss) - 1} are "
                "needed, and sure answers that are right)"
            )
    if wanted.precision is not None:
        accept = accept_threshold(
            fused.max(axis=1, initial=0.0), fused.argmax(axis=1) == truth, wanted.precision
        )
        if accept is None:
            notes.append(
                f"{len(truth)} readings do not show a precision of {wanted.precision:.0%} at any "
                "threshold: every row is left to a person; label more, or promise less"
            )
    policy = replace(
        policy,
        skip_from=None if skip is None else skip.value,
        accept_from=policy.accept_from
        if wanted.precision is None
        else (NEVER if accept is None else accept.value),
        set_from=None
        if wanted.coverage is None
        else set_threshold(fused[np.arange(len(truth)), truth], wanted.coverage),
    )
    if wanted.novel_below is not None or len(kept) >= NOVELTY_MINIMUM:
        policy = _with_novelty(policy, kept, fused, wanted, notes)
    return policy, skip, accept


NEVER = 2.0
"""A confidence that no row reaches."""


def _with_novelty(
    policy: Policy, kept: Kept, fused: Floats, wanted: Wanted, notes: list[str]
) -> Policy:
    opinions = [case.opinion for _, case, _ in kept if case.opinion is not None]
    if len(opinions) < len(kept) or len(kept) < NOVELTY_MINIMUM:
        if wanted.novel_below is not None:
            notes.append(
                f"{len(opinions)} readings with neighbours are too few to tell rows that belong "
                f"to no label (at least {NOVELTY_MINIMUM})"
            )
        return policy
    masses = [np.nan if p.label_mass is None else p.label_mass for _, _, p in kept]
    known = signs([o.similarity for o in opinions], fused, masses)
    return replace(policy, novelty=Novelty.fit(known), novel_below=wanted.novel_below)


def _loss(p: Floats, truth: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9)).mean())


def _right(p: Floats, truth: NDArray[np.int64]) -> float:
    return float((p.argmax(axis=1) == truth).mean())


__all__ = ["Fitted", "Wanted", "calibrate", "fit"]
