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
from ecomfs.fit.promises import Kept, Reading, Wanted, promise
from ecomfs.pipeline import Pipeline
from ecomfs.read import fit_calibration
from ecomfs.read.calibrate import MINIMUM
from ecomfs.read.conformal import Threshold
from ecomfs.read.fusion import PRIOR, PRIOR_CHEAP, Evidence, cross_fitted, fit_fusion
from ecomfs.retrieve import Experts
from ecomfs.types import Example

Floats = NDArray[np.float64]


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
    kept = [found for found in (await read_left_out(bare, examples))[0] if found is not None]
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
    policy, skip, accept = promise(policy, experts, kept, fused, truth, wanted, notes)
    report = Fitted(len(kept), loss, right, skip, accept, tuple(notes))
    return replace(calibrated, policy=policy), report


async def read_left_out(
    pipeline: Pipeline, examples: Sequence[Example]
) -> tuple[list[Reading | None], float]:
    """Read examples of the pool as if they were new; ``None`` for a reading that fails, or whose
    posterior says nothing of the other labels. And the mean number of prompt tokens."""
    traces = await pipeline.trace(
        [e.fields for e in examples],
        [e.id for e in examples],
        exclude_ids=[{e.id} for e in examples],
        leave_self_out=True,
    )
    out: list[Reading | None] = []
    for example, (case, posterior, _) in zip(examples, traces, strict=True):
        known = (
            posterior is not None and posterior.probabilities and (posterior.label_mass is not None)
        )
        label = pipeline.space.require(example.label, example.id)
        out.append((label, case, posterior) if known and posterior is not None else None)
    tokens = [prediction.prompt_tokens for _, _, prediction in traces]
    return out, float(np.mean(tokens)) if tokens else 0.0


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


def _loss(p: Floats, truth: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9)).mean())


def _right(p: Floats, truth: NDArray[np.int64]) -> float:
    return float((p.argmax(axis=1) == truth).mean())


__all__ = ["Fitted", "calibrate", "fit"]
