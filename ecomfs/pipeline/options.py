"""What a user may decide about a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ecomfs.errors import ConfigError
from ecomfs.features import Rendering
from ecomfs.readout import StepName
from ecomfs.retrieve import Sharing

ReadoutChoice = Literal["auto", StepName]
LanguageChoice = Literal["auto", "en", "zh"]
SimilarityChoice = Literal["auto", "text", "tabular", "mixed"]
TemplateChoice = str | Path | Mapping[str, str | Path] | None

MAX_LABELS = 20
"""Above this many labels, only a shortlist is put to the model."""

MAX_PASSES = 32

SHORTLIST = 8
"""Labels on it, by default."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may decide about a run.

    Attributes:
        k: demonstrations per prompt; ``None``: the card's default.
        language: ``auto`` (each row's own), ``en`` or ``zh``; ``None``: the card's.
        template: a version ("v1"), a template file, or one of either per language; ``None``: the
            card's version.
        readout: a step of the read-out chain (:mod:`ecomfs.readout.chain`), or ``auto``.
        strategy, order: see :class:`ecomfs.retrieve.Retriever`.
        similarity: what makes two rows alike: their ``text``, their fields (``tabular``), both
            alike (``mixed``), or ``auto``: chosen leave-one-out on the pool where a task's rows
            have fields to compare (:func:`ecomfs.retrieve.choose_similarity`), else their text.
        rendering: rows with numbers, categories or histories in ``words``, or ``raw``: their
            cells as they are.
        shortlist: how many labels are put to the model, the likeliest by the experts; 0: all;
            ``None``: all up to 20, else 8.
        sharing: demonstrations that prompts have in common, so that a server computes them once:
            ``none``, ``mixed``, ``cluster`` or ``global`` (:mod:`ecomfs.retrieve.sharing`). Not
            together with a shortlist, which chooses demonstrations by their labels.
        passes: how often a row is read, with demonstrations in other orders and other codes, the
            posteriors averaged (:mod:`ecomfs.pipeline.pipeline`).
        budget: most prompt tokens; ``None``: what the model's context holds.
        seed: code permutation and tie-breaking.

    Raises:
        ConfigError: a value out of range, or a name that is none of its choices.

    >>> Options(k=4, readout="codes").passes
    1
    >>> Options(k=-1)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: k = -1 (k is 0 (zero-shot) or more)
    """

    k: int | None = None
    language: LanguageChoice | None = None
    template: TemplateChoice = None
    readout: ReadoutChoice = "auto"
    strategy: str = "balanced"
    similarity: SimilarityChoice = "auto"
    rendering: Rendering = "words"
    shortlist: int | None = None
    sharing: Sharing = "none"
    passes: int = 1
    budget: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 0:
            raise ConfigError(f"k = {self.k}", hint="k is 0 (zero-shot) or more")
        if self.shortlist is not None and (self.shortlist < 0 or self.shortlist == 1):
            raise ConfigError(
                f"a shortlist of {self.shortlist} labels", hint="use 2 or more, or 0 for all"
            )
        if not 1 <= self.passes <= MAX_PASSES:
            raise ConfigError(f"passes = {self.passes}", hint=f"use 1 to {MAX_PASSES}")
        if self.sharing not in get_args(Sharing):
            raise ConfigError(
                f"sharing {self.sharing!r}", hint=f"use {', '.join(get_args(Sharing))}"
            )
        if self.sharing != "none" and self.shortlist:
            raise ConfigError(
                f"sharing {self.sharing!r} with a shortlist", hint="leave one of them out"
            )
        if self.language is not None and self.language not in get_args(LanguageChoice):
            raise ConfigError(f"language {self.language!r}", hint="use auto, en or zh")
        if self.readout not in get_args(ReadoutChoice):
            raise ConfigError(
                f"readout {self.readout!r}", hint=f"use {', '.join(get_args(ReadoutChoice))}"
            )
        if self.similarity not in get_args(SimilarityChoice):
            raise ConfigError(
                f"similarity {self.similarity!r}",
                hint=f"use {', '.join(get_args(SimilarityChoice))}",
            )


__all__ = [
    "MAX_LABELS",
    "MAX_PASSES",
    "SHORTLIST",
    "LanguageChoice",
    "Options",
    "ReadoutChoice",
    "SimilarityChoice",
    "TemplateChoice",
]
