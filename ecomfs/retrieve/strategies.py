"""Selection strategies: they choose demonstrations among the neighbours of a query.

balanced     candidate labels take turns (default)
top_k        the most similar
mmr, dpp     similar and diverse
reweighted   rare labels count for more
adaptive     fewer if the neighbours agree
random, fixed   controls that ignore similarity

A strategy states how many candidates it needs (:class:`Reach`), then selects among them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.retrieve.index import Groups, Positions, VectorRows

__all__ = [
    "DPP",
    "MMR",
    "STRATEGIES",
    "Adaptive",
    "Balanced",
    "Candidates",
    "Fixed",
    "PoolView",
    "Random",
    "Reach",
    "Reweighted",
    "SelectionStrategy",
    "TopK",
    "open_strategy",
]

_WIDE = 4  # strategies that trade similarity against something else get this many times k
_NOTHING_NEW = 1e-10  # squared volume of a candidate inside the span of the chosen ones


class PoolView:
    """The pool as strategies see it.

    Parameters
    ----------
    ids
        Ids of the examples, by position.
    labels
        Number of each example's label, shape (size,).
    vectors
        Unit vectors, shape (size, dimensions).
    """

    def __init__(self, ids: Sequence[str], labels: Positions, vectors: VectorRows) -> None:
        self.ids = tuple(ids)
        self.labels = labels
        self.groups = Groups(labels)
        """Positions by label."""
        self.vectors = vectors
        self._position = {id: position for position, id in enumerate(self.ids)}
        self._turns: dict[int, Positions] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: Collection[str]) -> list[int]:
        """Positions of ``ids``, in the given order; ids that are not in the pool are skipped."""
        return [self._position[id] for id in ids if id in self._position]

    def in_turns(self, seed: int) -> Positions:
        """All positions, shuffled so that labels take turns and every prefix is balanced.

        >>> view = PoolView("abcd", np.array([0, 0, 0, 1]), np.eye(4, dtype=np.float32))
        >>> sorted(view.labels[view.in_turns(seed=1)][:2].tolist())
        [0, 1]
        """
        if seed not in self._turns:
            rng = np.random.default_rng(seed)
            rank = np.empty(len(self), dtype=np.int64)
            for members in self.groups.members:
                rank[members] = rng.permutation(len(members))
            first = rng.permutation(len(self.groups.members))[self.labels]
            self._turns[seed] = np.lexsort((first, rank))
        return self._turns[seed]


@dataclass(frozen=True, slots=True)
class Candidates:
    """One query and its neighbours, from which demonstrations are selected.

    Attributes:
        query: the query's text; it seeds random choices.
        positions: positions in the pool, most similar first, shape (n,).
        similarities: cosine to the query, shape (n,).
        label_count: number of labels that may be shown; fewer than in the pool if the query is
            limited to some labels.
        excluded: positions that may not be shown.
        pool: the whole pool.
    """

    query: str
    positions: Positions
    similarities: NDArray[np.float64]
    label_count: int
    excluded: Collection[int]
    pool: PoolView

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def labels(self) -> Positions:
        """Number of each candidate's label, shape (n,)."""
        return self.pool.labels[self.positions]

    @property
    def vectors(self) -> NDArray[np.float64]:
        """Unit vectors of the candidates, shape (n, dimensions)."""
        return self.pool.vectors[self.positions].astype(np.float64)

    def rng(self, seed: int) -> np.random.Generator:
        """A random generator seeded with the query's text and ``seed``, so that a row gets the same
        choices in any batch, process and order."""
        digest = hashlib.sha256(self.query.encode("utf-8", "surrogatepass")).digest()
        return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


@dataclass(frozen=True, slots=True)
class Reach:
    """Numbers of candidates to search for.

    Attributes:
        nearest: nearest examples of the whole pool.
        per_label: nearest examples of each label, at any distance, in addition.
        far_labels: whether ``per_label`` applies to all labels, or only to those of the nearest.

    >>> Balanced().reach(4, label_count=2)
    Reach(nearest=4, per_label=4, far_labels=True)
    """

    nearest: int
    per_label: int = 0
    far_labels: bool = True


class SelectionStrategy(Protocol):
    """Selects ``k`` demonstrations for a query."""

    def reach(self, k: int, label_count: int) -> Reach:
        """The candidates needed for ``k`` demonstrations."""
        ...

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """At most ``k`` distinct positions in the pool that are not excluded, in any order. They
        need not be among the candidates."""
        ...


def _take(candidates: Candidates, places: Sequence[int]) -> list[int]:
    return [int(candidates.positions[place]) for place in places]


