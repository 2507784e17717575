"""What is fitted on the pool, leave-one-out and without gradients.

Each of a few labelled examples is read as if it were new, with demonstrations from the rest of
the pool. The readings give the model's label bias and its confidence
(:mod:`ecomfs.calibration.calibrate`) and the weight of each expert
(:mod:`ecomfs.calibration.fusion`). With them the thresholds of guarantees are chosen
(:mod:`ecomfs.calibration.conformal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import (
    MINIMUM,
    MODEL_ALONE,
    PER_LABEL,
    PRIOR,
    PRIOR_CHEAP,
    Evidence,
    Policy,
    Threshold,
    cross_calibrated,
    cross_fitted,
    fit_blend,
    fit_calibration,
)
from ecomfs.core.progress import FITTING, Progress, silent
from ecomfs.experts import Experts
from ecomfs.fit.guarantees import Guarantees, Kept, Reading, promise
from ecomfs.fit.remarks import adds_nothing
from ecomfs.pipeline import Pipeline
from ecomfs.types import Example

Floats = NDArray[np.float64]
CHUNK = 16
"""Most readings between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit found, for people and for the profile.

    Attributes:
        readings: examples that were read leave-one-out.
        loss: mean log loss on them after each step, by the step's name; ``experts`` are those
            that cost no reading, alone. The calibrated ones were fitted on these readings and
            look a little better than they are; those of the experts and the fused ones are
            cross-fitted.
        accuracy: share of right answers after each step.
        skip, accept: thresholds, with what was seen; ``None``: not guarantees, or not supported.
        notes: what the user should know, one line each.
    """

    readings: int
    loss: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    skip: Threshold | None = None
    accept: Threshold | None = None
    notes: tuple[str, ...] = ()


async def calibrate(pipeline: Pipeline, examples: Sequence[Example]) -> Pipeline:
    """:func:`fit` with nothing guarantees but each language's calibration and the fusion."""
    return (await fit(pipeline, examples, Guarantees()))[0]


async def fit(
    pipeline: Pipeline,
    examples: Sequence[Example],
    guarantees: Guarantees,
    progress: Progress = silent,
) -> tuple[Pipeline, Fitted]:
    """Read examples leave-one-out and fit what is guarantees.

    Args:
        examples: of the pool; one reading each. Readings that fail, and text read-outs (whose
            posterior says nothing of the other labels), are left out.
        progress: told of readings done and to do.

    Returns:
        The pipeline with everything applied, and what was found.
    """
    experts = None
    if guarantees.fusion and pipeline.retriever is not None:
        experts = Experts(pipeline.retriever, pipeline.space.names)
    bare = replace(pipeline, experts=experts or pipeline.experts, policy=Policy())
    found, _ = await read_left_out(bare, examples, progress)
    kept = [reading for reading in found if reading is not None]
    truth = np.array([label for label, _, _ in kept], dtype=np.int64)
    calibrated, model, unseen = _calibrated(bare, kept)
    notes: list[str] = []
    policy, fused = Policy(), model
    if experts is not None and (len(kept) or not examples):
        policy, fused = _fused(experts, kept, unseen, truth, notes)
    steps = {"read": np.array([p.probabilities for _, _, p in kept]), "calibrated": model}
    if policy.fusion is not None and experts is not None and kept:
        steps |= {"experts": _alone(experts, kept, policy.fusion.shares), "fused": fused}
        remark = adds_nothing(policy.fusion, steps["experts"], fused, truth)
        notes += [remark] if remark else []
    loss = {name: _loss(p, truth) for name, p in steps.items() if kept}
    right = {name: _right(p, truth) for name, p in steps.items() if kept}
    policy, skip, accept = promise(policy, experts, kept, fused, truth, guarantees, notes)
    report = Fitted(len(kept), loss, right, skip, accept, tuple(notes))
    return replace(calibrated, policy=policy), report


