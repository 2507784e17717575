"""Builds and fits a pipeline from labelled examples and options."""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

from ecomfs.core import event_loop
from ecomfs.core.options import FormatChoice, ReadoutChoice
from ecomfs.core.progress import Progress, silent
from ecomfs.embed import Embedder
from ecomfs.engine.chat import chat_model
from ecomfs.engine.protocol import Engine, SupportsPricing, has_model
from ecomfs.errors import ConfigError
from ecomfs.fit.fitting import fit
from ecomfs.fit.guarantees import Guarantees, require_fit
from ecomfs.fit.notes import rare_labels
from ecomfs.fit.profile import Profile
from ecomfs.fit.tune import Factor, TuneCandidate, tune
from ecomfs.pipeline import Options, Pipeline, build_pipeline, choose_layout
from ecomfs.pool import real_examples, sample_queries
from ecomfs.readout import chain
from ecomfs.retrieve import Layout
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Example

FORMAT_READINGS = 24
"""Readings per format if nothing else is tuned. Those of the chosen format are reused from the
reading cache."""

BLOCKS = (1, 2)
"""Numbers of the shared blocks tried besides the first."""


class ProfileWarning(UserWarning):
    """A profile is used with another engine, pool or options than it was fitted on.

    Examples
    --------
    >>> issubclass(ProfileWarning, UserWarning)  # so that a filter can make it an error
    True
    """


@dataclass(frozen=True, slots=True)
class FitPlan:
    """The plan of a fit.

    Attributes:
        guarantees: the guarantees to fit.
        readings: most leave-one-out readings; 0: nothing is fitted.
        tune: readings to tune the options that are not set, one after another: layout and shared
            block, format (completion, chat), k (the task's default, half or double of it), and
            read-out (words, codes). With 0 only the format is chosen, by 24 readings each.
        profile: an earlier fit to apply; nothing is read.

    >>> FitPlan(readings=16).guarantees.fusion
    True
    """

    guarantees: Guarantees = field(default_factory=Guarantees)
    readings: int = 48
    tune: int = 0
    profile: Profile | None = None


def fit_pipeline(
    card: TaskCard,
    examples: Sequence[Example],
    engine: Engine,
    embedder: Embedder,
    options: Options,
    plan: FitPlan,
    *,
    task: str | Path,
    pool_version: int = 0,
    progress: Progress = silent,
) -> tuple[Pipeline, Options, Profile | None]:
    """Build a pipeline and fit it as planned.

    Parameters
    ----------
    card, examples, engine, embedder, options, task, pool_version
        As in :func:`ecomfs.pipeline.build_pipeline`.
    plan : FitPlan
        Guarantees and numbers of readings.
    progress : Progress
        Called with the progress.

    Returns
    -------
    tuple of Pipeline, Options and Profile
        The pipeline, the options with the tuned values, and the profile (``None`` if nothing was
        fitted).

    Raises
    ------
    ConfigError
        A guarantee that cannot be fitted: without readings, or together with a profile that does
        not give it.
    EcomfsError
        See :func:`ecomfs.pipeline.build_pipeline`.

    Examples
    --------
    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.engine.factory import NoEngine
    >>> from ecomfs.task import load_task
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {"text": "broke at once"}, "negative"),
    ...         Example("2", {"text": "fits well"}, "positive")]
    >>> pipeline, options, profile = fit_pipeline(
    ...     load_task("review_sentiment"), pool, NoEngine(), HashedEmbedder(), Options(),
    ...     FitPlan(), task="review_sentiment")
    >>> pipeline.space.names, pipeline.policy.experts_only is not None, profile.task
    (('positive', 'negative'), True, 'review_sentiment')
    """

    def build(with_options: Options, block: Sequence[str] = (), variant: int = 0) -> Pipeline:
        return build_pipeline(
            card,
            examples,
            engine,
            embedder,
            with_options,
            task=task,
            pool_version=pool_version,
            block=block,
            variant=variant,
            progress=progress,
        )

    real = len(real_examples(examples))
    readings = min(plan.readings, real)
    require_fit(
        asdict(plan.guarantees),
        readings if has_model(engine) else real,  # the experts need no readings
        None if plan.profile is None else plan.profile.guarantees,
    )
    if plan.profile is not None:
        options = _as_profiled(options, plan.profile)
        pipeline = build(options, plan.profile.block)
        fitted = plan.profile.apply(pipeline)
        for difference in plan.profile.differences(pipeline):
            warnings.warn(f"profile: {difference}; fit again", ProfileWarning, stacklevel=3)
        return fitted, options, plan.profile
    notes: tuple[str, ...] = ()
    variant = 0
    factors = _factors(card, examples, options, engine, plan) if has_model(engine) else []
    if factors:
        each = len(examples) if plan.tune else min(FORMAT_READINGS, plan.readings)
        drawn = sample_queries(examples, each, options.seed)
        random.Random(f"tune/{options.seed}").shuffle(drawn)
        tuned = event_loop.run(
            tune(
                lambda candidate: build(_with(options, candidate), variant=candidate.block),
                _default(card, examples, options, engine, plan),
                factors,
                drawn,
                plan.tune or 2 * each,
                progress,
            )
        )
        options, variant = _with(options, tuned.chosen), tuned.chosen.block
        notes = (tuned.text(),)
    pipeline = build(options, variant=variant)
    if not readings and pipeline.has_model:
        return pipeline, options, None
    pipeline, found = event_loop.run(fit(pipeline, readings, plan.guarantees, progress))
    rare = rare_labels(pipeline)
    notes += found.notes + ((rare,) if rare else ())
    found = replace(found, notes=notes)
    return pipeline, options, Profile.of(pipeline, found, plan.guarantees)