@dataclass(frozen=True, slots=True)
class TopK:
    """The k most similar examples (KATE; Liu et al. 2021, arXiv 2101.06804)."""

    def reach(self, k: int, label_count: int) -> Reach:
        """The ``k`` nearest."""
        return Reach(k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The first ``k``."""
        return _take(candidates, range(min(k, len(candidates))))


@dataclass(frozen=True, slots=True)
class Balanced:
    """Candidate labels take turns, each with its nearest example; the counts of labels differ by at
    most one while there are examples.

    All labels are candidates if each can have two examples or more; with two labels, one example
    each is enough. Otherwise the candidates are the labels of the k nearest neighbours: with one
    example of every label a prompt would not show which labels are near, and this is most of what
    a small model learns from demonstrations (BANKING77 in ``docs/retrieval.md``). The first label
    is drawn with a seed from the query's text: over many rows no label is favoured, and a row
    always gets the same examples.
    """

    def reach(self, k: int, label_count: int) -> Reach:
        """The ``k`` nearest, and ``k`` of every candidate label."""
        return Reach(k, per_label=k, far_labels=_all_are_shown(k, label_count))

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """One label after the other, until ``k`` are chosen or none is left."""
        labels = candidates.labels.tolist()
        everyone = _all_are_shown(k, candidates.label_count)
        plausible = sorted(set(labels if everyone else labels[:k]))
        queues: dict[int, list[int]] = {
            label: [] for label in candidates.rng(seed).permutation(plausible).tolist()
        }
        for position, label in zip(candidates.positions.tolist(), labels, strict=True):
            if label in queues:
                queues[label].append(position)
        turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
        return list(itertools.islice((p for p in turns if p is not None), k))


def _all_are_shown(k: int, label_count: int) -> bool:
    return 2 * label_count <= k or label_count == 2 <= k


@dataclass(frozen=True, slots=True)
class MMR:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): similar to the query, different
    from those already chosen. Each step takes the candidate with the largest
    λ · sim(query, c) - (1 - λ) · max sim(chosen, c).

    Attributes:
        relevance: λ, from 0 (diversity only) to 1 (same as ``top_k``).
    """

    relevance: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.relevance <= 1:
            raise ConfigError(f"relevance is {self.relevance}", hint="use a number from 0 to 1")

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours."""
        return Reach(_WIDE * k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """One by one; ties go to the nearer."""
        if not len(candidates):
            return []
        likeness = candidates.vectors @ candidates.vectors.T
        redundancy = np.full(len(candidates), -np.inf)
        chosen: list[int] = []
        gain = candidates.similarities.copy()
        while len(chosen) < min(k, len(candidates)):
            best = int(np.argmax(gain))
            chosen.append(best)
            redundancy = np.maximum(redundancy, likeness[best])
            gain = self.relevance * candidates.similarities - (1 - self.relevance) * redundancy
            gain[chosen] = -np.inf
        return _take(candidates, chosen)


@dataclass(frozen=True, slots=True)
class DPP:
    """Determinantal point process: a relevant and diverse set of demonstrations.

    The kernel is L = diag(r) · S · diag(r) with S the cosines between candidates and relevance
    r = exp(z / 2 · sharpness), z the similarity to the query standardised over the candidates.
    The most probable set is found greedily with incremental Cholesky factors (Chen et al. 2018,
    arXiv 1709.05135), as Ye et al. 2023 (arXiv 2302.05698) select demonstrations.

    Attributes:
        sharpness: weight of relevance against diversity; 0 ignores the query.
    """

    sharpness: float = 1.0

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours."""
        return Reach(_WIDE * k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """One by one; if the remaining ones add no volume (duplicates), the nearest of them."""
        size = len(candidates)
        if not size:
            return []
        similarities = candidates.similarities
        spread = similarities.std() or 1.0
        relevance = np.exp(self.sharpness * (similarities - similarities.mean()) / spread / 2)
        vectors = candidates.vectors * relevance[:, None]
        volume = np.einsum("ij,ij->i", vectors, vectors)
        factors = np.zeros((size, 0))
        chosen: list[int] = []
        while len(chosen) < min(k, size):
            best = int(np.argmax(volume))
            if volume[best] < _NOTHING_NEW:
                left = (c for c in range(size) if c not in chosen)
                chosen += itertools.islice(left, k - len(chosen))
                break
            chosen.append(best)
            row = (vectors @ vectors[best] - factors @ factors[best]) / np.sqrt(volume[best])
            factors = np.column_stack([factors, row])
            volume = volume - row**2
            volume[chosen] = -np.inf
        return _take(candidates, chosen)


@dataclass(frozen=True, slots=True)
class Reweighted:
    """Rare labels count for more, for imbalanced pools.

    The similarity of an example whose label is r times rarer than the most frequent one is raised
    by strength · ln r standard deviations of the candidates' similarities; then the nearest are
    taken. This is the class-frequency part of Gao et al. 2025, arXiv 2502.04037.

    Attributes:
        strength: 0 is ``top_k``.
    """

    strength: float = 0.5

    def reach(self, k: int, label_count: int) -> Reach:
        """Four times ``k`` neighbours, and ``k`` of each label if that is cheap."""
        return Reach(_WIDE * k, per_label=k, far_labels=label_count <= k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The ``k`` best; ties go to the nearer."""
        if not len(candidates):
            return []
        sizes = candidates.pool.groups.sizes
        rarity = np.log(sizes.max() / sizes)[candidates.labels]
        spread = candidates.similarities.std()
        score = candidates.similarities + self.strength * spread * rarity
        return _take(candidates, np.argsort(-score, kind="stable")[:k].tolist())


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Fewer demonstrations if the neighbours agree, ``k`` if they do not (similar to adaptive
    in-context learning, arXiv 2403.06402).

    Let a be the share of the most frequent label among the k nearest. The disagreement is
    (1 - a) / (1 - 1/min(k, L)), 0 if all agree and 1 if all labels are equally frequent, and
    k' = least + disagreement · (k - least), rounded up.

    Attributes:
        least: demonstrations if all neighbours agree.
        inner: the strategy that selects the k' demonstrations.
    """

    least: int = 2
    inner: SelectionStrategy = field(default_factory=Balanced)

    def __post_init__(self) -> None:
        if self.least < 0:
            raise ConfigError(f"least is {self.least}", hint="use 0 or more")

    def reach(self, k: int, label_count: int) -> Reach:
        """The candidates that the inner strategy needs for the largest k."""
        inner = self.inner.reach(k, label_count)
        # A smaller k may be less than the number of labels: then only near labels are needed.
        return Reach(max(k, inner.nearest), inner.per_label, inner.far_labels)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The inner strategy's choice of k'."""
        nearest = candidates.labels[:k]
        most = min(len(nearest), candidates.label_count)
        disagreement = 0.0
        if most > 1:
            top = np.bincount(nearest).max() / len(nearest)
            disagreement = (1 - top) / (1 - 1 / most)
        least = min(self.least, k)
        return self.inner.select(
            candidates, least + int(np.ceil(disagreement * (k - least) - 1e-9)), seed
        )


@dataclass(frozen=True, slots=True)
class Random:
    """Random examples of the whole pool for every query, with a seed from its text."""

    def reach(self, k: int, label_count: int) -> Reach:
        """No neighbours."""
        return Reach(0)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Uniformly, without replacement."""
        size = len(candidates.pool)
        # Enough that k are left after the excluded ones are dropped.
        enough = min(size, k + len(candidates.excluded))
        drawn = candidates.rng(seed).choice(size, enough, replace=False)
        return [p for p in drawn.tolist() if p not in candidates.excluded][:k]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same demonstrations for every query.

    Attributes:
        ids: ids of the demonstrations; ``None``: a label-balanced set drawn with the retriever's
            seed.
    """

    ids: Sequence[str] | None = None

    def reach(self, k: int, label_count: int) -> Reach:
        """No neighbours."""
        return Reach(0)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """The first ``k`` that are not excluded."""
        pool = candidates.pool
        wanted = pool.in_turns(seed).tolist() if self.ids is None else pool.find(self.ids)
        return list(itertools.islice((p for p in wanted if p not in candidates.excluded), k))


STRATEGIES: dict[str, Callable[[], SelectionStrategy]] = {
    "adaptive": Adaptive,
    "balanced": Balanced,
    "dpp": DPP,
    "fixed": Fixed,
    "mmr": MMR,
    "random": Random,
    "reweighted": Reweighted,
    "top_k": TopK,
}


def open_strategy(strategy: str | SelectionStrategy) -> SelectionStrategy:
    """The strategy with that name and its defaults; a strategy object is returned unchanged.

    Raises
    ------
    ConfigError
        There is no strategy of that name.

    Examples
    --------
    >>> open_strategy("top_k")
    TopK()
    """
    if not isinstance(strategy, str):
        return strategy
    name = strategy.replace("-", "_")
    if name not in STRATEGIES:
        raise ConfigError(
            f"no selection strategy {strategy!r}", hint=f"choose {', '.join(sorted(STRATEGIES))}"
        )
    return STRATEGIES[name]()
