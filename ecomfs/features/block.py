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

    Attributes
    ----------
    name : str
        Fields and measure, such as ``"query>product:words"``; unique in a feature set.
    en, zh : str
        What it measures, for a reader.

    Examples
    --------
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

    Attributes
    ----------
    features : tuple of Feature
        Known once the block is fitted; the columns of :meth:`values` in order.
    """

    features: tuple[Feature, ...] = ()

    @abstractmethod
    def fit(self, rows: Sequence[Values]) -> None:
        """Learn scales and levels from the pool's rows; no label is seen.

        Parameters
        ----------
        rows : sequence of Values
            Typed rows of the pool.
        """

    @abstractmethod
    def values(self, rows: Sequence[Values]) -> Floats:
        """The features of rows.

        Parameters
        ----------
        rows : sequence of Values
            Typed rows.

        Returns
        -------
        ndarray of float64, shape (rows, features)
            Without NaN or infinity.
        """

    @abstractmethod
    def phrases(self, row: Values, language: Language) -> list[str]:
        """What a reader is told of one row.

        Parameters
        ----------
        row : Values
            A typed row.
        language : {"en", "zh"}
            Of the phrases.

        Returns
        -------
        list of str
            One a feature. Features that measure one thing in several ways have the same phrase;
            it is empty where there is nothing to say.
        """


def title_of(spec: FieldSpec, language: Language) -> str:
    """A field's title inside a sentence.

    Parameters
    ----------
    spec : FieldSpec
        The field.
    language : {"en", "zh"}
        Of the title.

    Returns
    -------
    str
        In English without a capital, unless the title is an abbreviation.

    Examples
    --------
    >>> query = FieldSpec(name="q", kind="text", names={"en": "Search query", "zh": "搜索词"})
    >>> title_of(query, "en")
    'search query'
    """
    title = spec.title(language)
    lowered = title[:1].lower() + title[1:]
    return title if language == "zh" or title[1:2].isupper() else lowered


def columns(parts: Sequence[Sequence[float]], width: int) -> Floats:
    """Rows of numbers as an array that keeps its width when there is no row.

    Examples
    --------
    >>> columns([], 3).shape
    (0, 3)
    """
    return np.asarray(parts, dtype=np.float64).reshape(len(parts), width)


__all__ = ["Block", "Embed", "Feature", "Floats", "Values", "columns", "title_of"]
