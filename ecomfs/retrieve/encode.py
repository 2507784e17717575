"""Rows to the vectors that are searched: of their text, of their fields, or of both.

A mix of two similarities is one inner product of joined vectors,

    α · ⟨fields, fields'⟩ + (1 − α) · ⟨text, text'⟩

so that every index and strategy serves it. Both are first brought to one scale, each divided by
its standard deviation between examples of the pool: cosines of some embedders all lie within
0.1, and would otherwise not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Embedder, Vectors
from ecomfs.errors import ConfigError
from ecomfs.retrieve.tabular import TabularSpace
from ecomfs.task import FieldSpec
from ecomfs.types import Example, Row

RetrievalMode = Literal["dense", "tabular", "mixed"]

SCALE_SAMPLE = 512
"""Examples between which the scale of similarities is measured, spread evenly over the pool."""
_LEAST_SPREAD = 1e-6


class Encoder(Protocol):
    """Rows to unit vectors."""

    def embed(self, texts: Sequence[str], rows: Sequence[Row] | None, *, query: bool) -> Vectors:
        """One vector per row, shape (rows, dimensions).

        Parameters
        ----------
        texts
            The rows as text.
        rows
            Their fields.
        query
            Whether they are to be classified, or examples of the pool.

        Raises
        ------
        ConfigError
            Fields are needed and not given, or not aligned with ``texts``.
        """
        ...


class TextEncoder:
    """By text alone."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed(self, texts: Sequence[str], rows: Sequence[Row] | None, *, query: bool) -> Vectors:
        """The embedder's vectors."""
        return self._embedder.embed(texts, query=query)


class TabularEncoder:
    """By fields alone."""

    def __init__(self, space: TabularSpace) -> None:
        self._space = space

    def embed(self, texts: Sequence[str], rows: Sequence[Row] | None, *, query: bool) -> Vectors:
        """The space's vectors."""
        return self._space.embed(_aligned(texts, rows))


class MixedEncoder:
    """By both.

    Parameters
    ----------
    embedder, space
        Both fitted.
    examples, texts
        The pool, whose similarities set the scales.
    weight
        Of the fields, 0 to 1; 0.5: both count alike.
    """

    def __init__(
        self,
        embedder: Embedder,
        space: TabularSpace,
        examples: Sequence[Example],
        texts: Sequence[str],
        weight: float,
    ) -> None:
        self._embedder = embedder
        self._space = space
        places = sample_places(len(texts))
        fields = spread(space.embed([examples[p].fields for p in places]))
        words = spread(embedder.embed([texts[p] for p in places], query=False))
        self.share = mixed_share(weight, fields, words)
        """α of the formula above."""

    def embed(self, texts: Sequence[str], rows: Sequence[Row] | None, *, query: bool) -> Vectors:
        """Fields first, then text."""
        fields = self._space.embed(_aligned(texts, rows)) * np.float32(np.sqrt(self.share))
        words = self._embedder.embed(texts, query=query) * np.float32(np.sqrt(1 - self.share))
        return np.concatenate([fields, words], axis=1)


def open_encoder(
    mode: str,
    embedder: Embedder,
    examples: Sequence[Example],
    texts: Sequence[str],
    fields: Sequence[FieldSpec],
    weight: float,
) -> Encoder:
    """The encoder of a retrieval mode, fitted on the pool.

    Parameters
    ----------
    mode
        ``dense`` (text), ``tabular`` (fields) or ``mixed``.
    embedder
        Fitted.
    fields
        Of the rows, for ``tabular`` and ``mixed``.
    weight
        Of the fields in ``mixed``.

    Raises
    ------
    ConfigError
        Another mode, no field that can be compared, or a weight out of range.
    """
    if mode not in get_args(RetrievalMode):
        hint = f"choose {', '.join(get_args(RetrievalMode))}"
        raise ConfigError(f"no retrieval mode {mode!r}", hint=hint)
    if mode == "dense":
        return TextEncoder(embedder)
    if not 0 <= weight <= 1:
        raise ConfigError(f"the fields' weight is {weight}", hint="use a number from 0 to 1")
    space = TabularSpace(fields).fit([e.fields for e in examples], [e.label for e in examples])
    if mode == "tabular":
        return TabularEncoder(space)
    return MixedEncoder(embedder, space, examples, texts, weight)


def mixed_share(weight: float, fields: float, words: float) -> float:
    """α: the fields' weight once both similarities are divided by their spreads.

    >>> mixed_share(0.5, 0.2, 0.2), round(mixed_share(0.5, 0.3, 0.1), 2), mixed_share(1, 0.3, 0.1)
    (0.5, 0.25, 1.0)
    """
    by_fields, by_words = weight / fields, (1 - weight) / words
    return by_fields / (by_fields + by_words)


def sample_places(size: int) -> list[int]:
    """At most 512 places of a pool, spread evenly.

    >>> sample_places(3), len(sample_places(1000))
    ([0, 1, 2], 500)
    """
    return list(range(0, size, max(1, -(-size // SCALE_SAMPLE))))


def spread(vectors: Vectors, others: Vectors | None = None) -> float:
    """Standard deviation of the similarity between two different examples.

    Parameters
    ----------
    vectors
        Of the examples.
    others
        Of the same examples, where an embedder encodes queries and examples differently.

    Examples
    --------
    >>> spread(np.eye(2, dtype=np.float32))
    0.05
    """
    right = vectors if others is None else others
    return deviation(vectors.astype(np.float64) @ right.T)


def deviation(similarities: NDArray[np.floating]) -> float:
    """Standard deviation of a square of similarities without its diagonal.

    >>> deviation(np.array([[1.0, 0.2], [0.4, 1.0]]))
    0.1...
    """
    different = similarities[~np.eye(len(similarities), dtype=bool)]
    found = float(different.std(dtype=np.float64)) if len(different) else 0.0
    # Identical examples only, or a single one: no scale of their own.
    return found if found > _LEAST_SPREAD else 0.05


def _aligned(texts: Sequence[str], rows: Sequence[Row] | None) -> Sequence[Row]:
    if rows is None:
        raise ConfigError(
            "rows are compared by their fields, and only their texts are given",
            hint="give rows= beside the texts",
        )
    if len(rows) != len(texts):
        raise ConfigError(f"{len(texts)} texts but {len(rows)} rows")
    return rows
