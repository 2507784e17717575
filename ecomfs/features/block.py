"""What a feature is, and what makes a few of them together: a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.task import FieldSpec
from ecomfs.types import Language

Floats = NDArray[np.float64]
Values = Mapping[str, Any]
"""Field → typed value of one row (:func:`ecomfs.features.cells.read_cell`); ``None`` where
missing."""
Embed = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts to vectors of length one, shape (texts, dimensions); a text without content may get
zeros."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number derived from a row.

    Attributes:
        name: fields and measure, such as ``"query>product:words"``; unique in a feature set.
        en, zh: what it measures, for a reader.

    >>> Feature("age:value", "age", "年龄").title("zh")
    '年龄'
    """

    name: str
    en: str
    zh: str

    def title(self, language: Language) -> str:
        """What the feature measures, in one language."""
        return self.zh if language == "zh" else self.en


class Block(ABC):
    """Features that are derived together, from one field or a few.

    Attributes:
        features: known once the block is fitted; the columns of :meth:`values` in order.
    """

    features: tuple[Feature, ...] = ()

    def fit(self, rows: Sequence[Values]) -> None:  # noqa: B027 - many blocks learn nothing
        """Learn scales and levels from the pool's rows, where there is anything to learn; no label
        is seen."""

    @abstractmethod
    def values(self, rows: Sequence[Values]) -> Floats:
        """The features of rows.

        Args:
            rows: typed rows.

        Returns:
            Shape (rows, features). Without NaN or infinity.
        """

    @abstractmethod
    def phrases(self, row: Values, language: Language) -> list[str]:
        """What a reader is told of one row.

        Args:
            row: a typed row.
            language: of the phrases.

        Returns:
            One a feature. Features that measure one thing in several ways have the same phrase; it
            is empty where there is nothing to say.
        """


def title_of(spec: FieldSpec, language: Language) -> str:
    """A field's title inside a sentence.

    Args:
        spec: the field.
        language: of the title.

    Returns:
        In English without a capital, unless the title is an abbreviation.

    >>> query = FieldSpec(name="q", kind="text", names={"en": "Search query", "zh": "搜索词"})
    >>> title_of(query, "en")
    'search query'
    """
    title = spec.title(language)
    lowered = title[:1].lower() + title[1:]
    return title if language == "zh" or title[1:2].isupper() else lowered


def titles_of(spec: FieldSpec) -> tuple[str, str]:
    """:func:`title_of` in English and Chinese."""
    return title_of(spec, "en"), title_of(spec, "zh")


def columns(parts: Sequence[Sequence[float]], width: int) -> Floats:
    """Rows of numbers as an array that keeps its width when there is no row.

    >>> columns([], 3).shape
    (0, 3)
    """
    return np.asarray(parts, dtype=np.float64).reshape(len(parts), width)


__all__ = ["Block", "Embed", "Feature", "Floats", "Values", "columns", "title_of", "titles_of"]