async def read_left_out(
    pipeline: Pipeline,
    examples: Sequence[Example],
    progress: Progress = silent,
) -> tuple[list[Reading | None], float]:
    """Read examples of the pool as if they were new; ``None`` for a reading that fails, or whose
    posterior says nothing of the other labels. And the mean number of prompt tokens."""
    traces = []
    # A quarter of what the engine reads at once: on a small machine one of these takes seconds.
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
    out: list[Reading | None] = []
    for example, (state, posterior, _) in zip(examples, traces, strict=True):
        known = (
            posterior is not None and posterior.probabilities and (posterior.label_mass is not None)
        )
        label = pipeline.space.require(example.label, example.id)
        out.append((label, state, posterior) if known and posterior is not None else None)
    tokens = [prediction.prompt_tokens for _, _, prediction in traces]
    return out, float(np.mean(tokens)) if tokens else 0.0


def _calibrated(pipeline: Pipeline, kept: Kept) -> tuple[Pipeline, Floats, Floats]:
    """Each language's calibration, the calibrated distributions of the readings, and the same
    with each half of them calibrated as the other half says: an honest look at the model."""
    setups = dict(pipeline.setups)
    model = np.empty((len(kept), len(pipeline.space)))
    unseen = model.copy()
    for language, setup in pipeline.setups.items():
        mine = [i for i, (_, state, _) in enumerate(kept) if state.language == language]
        read = [kept[i][2].probabilities for i in mine]
        labels = [kept[i][0] for i in mine]
        found = fit_calibration(read, labels)
        setups[language] = replace(setup, calibration=found)
        if mine:
            model[mine] = read if found is None else [found.apply(p) for p in read]
            unseen[mine] = cross_calibrated(read, labels)
    return replace(pipeline, setups=setups), model, unseen


def _fused(
    experts: Experts, kept: Kept, model: Floats, truth: NDArray[np.int64], notes: list[str]
) -> tuple[Policy, Floats]:
    """How model and experts answer together, and cross-fitted distributions of the readings."""
    votes, scores, labels = experts.own()
    counts = np.bincount(labels, minlength=len(experts.labels))
    shares = ((counts + 1.0) / (counts + 1.0).sum()).tolist()
    known = counts >= PER_LABEL
    alone = Evidence(np.full_like(votes, np.nan), votes, scores)
    cheap = fit_blend(alone, labels, shares, PRIOR_CHEAP, usable=known[labels])
    if known[truth].sum() < MINIMUM:
        notes.append(
            f"{known[truth].sum()} readings of labels with {PER_LABEL} examples or more are too "
            "few to weigh the experts: they have the weights that were best on development sets"
        )
    opinions = [state.opinion for _, state, _ in kept]
    size = (len(kept), len(experts.labels))
    evidence = Evidence(
        model,
        np.array([o.vote for o in opinions if o is not None]).reshape(size),
        np.array([o.probe for o in opinions if o is not None]).reshape(size),
    )
    accounts = (cheap.accounts[0], MODEL_ALONE)
    fusion = fit_blend(evidence, truth, shares, PRIOR, accounts, known[truth])
    policy = Policy(fusion=fusion, cheap=cheap)
    if not len(kept):
        return policy, model
    return policy, cross_fitted(evidence, truth, shares, PRIOR, accounts, known[truth])


def _alone(experts: Experts, kept: Kept, shares: Sequence[float]) -> Floats:
    """What the experts answer without the model to the examples that were read: leave-one-out,
    and fitted as they would be if they answered alone."""
    votes, scores, labels = experts.own()
    known = np.bincount(labels, minlength=len(experts.labels)) >= PER_LABEL
    evidence = Evidence(np.full_like(votes, np.nan), votes, scores)
    answers = cross_fitted(evidence, labels, shares, PRIOR_CHEAP, usable=known[labels])
    place = {example.id: i for i, example in enumerate(experts.retriever.examples)}
    return answers[[place[state.id] for _, state, _ in kept]]


def _loss(p: Floats, truth: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9)).mean())


def _right(p: Floats, truth: NDArray[np.int64]) -> float:
    return float((p.argmax(axis=1) == truth).mean())


__all__ = ["Fitted", "calibrate", "fit"]
