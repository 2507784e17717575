"""The ridge probe: a linear classifier on embeddings.

Ridge regression from centred embeddings to one column per label, solved in closed form.
Leave-one-out scores come from the same solution, so it costs one matrix decomposition and no model
call.

Source: the leave-one-out identity of linear smoothers, Hastie, Tibshirani, Friedman, *The Elements
of Statistical Learning*, section 7.10. Copies of an example are left out with it, by the block form
of the same identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Embedder, HashedEmbedder
from ecomfs.experts.expert import ExpertData
from ecomfs.retrieve import Queries

_Floats = NDArray[np.float64]

PENALTIES = tuple(float(p) for p in np.geomspace(0.03, 30.0, 10))
"""Ridge penalties to try, in units of the mean squared length of the centred vectors."""

SPELLING_WEIGHT = 0.5
"""Weight of the spelling vectors relative to the retriever's; the best of a few values on six
development sets."""

SPELLING_EXAMPLES = 1_000
"""Up to this many examples the probe also uses spelling vectors (hashed n-grams)."""


class RidgeProbe:
    """The expert ``probe``: scores of a :class:`LinearProbe`, which is solved at first use.

    It uses the retriever's vectors and, for a small pool, vectors of spelling, each scaled on the
    pool. Embeddings of meaning do not separate model numbers and brands, which decide the category
    of many products.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.retrieve import Retriever
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {}, "bad"), Example("2", {}, "good")]
    >>> retriever = Retriever(pool, ["torn shirt", "soft coat"], HashedEmbedder())
    >>> probe = RidgeProbe(ExpertData(retriever, ["good", "bad"]))
    >>> probe.scores(retriever.queries(["soft coats"])).argmax(axis=1).tolist()
    [0]
    """

    name = "probe"

    def __init__(self, data: ExpertData) -> None:
        self._data = data

    def scores(self, queries: Queries) -> _Floats:
        """Scores, shape (n, L); leave-one-out for examples on which the probe was solved."""
        if not len(queries):
            return np.empty((0, len(self._data.labels)))
        out = self.solution.scores(self._features(queries.texts, queries.vectors))
        for row, position in enumerate(queries.own):
            if position is not None and (place := self._solved.get(position)) is not None:
                out[row] = self.solution.own[place]
        return out

    def leave_one_out(self) -> _Floats:
        """Scores of the pool's own examples, shape (m, L)."""
        return self.solution.own[[self._solved[p] for p in self._data.places.tolist()]]

    @cached_property
    def solution(self) -> LinearProbe:
        """The solved probe."""
        data = self._data
        return LinearProbe.fit(
            self._features(self._texts, data.retriever.index.vectors[data.sample]),
            data.columns[data.sample],
            len(data.labels),
            data.groups,
        )

    @property
    def _texts(self) -> list[str]:
        return [self._data.retriever.texts[p] for p in self._data.sample]

    @cached_property
    def _solved(self) -> dict[int, int]:
        """Position of an example in the pool → its row in the leave-one-out scores."""
        return {p: place for place, p in enumerate(self._data.sample.tolist())}

    def _features(self, texts: Sequence[str], vectors: NDArray[np.floating]) -> _Floats:
        meaning = np.asarray(vectors, dtype=np.float64)
        if self._spelling is None:
            return meaning
        embedder, scales = self._spelling
        spelling = embedder.embed(texts, query=True)
        return np.hstack([meaning / scales[0], SPELLING_WEIGHT * spelling / scales[1]])

    @cached_property
    def _spelling(self) -> tuple[Embedder, tuple[float, float]] | None:
        """The embedder of spelling, and the root mean squared lengths of the pool's centred
        vectors, of meaning and of spelling; ``None`` without spelling vectors."""
        retriever = self._data.retriever
        if len(retriever) > SPELLING_EXAMPLES:
            return None
        if isinstance(retriever.embedder, HashedEmbedder) and retriever.mode == "dense":
            return None  # the retriever's vectors are spelling vectors already
        embedder = HashedEmbedder().fit(self._texts)
        meaning, spelling = (
            float(np.sqrt(((v - v.mean(axis=0)) ** 2).sum(axis=1).mean())) or 1.0
            for v in (
                np.asarray(retriever.index.vectors[self._data.sample], dtype=np.float64),
                np.asarray(embedder.embed(self._texts, query=True), dtype=np.float64),
            )
        )
        return embedder, (meaning, spelling)


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A closed-form linear classifier on embeddings.

    Attributes:
        mean: mean of the pool's vectors, shape (dimensions,).
        weights: shape (dimensions, labels).
        shares: share of each label in the pool, shape (labels,): the score of an average vector.
        penalty: the chosen ridge penalty.
        own: leave-one-out scores of the pool's own examples, shape (examples, labels).

    >>> rng = np.random.default_rng(0)
    >>> labels = np.array([0, 1] * 20)
    >>> vectors = rng.normal(size=(40, 5)) + labels[:, None]
    >>> probe = LinearProbe.fit(vectors, labels, 2)
    >>> probe.scores(np.array([[1.0] * 5, [0.0] * 5])).argmax(axis=1).tolist()
    [1, 0]
    """

    mean: _Floats
    weights: _Floats
    shares: _Floats
    penalty: float
    own: _Floats

    @classmethod
    def fit(
        cls,
        vectors: NDArray[np.floating],
        labels: Sequence[int] | NDArray[np.int64],
        label_count: int,
        groups: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> LinearProbe:
        """Solve for a pool, with the penalty of least leave-one-out squared error.

        Args:
            vectors: shape (examples, dimensions).
            labels: position of each example's label.
            label_count: number of labels; some may have no example.
            groups: group number of each example; examples of a group, such as copies, are left out
                together. ``None``: every example is its own group.

        Raises:
            ValueError: there are no examples.
        """
        x = np.asarray(vectors, dtype=np.float64)
        if not len(x):
            raise ValueError("a probe needs at least one example")
        targets = np.eye(label_count)[np.asarray(labels, dtype=np.int64)]
        mean, shares = x.mean(axis=0), targets.mean(axis=0)
        centred, residual = x - mean, targets - shares
        scale = max(float(np.einsum("ij,ij->i", centred, centred).mean()), 1e-12)
        # One decomposition serves every penalty: centred = u · diag(s) · vt.
        u, s, vt = np.linalg.svd(centred, full_matrices=False)
        projected = u.T @ residual
        copies = _copies(groups, len(x))
        best: tuple[float, float, _Floats] | None = None
        for penalty in PENALTIES:
            shrink = s**2 / (s**2 + penalty * scale)
            errors = residual - u @ (shrink[:, None] * projected)
            left_out = _left_out(errors, u, shrink, copies)
            loss = float((left_out**2).mean())
            if best is None or loss < best[0]:
                best = (loss, penalty, targets - left_out)
        assert best is not None  # PENALTIES is not empty
        _, penalty, own = best
        gain = s / (s**2 + penalty * scale)
        return cls(mean, vt.T @ (gain[:, None] * projected), shares, penalty, own)

    def scores(self, vectors: NDArray[np.floating]) -> _Floats:
        """Scores, shape (queries, labels): for a clear row about 1 for its label and 0 for others.
        They are not probabilities: they sum to one, but may be negative."""
        return np.asarray(
            (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.weights + self.shares
        )


def _copies(groups: Sequence[int] | NDArray[np.int64] | None, n: int) -> list[NDArray[np.int64]]:
    """Positions of every group with more than one member."""
    if groups is None:
        return []
    numbers = np.asarray(groups)
    if len(numbers) != n:
        raise ValueError(f"{len(numbers)} groups for {n} examples")
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order])) + 1
    return [part for part in np.split(order, starts) if len(part) > 1]


def _left_out(
    errors: _Floats, u: _Floats, shrink: _Floats, copies: Sequence[NDArray[np.int64]]
) -> _Floats:
    """Errors of each example with the solution without it and its copies."""
    n = len(errors)
    leverage = np.minimum(1 / n + np.einsum("ij,j,ij->i", u, shrink, u), 1 - 1e-9)
    out = errors / (1 - leverage)[:, None]
    for part in copies:
        hat = 1 / n + (u[part] * shrink) @ u[part].T
        out[part] = np.linalg.lstsq(np.eye(len(part)) - hat, errors[part], rcond=None)[0]
    return np.asarray(out)


__all__ = ["LinearProbe", "RidgeProbe"]
