"""The options of a pipeline; :mod:`ecomfs.core.options` defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from ecomfs.core.options import DEFAULTS, OPTIONS
from ecomfs.errors import ConfigError
from ecomfs.features import Rendering
from ecomfs.readout import StepName
from ecomfs.retrieve import Layout
from ecomfs.screen import MaskChoice

ReadoutChoice = Literal["auto", StepName]
LanguageChoice = Literal["auto", "en", "zh"]
SimilarityChoice = Literal["auto", "text", "tabular", "mixed"]
FormatChoice = Literal["auto", "completion", "chat"]
LayoutChoice = Literal["auto", Layout]
SuspiciousChoice = Literal["flag", "review", "experts"]
TemplateChoice = str | Path | Mapping[str, str | Path] | None

MAX_LABELS = 20
"""Above this many labels, only a shortlist is put to the model."""

SHORTLIST = 8
"""Labels on it, by default."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a pipeline, by the names and with the defaults of
    :mod:`ecomfs.core.options` (docs/options.md).

    Raises:
        ConfigError: a value out of range, or options that exclude each other.

    >>> Options(k=4, readout="codes").passes
    1
    >>> Options(passes=0)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: passes = 0 (passes is a whole number from 1 to 32)
    """

    k: int | None = DEFAULTS["k"]
    language: LanguageChoice | None = DEFAULTS["language"]
    template: TemplateChoice = DEFAULTS["template"]
    format: FormatChoice = DEFAULTS["format"]
    readout: ReadoutChoice = DEFAULTS["readout"]
    strategy: str = DEFAULTS["strategy"]
    similarity: SimilarityChoice = DEFAULTS["similarity"]
    rendering: Rendering = DEFAULTS["rendering"]
    facts: bool = DEFAULTS["facts"]
    shortlist: int | None = DEFAULTS["shortlist"]
    layout: LayoutChoice = DEFAULTS["layout"]
    fence: bool = DEFAULTS["fence"]
    suspicious: SuspiciousChoice = DEFAULTS["suspicious"]
    mask: MaskChoice = DEFAULTS["mask"]
    passes: int = DEFAULTS["passes"]
    budget: int | None = DEFAULTS["budget"]
    seed: int = DEFAULTS["seed"]
    cascade: bool = DEFAULTS["cascade"]

    def __post_init__(self) -> None:
        for field in fields(self):
            OPTIONS[field.name].check(getattr(self, field.name))
        if self.shortlist == 1:
            raise ConfigError("a shortlist of 1 label", hint="use 2 or more, or 0 for all")