def _with(options: Options, chosen: TuneCandidate) -> Options:
    """The options with the tuned values."""
    return replace(
        options,
        k=chosen.k,
        readout=_readout(chosen.readout),
        format=chosen.format,
        layout=chosen.layout,
    )


def _default(
    card: TaskCard, examples: Sequence[Example], options: Options, engine: Engine, plan: FitPlan
) -> TuneCandidate:
    """The default candidate."""
    space = LabelSpace.resolve(card, (e.label for e in examples))
    k = card.default_k if options.k is None else options.k
    layout = choose_layout(card, len(space), k)
    return TuneCandidate(
        k,
        _readouts(engine, options)[0] if plan.tune else options.readout,
        _formats(engine, options, plan)[0],
        layout if options.layout == "auto" else options.layout,
    )


def _factors(
    card: TaskCard, examples: Sequence[Example], options: Options, engine: Engine, plan: FitPlan
) -> list[Factor]:
    """The factors that the options leave open, with their values besides the default, the most
    important first; without a tuning budget, only the format."""
    default = _default(card, examples, options, engine, plan)
    formats = Factor("format", tuple(_formats(engine, options, plan)[1:]))
    if not plan.tune:
        return [formats] if formats.values else []
    layouts: tuple[Layout, ...] = get_args(Layout)
    choice = options.layout == "auto" and default.k > 0
    ks = (default.k // 2, 2 * default.k) if options.k is None and default.k > 1 else ()
    return [
        Factor("layout", tuple(n for n in layouts if choice and n != default.layout)),
        formats,
        Factor("k", ks),
        Factor("readout", tuple(_readouts(engine, options)[1:])),
        Factor("block", BLOCKS if default.k and (choice or default.layout != "retrieved") else ()),
    ]


def _readouts(engine: Engine, options: Options) -> list[str]:
    """The candidate read-outs, the default first. Later steps of the chain are for engines that
    support no earlier one."""
    allowed = chain.steps(engine, options.readout)
    return [step.name for step in allowed if step.readout is allowed[0].readout]


def _formats(engine: Engine, options: Options, plan: FitPlan) -> list[FormatChoice]:
    """The candidate formats, the default first. With paid engines they are compared only with a
    tuning budget."""
    cheap = not isinstance(engine, SupportsPricing) or engine.price(1000, 1) == 0
    reads = plan.tune or (plan.readings and cheap)
    if options.format != "auto" or not reads or chat_model(engine) is None:
        return [options.format]
    return ["completion", "chat"]


def _as_profiled(options: Options, profile: Profile) -> Options:
    """The options; those that the user did not set come from the profile."""
    return replace(
        options,
        k=profile.k if options.k is None else options.k,
        layout=profile.layout if options.layout == "auto" else options.layout,
        readout=profile.readout_choice() if options.readout == "auto" else options.readout,
        format=profile.prompt_format if options.format == "auto" else options.format,
    )


def _readout(name: str) -> ReadoutChoice:
    if name not in get_args(ReadoutChoice):
        raise ConfigError(f"readout {name!r}", hint=f"use {', '.join(get_args(ReadoutChoice))}")
    return cast(ReadoutChoice, name)


__all__ = ["FitPlan", "ProfileWarning", "fit_pipeline"]
