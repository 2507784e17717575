"""The options of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ecomfs.core.options import DEFAULTS, OPTIONS, OneLabelReadingOptions
from ecomfs.errors import ConfigError

MAX_LABELS = 20
"""Above this many labels, only a shortlist is put to the model."""

SHORTLIST = 8
"""Labels on it, by default."""


@dataclass(kw_only=True)
class Options(OneLabelReadingOptions):
    """How the rows of a pipeline are read: options of :mod:`ecomfs.core.options`
    (docs/options.md).

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
