"""Encodes rows of numbers, categories and histories as vectors whose inner product is their
similarity.

It is a feature map of Gower similarity (:class:`ecomfs.features.GowerSpace`, which gives scales,
categories and weights), so that rows use the same index, strategies and vote as texts:

- a number x in [0, 1] becomes the first terms of the cosine series of 1 − |x − y|,
  ½ + Σ 4/(π²m²) · cos(mπ(x − y)) over odd m, each term a cosine and a sine of x;
- a category is one-hot encoded over the categories of the pool, with one more entry for all
  others;
- a history becomes its set of kinds (cosine instead of Jaccard) and its last kind, with half of the
  weight each; an empty history counts as missing;
- the relations between fields (:class:`ecomfs.features.Relations`), such as the overlap of two
  texts, are further numbers.

A missing value adds nothing, and rows are scaled to length one. So the similarity of two rows with
missing values is divided by the geometric mean of their weights, where Gower divides by the weight
of the fields that both have: rows with few common fields cannot be near each other.

A mix of the similarities of fields and text is one inner product of concatenated vectors,

    α · ⟨fields, fields'⟩ + (1 − α) · ⟨text, text'⟩

so that every index and strategy can use it. Each similarity is first divided by its standard
deviation between examples of the pool: the cosines of some embedders are all within 0.1, and would
hardly count otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Embedder, Vectors, unit_rows
from ecomfs.errors import ConfigError
from ecomfs.features import NUMERIC, GowerSpace, ReadRow, Relations
from ecomfs.task import FieldSpec
from ecomfs.types import Example, Row

_WAVES = np.array([1, 3, 5, 7])  # 1 − |x − y| is approximated within 0.03, except at its peak
_BATCH = 4096


class TabularSpace:
    """Encodes rows as unit vectors.

    A cell that is not of its field's kind counts as missing; rendering the row reports the error.

    Parameters
    ----------
    specs
        The fields. JSON and ids are not compared; texts only in relation to other texts or
        histories.

    Raises
    ------
    ConfigError
        No field can be compared.

    Examples
    --------
    >>> fields = [FieldSpec(name="age", kind="number"), FieldSpec(name="plan", kind="category")]
    >>> pool = [{"age": 20, "plan": "a"}, {"age": 30, "plan": "b"}, {"age": 40, "plan": "b"}]
    >>> vectors = TabularSpace(fields).fit(pool).embed(pool)
    >>> (vectors @ vectors.T).astype(float).round(1).tolist()
    [[1.0, 0.3, 0.2], [0.3, 1.0, 0.8], [0.2, 0.8, 1.0]]
    """

    def __init__(self, specs: Sequence[FieldSpec]) -> None:
        self._relations = Relations(specs)
        self._space = GowerSpace([*specs, *self._relations.specs], strict=False)

    def fit(self, rows: Sequence[Row], labels: Sequence[str] | None = None) -> Self:
        """Learn scales and categories from the pool, and weights of the fields from its labels, if
        given."""
        self._space.fit(self._related(rows), labels)
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Field → weight."""
        return self._space.weights

    def embed(self, rows: Sequence[Row]) -> Vectors:
        """Vectors, shape (rows, dimensions): 9 entries per number, one per category; all zeros for
        a row without values.

        Raises
        ------
        ConfigError
            Not fitted.
        """
        return self.embed_read(self.read(rows))

    def read(self, rows: Sequence[Row]) -> list[ReadRow]:
        """See :meth:`ecomfs.features.GowerSpace.read`."""
        return self._space.read(self._related(rows))

    def fit_read(self, rows: Sequence[ReadRow], labels: Sequence[str] | None = None) -> Self:
        """:meth:`fit` on rows from :meth:`read`."""
        self._space.fit_read(rows, labels)
        return self

    def embed_read(self, rows: Sequence[ReadRow]) -> Vectors:
        """:meth:`embed` rows from :meth:`read`."""
        parts = [self._embed(rows[at : at + _BATCH]) for at in range(0, len(rows), _BATCH)]
        return np.concatenate(parts) if parts else self._embed([])

    def _related(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with their relations as further fields."""
        found = self._relations.read(rows)
        return [{**row, **own} for row, own in zip(rows, found, strict=True)]

    def _embed(self, rows: Sequence[ReadRow]) -> Vectors:
        space = self._space
        encoded = space.encode_read(rows)
        blocks: list[NDArray[np.float32]] = []
        numbers, codes, histories = iter(encoded.numbers.T), iter(encoded.codes.T), 0
        for spec in space.specs:
            scale = np.sqrt(np.float32(space.weights[spec.name]))
            if spec.kind in NUMERIC:
                blocks.append(scale * _waves(next(numbers)))
                continue
            last = _one_hot(next(codes), space.kinds(spec.name))
            if spec.kind == "history":
                half = scale * np.float32(np.sqrt(0.5))
                sets, sizes = encoded.members[histories], encoded.sizes[:, histories, None]
                blocks.append(half * sets / np.sqrt(np.maximum(sizes, 1)))
                scale, histories = half, histories + 1
            blocks.append(scale * last)
        return unit_rows(np.concatenate(blocks, axis=1))


def _waves(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encoded numbers, shape (rows, 1 + 2 · waves), of length one; zeros for missing numbers."""
    shares = 4 / (np.pi * _WAVES) ** 2
    shares *= 0.5 / shares.sum()  # the kept terms get the weight of those left out
    # The series is periodic, so numbers are clipped to the range of the pool.
    angles = np.pi * np.clip(numbers, 0, 1)[:, None] * _WAVES
    half = np.full((len(numbers), 1), np.sqrt(0.5))
    found = np.hstack([half, np.sqrt(shares) * np.cos(angles), np.sqrt(shares) * np.sin(angles)])
    found[np.isnan(numbers)] = 0
    return np.asarray(found, dtype=np.float32)


def _one_hot(codes: NDArray[np.int32], kinds: int) -> NDArray[np.float32]:
    """One-hot codes, shape (rows, kinds + 1); the last entry is for values not in the pool."""
    places = np.where(codes == -2, kinds, codes)
    found = np.zeros((len(codes), kinds + 1), dtype=np.float32)
    known = np.flatnonzero(places >= 0)
    found[known, places[known]] = 1
    return found


RetrievalMode = Literal["dense", "tabular", "mixed"]

SCALE_SAMPLE = 512
"""Number of examples, spread evenly over the pool, for measuring the scale of similarities."""
_LEAST_SPREAD = 1e-6


class FieldEncoder:
    """Encodes rows as unit vectors, by their fields or by their fields and text.

    Parameters
    ----------
    space
        The fitted space of the fields.
    embedder
        The fitted embedder for the text; ``None``: only fields are compared.
    share
        Share of the fields: α in the formula above.
    """

    def __init__(
        self, space: TabularSpace, embedder: Embedder | None = None, share: float = 1.0
    ) -> None:
        self._space, self._embedder, self._share = space, embedder, share

    def embed(self, texts: Sequence[str], rows: Sequence[Row] | None, *, query: bool) -> Vectors:
        """One vector per row, shape (rows, dimensions): fields first, then text.

        Parameters
        ----------
        texts
            The rows as text.
        rows
            Their fields.
        query
            ``True`` for rows to classify, ``False`` for examples of the pool.

        Raises
        ------
        ConfigError
            Fields are not given, or not aligned with ``texts``.
        """
        if rows is None:
            raise ConfigError(
                "rows are compared by their fields, and only their texts are given",
                hint="give rows= in addition to the texts",
            )
        if len(rows) != len(texts):
            raise ConfigError(f"{len(texts)} texts but {len(rows)} rows")
        fields = self._space.embed(rows)
        if self._embedder is None:
            return fields
        words = self._embedder.embed(texts, query=query) * np.float32(np.sqrt(1 - self._share))
        return np.concatenate([fields * np.float32(np.sqrt(self._share)), words], axis=1)


def open_encoder(
    mode: str,
    embedder: Embedder,
    examples: Sequence[Example],
    texts: Sequence[str],
    fields: Sequence[FieldSpec],
    weight: float,
) -> FieldEncoder | None:
    """The encoder for a retrieval mode, fitted on the pool; ``None`` for ``dense``, which uses the
    embedder alone.

    Parameters
    ----------
    mode
        ``dense`` (text), ``tabular`` (fields) or ``mixed``.
    embedder
        The fitted embedder.
    fields
        The fields, for ``tabular`` and ``mixed``.
    weight
        Weight of the fields in ``mixed``.

    Raises
    ------
    ConfigError
        An unknown mode, no field that can be compared, or a weight out of range.
    """
    if mode not in get_args(RetrievalMode):
        hint = f"choose {', '.join(get_args(RetrievalMode))}"
        raise ConfigError(f"unknown retrieval mode {mode!r}", hint=hint)
    if mode == "dense":
        return None
    if not 0 <= weight <= 1:
        raise ConfigError(f"the fields' weight is {weight}", hint="use a number from 0 to 1")
    space = TabularSpace(fields).fit([e.fields for e in examples], [e.label for e in examples])
    if mode == "tabular":
        return FieldEncoder(space)
    places = sample_places(len(texts))
    by_fields = spread(space.embed([examples[p].fields for p in places]))
    by_words = spread(embedder.embed([texts[p] for p in places], query=False))
    return FieldEncoder(space, embedder, mixed_share(weight, by_fields, by_words))


def mixed_share(weight: float, fields: float, words: float) -> float:
    """α: the weight of the fields after both similarities are divided by their spreads.

    >>> mixed_share(0.5, 0.2, 0.2), round(mixed_share(0.5, 0.3, 0.1), 2), mixed_share(1, 0.3, 0.1)
    (0.5, 0.25, 1.0)
    """
    by_fields, by_words = weight / fields, (1 - weight) / words
    return by_fields / (by_fields + by_words)


def sample_places(size: int) -> list[int]:
    """At most 512 positions of a pool, spread evenly.

    >>> sample_places(3), len(sample_places(1000))
    ([0, 1, 2], 500)
    """
    return list(range(0, size, max(1, -(-size // SCALE_SAMPLE))))


def spread(vectors: Vectors, others: Vectors | None = None) -> float:
    """Standard deviation of the similarity between two different examples.

    Parameters
    ----------
    vectors
        Vectors of the examples.
    others
        Vectors of the same examples as queries, if the embedder encodes these differently.

    Examples
    --------
    >>> spread(np.eye(2, dtype=np.float32))
    0.05
    """
    right = vectors if others is None else others
    return deviation(vectors.astype(np.float64) @ right.T)


def deviation(similarities: NDArray[np.floating]) -> float:
    """Standard deviation of a square matrix of similarities without its diagonal.

    >>> deviation(np.array([[1.0, 0.2], [0.4, 1.0]]))
    0.1...
    """
    different = similarities[~np.eye(len(similarities), dtype=bool)]
    found = float(different.std(dtype=np.float64)) if len(different) else 0.0
    # A single example or identical ones have no scale.
    return found if found > _LEAST_SPREAD else 0.05
