"""The profile: the result of a fit, in a readable file.

A run with a profile applies its values and makes no leave-one-out readings. The profile records
what it was fitted on, so that differences are reported when it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from ecomfs.calibration import (
    EXPERTS,
    MODEL,
    Blend,
    Calibration,
    DecisionPolicy,
    Fusion,
    Novelty,
    UsualReadings,
)
from ecomfs.core.options import NO_MODEL
from ecomfs.engine.canary import same_model
from ecomfs.errors import ConfigError
from ecomfs.experts import Experts
from ecomfs.fit.fitting import Fitted
from ecomfs.fit.guarantees import NAMES, Guarantees
from ecomfs.fit.profile_file import ProfileFile, StrictRecord
from ecomfs.pipeline import LanguageSetup, Pipeline
from ecomfs.readout import CHAIN, StepName
from ecomfs.retrieve import Layout
from ecomfs.types import Example, Language


class FittedOn(StrictRecord):
    """The engine, templates and pool of a fit.

    Attributes:
        engine: fingerprint of the engine.
        templates: language → template and hash.
        pool: hash of the labelled examples.
        examples: number of labelled examples.
        labels: the label space.
        similarity: similarity of the retriever.
        answers: language → label → its answer in the prompt: its word, or its code.
        settings: option → its value; ``embedder`` is a fingerprint. Empty: not recorded.
    """

    engine: str
    templates: dict[Language, str]
    pool: str
    examples: int
    labels: tuple[str, ...]
    similarity: str
    answers: dict[Language, dict[str, str]] = Field(default_factory=dict)
    settings: dict[str, bool | int | str] = Field(default_factory=dict)


class LanguageCalibration(StrictRecord):
    """Calibration of the posteriors of one language; offsets in nats, by label.

    Examples
    --------
    >>> found = LanguageCalibration(offsets={"a": 0.2, "b": -0.2}, strength=1.0, temperature=1.5,
    ...                             readings=32)
    >>> found.temperature
    1.5
    """

    offsets: dict[str, float]
    strength: float
    temperature: float = Field(gt=0)
    readings: int

    @classmethod
    def of(cls, found: Calibration, names: Sequence[str]) -> Self:
        """Convert a calibration; its offsets are in the order of ``names``."""
        return cls(
            offsets=dict(zip(names, found.offsets, strict=True)),
            strength=found.strength,
            temperature=found.temperature,
            readings=found.readings,
        )

    def read(self, names: Sequence[str]) -> Calibration:
        """The calibration, with offsets in the order of ``names``; 0 for a missing label."""
        offsets = tuple(self.offsets.get(name, 0.0) for name in names)
        return Calibration(offsets, self.strength, self.readings, self.temperature)


class FusionWeights(StrictRecord):
    """A fusion model with weights by source; see :class:`ecomfs.calibration.fusion.Fusion`."""

    weights: dict[str, NonNegativeFloat]
    readings: int


class BlendWeights(StrictRecord):
    """See :class:`ecomfs.calibration.blend.Blend`. Shares by label.

    Examples
    --------
    >>> BlendWeights(components=(), weights=(1.0,), shares={"a": 0.5, "b": 0.5}).shares["a"]
    0.5
    """

    components: tuple[FusionWeights, ...]
    weights: tuple[NonNegativeFloat, ...]
    shares: dict[str, PositiveFloat]

    @model_validator(mode="after")
    def _distributions(self) -> Self:
        """Refuse weights that would give answers that are not distributions."""
        if len(self.weights) != len(self.components) + bool(self.shares):
            raise ValueError("give one weight per component, and one for the label shares")
        for name, values in (("weights", self.weights), ("shares", [*self.shares.values()])):
            if values and not math.isclose(sum(values), 1, abs_tol=1e-6):
                raise ValueError(f"the {name} sum to {sum(values):g}, and not to 1")
        return self

    @classmethod
    def of(cls, blend: Blend | None, names: Sequence[str]) -> Self | None:
        """Convert a blend; ``None`` for ``None``."""
        if blend is None:
            return None
        return cls(
            components=tuple(
                FusionWeights(weights=dict(c.weights), readings=c.readings)
                for c in blend.components
            ),
            weights=blend.weights,
            shares=dict(zip(names, blend.shares, strict=True)),
        )

    def read(self, names: Sequence[str]) -> Blend:
        """The blend over a label space; a missing label gets the smallest share."""
        found = Blend(
            tuple(Fusion(c.weights, c.readings) for c in self.components),
            self.weights,
            tuple(self.shares.values()),
        )
        return found.relabelled(tuple(self.shares), names)

    def sources(self) -> set[str]:
        """All sources with a weight."""
        return {name for c in self.components for name, weight in c.weights.items() if weight}


class NoveltyReference(StrictRecord):
    """See :class:`ecomfs.calibration.novelty.Novelty`."""

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    reference: tuple[float, ...]


class UsualReadingsKept(StrictRecord):
    """See :class:`ecomfs.calibration.usual_readings.UsualReadings`."""

    disagreement: float | None = None
    mass: float | None = None


class Profile(ProfileFile):
    """The result of a fit; saved as JSON.

    Attributes
    ----------
    format : int
        Version of the file format.
    task : str
        Name of the task card.
    fitted_on : FittedOn
        Engine, templates and pool.
    k : int
        Demonstrations per prompt.
    layout : {"retrieved", "shared", "both"}
        Layout of the demonstrations.
    block : tuple of str
        Ids of the shared block, in prompt order.
    readout : dict
        Language → read-out.
    prompt_format : {"completion", "chat"}
        Prompt format.
    calibration : dict
        Language → calibration; missing if there were too few readings.
    fusion, cheap, skip_from, accept_from, set_from, novelty, novel_below, usual
        See :class:`ecomfs.calibration.decision.DecisionPolicy`; ``cheap`` is its ``experts_only``.
    guarantees : dict
        The guarantees that were asked for.
    found : dict
        Number of readings, log loss and accuracy by step, notes.

    Examples
    --------
    >>> from ecomfs import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> import pathlib, tempfile
    >>> profile = Profile.of(pipeline, Fitted(0, {}, {}), Guarantees())
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "profile.json"
    >>> profile.save(path)
    >>> Profile.load(path) == profile, profile.task, profile.k == pipeline.k
    (True, 'review_sentiment', True)
    """

    format: Literal[3] = 3
    task: str
    fitted_on: FittedOn
    k: int = Field(ge=0)
    layout: Layout = "retrieved"
    block: tuple[str, ...] = ()
    readout: dict[Language, str]
    prompt_format: Literal["completion", "chat"] = "completion"
    calibration: dict[Language, LanguageCalibration] = Field(default_factory=dict)
    fusion: BlendWeights | None = None
    cheap: BlendWeights | None = None
    skip_from: float | None = None
    accept_from: float | None = None
    set_from: float | None = None
    novelty: NoveltyReference | None = None
    novel_below: float | None = None
    usual: UsualReadingsKept | None = None
    guarantees: dict[str, Any] = Field(default_factory=dict)
    found: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, pipeline: Pipeline, fitted: Fitted, guarantees: Guarantees) -> Self:
        """The profile of a pipeline that was just fitted."""
        names, policy = pipeline.space.names, pipeline.policy
        calibration = {
            language: LanguageCalibration.of(found, names)
            for language, setup in pipeline.setups.items()
            if (found := setup.calibration) is not None
        }
        return cls(
            task=pipeline.card.name,
            fitted_on=_fitted_on(pipeline),
            k=pipeline.k,
            layout="retrieved" if pipeline.layout is None else pipeline.layout.name,
            block=() if pipeline.layout is None else pipeline.layout.block,
            readout={language: setup.readout.name for language, setup in pipeline.setups.items()},
            prompt_format=pipeline.format,
            calibration=calibration,
            fusion=BlendWeights.of(policy.fusion, names),
            cheap=BlendWeights.of(policy.experts_only, names),
            skip_from=policy.skip_from,
            accept_from=policy.accept_from,
            set_from=policy.set_from,
            novelty=None if policy.novelty is None else NoveltyReference(**asdict(policy.novelty)),
            novel_below=policy.novel_below,
            usual=None if policy.usual is None else UsualReadingsKept(**asdict(policy.usual)),
            guarantees=asdict(guarantees),
            found=json.loads(json.dumps(asdict(fitted))),  # the same as after loading the file
        )

    def _repr_html_(self) -> str:
        """HTML for notebooks."""
        from ecomfs_eval.html_view import paragraph, table, view

        on = self.fitted_on
        parts = [
            paragraph(
                f"fitted on {on.examples} examples of {len(on.labels)} labels, k = {self.k}, "
                f"similarity {on.similarity}"
            )
        ]
        if self.calibration:
            kept = [
                [language, self.readout.get(language), c.readings, c.temperature, c.strength]
                for language, c in self.calibration.items()
            ]
            parts.append(
                table(["language", "read-out", "readings", "temperature", "bias removed"], kept)
            )
        if self.fusion is not None:
            parts.append(
                table(
                    ["component", "weight", "sources"],
                    [
                        [at, weight, ", ".join(f"{n} {w:.2f}" for n, w in c.weights.items())]
                        for at, (c, weight) in enumerate(
                            zip(self.fusion.components, self.fusion.weights, strict=True), 1
                        )
                    ],
                )
            )
        thresholds = {
            "confidence to skip the model": self.skip_from,
            "confidence to accept a label": self.accept_from,
            "probability for the prediction set": self.set_from,
            "novelty p-value below which a row abstains": self.novel_below,
        }
        found = [[name, value] for name, value in thresholds.items() if value is not None]
        if found:
            parts.append(table(["threshold", "probability"], found))
        asked = [[name, str(value)] for name, value in self.guarantees.items() if value is not None]
        if asked:
            parts.append(table(["guarantee", "requested"], asked))
        parts.append(paragraph(f"engine {on.engine}", note=True))
        return view(f"profile of {self.task}", *parts)

    def readout_choice(self) -> Literal["auto"] | StepName:
        """The read-out as an option of a run; if there are several, the last step of the chain."""
        if not self.readout:
            return "auto"  # it was fitted without a model
        names = {name.removeprefix("logprob-") for name in self.readout.values()}
        found: list[StepName] = [step.name for step in CHAIN if step.name in names]
        if not found:
            raise ConfigError(
                f"the profile has unknown read-outs: {', '.join(sorted(names))}",
                hint="fit again",
            )
        return found[-1]

    def differences(self, pipeline: Pipeline) -> list[str]:
        """Differences from the state in which the profile was fitted, one line each."""
        now, then = _fitted_on(pipeline), self.fitted_on
        out = []
        if self.task != pipeline.card.name:
            out.append(f"fitted for task {self.task}, used for {pipeline.card.name}")
        if not same_model(then.engine, now.engine) and pipeline.has_model:
            out.append(f"fitted on engine {then.engine}, used with {now.engine}")
        for language, template in now.templates.items():
            if then.templates and language not in then.templates:
                out.append(f"fitted in {', '.join(then.templates)}, used in {language}")
            if then.templates.get(language, template) != template:
                out.append(f"fitted on template {then.templates[language]}, used with {template}")
        if set(then.labels) != set(now.labels):
            other = sorted(set(then.labels) ^ set(now.labels))
            out.append(f"other labels: {', '.join(other[:5])}{' …' if len(other) > 5 else ''}")
        if then.pool != now.pool:
            out.append(f"fitted on {then.examples} examples, used with {now.examples} others")
        if then.similarity != now.similarity:
            out.append(f"fitted with similarity {then.similarity}, used with {now.similarity}")
        for name, value in now.settings.items():
            if name in _PROMPTED and not pipeline.has_model:
                continue
            if then.settings.get(name, value) != value:
                out.append(f"fitted with {name} {then.settings[name]}, used with {value}")
        if self.k != pipeline.k and pipeline.has_model:
            out.append(f"fitted with k = {self.k}, used with k = {pipeline.k}")
        if pipeline.layout is not None and self.k:
            if self.layout != pipeline.layout.name:
                out.append(
                    f"fitted with layout {self.layout}, used with layout {pipeline.layout.name}"
                )
            elif gone := len(set(self.block) - set(pipeline.layout.block)):
                out.append(
                    f"{gone} of the {len(self.block)} shared demonstrations it was fitted with "
                    "are not in the pool; others replace them"
                )
        for language, setup in pipeline.setups.items():
            if self.readout.get(language, setup.readout.name) != setup.readout.name:
                out.append(
                    f"fitted with read-out {self.readout[language]}, used with {setup.readout.name}"
                )
            elif changed := self._other_answers(language, setup):
                label, before, after = changed
                out.append(
                    f"fitted with the answer {before!r} for label {label!r}, used with {after!r}: "
                    "readings are not calibrated"
                )
        return out

    def _other_answers(
        self, language: Language, setup: LanguageSetup
    ) -> tuple[str, str, str] | None:
        """A label with another answer than in the fit, and both answers; ``None`` if there is none.
        The bias of a model belongs to an answer: codes are permuted by the seed and the labels."""
        then = self.fitted_on.answers.get(language, {})
        for name, answer in _answers(setup).items():
            if then.get(name, answer) != answer:
                return name, then[name], answer
        return None

    def apply(self, pipeline: Pipeline) -> Pipeline:
        """Apply the profile to a pipeline.

        Raises:
            ConfigError: the profile weighs an expert that this pool does not have, or it was fitted
                with a model and is not valid without one, or the reverse.
        """
        self._require_fit_for(pipeline)
        names = pipeline.space.names
        setups = dict(pipeline.setups)
        for language, setup in pipeline.setups.items():
            kept = self.calibration.get(language)
            if kept is None or self.readout.get(language) != setup.readout.name:
                continue
            if self._other_answers(language, setup):
                continue
            setups[language] = replace(setup, calibration=kept.read(names))
        experts = pipeline.experts
        weighed = self.fusion is not None or not pipeline.has_model
        if weighed and pipeline.retriever is not None:
            experts = Experts(pipeline.retriever, names, pipeline.card)
            used = {
                name for b in (self.fusion, self.cheap) if b is not None for name in b.sources()
            }
            if absent := sorted(used - {MODEL, EXPERTS, *experts.names}):
                raise ConfigError(
                    f"the profile weighs the expert {absent[0]!r}, which this pool does not have",
                    hint="fit again on this pool",
                )
            if self.cheap is None and EXPERTS in used:
                raise ConfigError(
                    "the profile weighs the experts together, and lacks the weight of each (cheap)",
                    hint="fit again: ecomfs fit",
                )
        cheap = None if self.cheap is None else self.cheap.read(names)
        if not pipeline.has_model and self.fitted_on.engine != NO_MODEL:
            # Values fitted with the model are not valid without it.
            return replace(pipeline, experts=experts, policy=DecisionPolicy(experts_only=cheap))
        policy = DecisionPolicy(
            fusion=None if self.fusion is None else self.fusion.read(names),
            experts_only=cheap,
            skip_from=self.skip_from,
            accept_from=self.accept_from,
            set_from=self.set_from,
            novelty=None if self.novelty is None else Novelty(**self.novelty.model_dump()),
            novel_below=self.novel_below,
            usual=None if self.usual is None else UsualReadings(**self.usual.model_dump()),
        )
        return replace(pipeline, setups=setups, experts=experts, policy=policy)

    def _require_fit_for(self, pipeline: Pipeline) -> None:
        """Refuse a profile that is not valid with a model, or without one."""
        without = self.fitted_on.engine == NO_MODEL
        if pipeline.has_model and without:
            raise ConfigError(
                "the profile was fitted without a model and does not weigh one",
                hint="fit again with the engine, or use the profile with --engine none",
            )
        if pipeline.has_model or without:
            return
        if self.cheap is None:
            raise ConfigError(
                "the profile was fitted without the experts (--no-fusion), and --engine none needs "
                "them",
                hint="fit again: ecomfs fit --engine none",
            )
        kept = [name for name in NAMES if self.guarantees.get(name) is not None]
        if kept:
            raise ConfigError(
                f"the profile guarantees {kept[0]} = {self.guarantees[kept[0]]} for answers with "
                "the model, which does not hold without it (--engine none)",
                hint="fit again: ecomfs fit --engine none",
            )


def pool_hash(examples: Iterable[Example]) -> str:
    """Hash of labelled examples, independent of their order and ids: 16 hex digits.

    Examples
    --------
    >>> pool = [Example("1", {"text": "fits"}, "positive"), Example("2", {"text": "broke"}, "no")]
    >>> pool_hash(pool) == pool_hash(pool[::-1]), len(pool_hash(pool))
    (True, 16)
    """
    lines = sorted(
        json.dumps([dict(e.fields), e.label], sort_keys=True, ensure_ascii=False, default=str)
        for e in examples
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


_PROMPTED = ("facts", "passes", "shortlist", "strategy")
"""Settings of prompts, which have no effect without a model."""


def _answers(setup: LanguageSetup) -> dict[str, str]:
    return dict(zip(setup.builder.space.names, setup.builder.answers, strict=True))


def _settings(pipeline: Pipeline) -> dict[str, bool | int | str]:
    """What determines the answers besides the other values of :class:`FittedOn`."""
    rows, retriever = pipeline.rows, pipeline.retriever
    shortlist = pipeline.label_shortlist
    found: dict[str, bool | int | str] = {
        "rendering": rows.rendering,
        "mask": "none" if pipeline.mask is None else pipeline.mask.choice,
        "facts": rows.with_facts,
        "passes": 1 + len(pipeline.extra_passes),
        "shortlist": 0 if shortlist is None else shortlist.size,
    }
    if retriever is not None:
        found["embedder"] = retriever.source.fingerprint
        found["strategy"] = type(retriever.strategy).__name__
    return found


def _fitted_on(pipeline: Pipeline) -> FittedOn:
    examples = pipeline.retriever.examples if pipeline.retriever is not None else ()
    return FittedOn(
        engine=pipeline.engine.fingerprint,
        templates={language: str(setup.builder.ref) for language, setup in pipeline.setups.items()},
        pool=pool_hash(examples),
        examples=len(examples),
        labels=pipeline.space.names,
        similarity=getattr(pipeline.retriever, "mode", "dense"),
        answers={language: _answers(setup) for language, setup in pipeline.setups.items()},
        settings=_settings(pipeline),
    )


__all__ = ["BlendWeights", "LanguageCalibration", "Profile", "pool_hash"]
