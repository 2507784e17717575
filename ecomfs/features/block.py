"""Base types of features: ``Feature``, and ``Block``, which computes a few features together."""

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
"""Field → typed value of one row (:func:`ecomfs.features.cells.read_cell`); ``None``: missing."""
Embed = Callable[[Sequence[str]], NDArray[np.floating]]
"""Converts texts to unit vectors, shape (texts, dimensions); an empty text may give zeros."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number derived from a row.

    Attributes:
        name: fields and measure, such as ``"query>product:words"``; unique in a feature set.
        en, zh: description in English and Chinese.

    >>> Feature("age:value", "age", "年龄").title("zh")
    '年龄'
    """

    name: str
    en: str
    zh: str

    def title(self, language: Language) -> str:
        """The description of the feature in one language."""
        return self.zh if language == "zh" else self.en


class Block(ABC):
    """Features that are computed together, from one or a few fields.

    Attributes:
        features: the columns of :meth:`values` in order; known after :meth:`fit`.
    """

    features: tuple[Feature, ...] = ()

    def fit(self, rows: Sequence[Values]) -> None:  # noqa: B027 - many blocks learn nothing
        """Learn scales and levels from the rows of the pool, without their labels. Many blocks have
        nothing to learn."""

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
        """The features of one row in words.

        Args:
            row: a typed row.
            language: language of the phrases.

        Returns:
            One phrase per feature; empty if there is nothing to say. Features that measure the same
            thing in several ways have the same phrase.
        """


def title_of(spec: FieldSpec, language: Language) -> str:
    """The title of a field for use inside a sentence.

    Args:
        spec: the field.
        language: language of the title.

    Returns:
        The title; in English without a capital letter, unless it is an abbreviation.

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
    """Rows of numbers as an array of the given width, also when there are no rows.

    >>> columns([], 3).shape
    (0, 3)
    """
    return np.asarray(parts, dtype=np.float64).reshape(len(parts), width)


__all__ = ["Block", "Embed", "Feature", "Floats", "Values", "columns", "title_of", "titles_of"]
