"""The options of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ecomfs.core.options import DEFAULTS, OPTIONS, OneLabelReadingOptions
from ecomfs.errors import ConfigError

MAX_LABELS = 20
"""Above this number of labels, prompts have only a shortlist of them."""

SHORTLIST = 8
"""Default size of the shortlist."""


@dataclass(kw_only=True)
class Options(OneLabelReadingOptions):
    """The options of a pipeline, from :mod:`ecomfs.core.options` (docs/options.md).

    Raises:
        ConfigError: a value out of range, or options that exclude each other.

    >>> Options(k=4, readout="codes").passes
    1
    >>> Options(passes=0)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: passes = 0 (passes is a whole number from 1 to 32)
    """

    cascade: bool = DEFAULTS["cascade"]

    def __post_init__(self) -> None:
        for field in fields(self):
            OPTIONS[field.name].check(getattr(self, field.name))
        if self.shortlist == 1:
            raise ConfigError("a shortlist of 1 label", hint="use 2 or more, or 0 for all")
