"""Rows of numbers, categories and histories as vectors whose inner product is their similarity.

A feature map of Gower's similarity (:class:`ecomfs.features.GowerSpace`, which gives scales,
categories and weights), so that rows use the same index, strategies and vote as texts:

- a number x in [0, 1] becomes the first terms of the cosine series of 1 − |x − y|,
  ½ + Σ 4/(π²m²) · cos(mπ(x − y)) over odd m, each term a cosine and a sine of x;
- a category becomes one of as many places as the pool has categories, one more being for all
  others;
- a history becomes its set of kinds (cosine in place of Jaccard) and its last kind, half each; an
  empty one counts as missing;
- the relations between fields (:class:`ecomfs.features.Relations`), such as what two texts share,
  are further numbers.

A field without a value adds nothing, and rows are scaled to length one. A pair that lacks some
fields is thus divided by the geometric mean of the two rows' weights where Gower divides by the
weight of the fields both have: rows that share little cannot be near each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Vectors, unit_rows
from ecomfs.features import NUMERIC, GowerSpace, ReadRow, Relations
from ecomfs.task import FieldSpec
from ecomfs.types import Row

_WAVES = np.array([1, 3, 5, 7])  # 1 − |x − y| is approximated within 0.03, except at its peak
_BATCH = 4096


class TabularSpace:
    """Rows as unit vectors.

    A cell that is not of its field's kind counts as missing: the renderer of the row reports it.

    Parameters
    ----------
    specs
        The fields; JSON and ids are not compared, and texts only beside others or histories.

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
        """Learn scales and categories from the pool, and with its labels the fields' weights."""
        self._space.fit(self._related(rows), labels)
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Field → weight."""
        return self._space.weights

    def embed(self, rows: Sequence[Row]) -> Vectors:
        """Vectors, shape (rows, dimensions): 9 places per number, one per category; a row without
        any value is all zeros.

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
        """:meth:`fit` on rows that are read."""
        self._space.fit_read(rows, labels)
        return self

    def embed_read(self, rows: Sequence[ReadRow]) -> Vectors:
        """:meth:`embed` of rows that are read."""
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
    """Shape (rows, 1 + 2 · waves), of length one; zeros where the number is missing."""
    shares = 4 / (np.pi * _WAVES) ** 2
    shares *= 0.5 / shares.sum()  # what the series leaves out goes to the terms that are kept
    # Outside the pool's range a number counts as its nearest end: the series is periodic.
    angles = np.pi * np.clip(numbers, 0, 1)[:, None] * _WAVES
    half = np.full((len(numbers), 1), np.sqrt(0.5))
    found = np.hstack([half, np.sqrt(shares) * np.cos(angles), np.sqrt(shares) * np.sin(angles)])
    found[np.isnan(numbers)] = 0
    return np.asarray(found, dtype=np.float32)


def _one_hot(codes: NDArray[np.int32], kinds: int) -> NDArray[np.float32]:
    """Shape (rows, kinds + 1); the last place is of what the pool does not have."""
    places = np.where(codes == -2, kinds, codes)
    found = np.zeros((len(codes), kinds + 1), dtype=np.float32)
    known = np.flatnonzero(places >= 0)
    found[known, places[known]] = 1
    return found
