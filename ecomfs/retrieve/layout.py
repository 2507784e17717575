"""How demonstrations are laid out in the prompts of many rows.

    retrieved   every row has its own: the examples most similar to it
    shared      one block for all rows
    both        a shared block, then a few of the row's own

The block depends on the pool alone: a row's answer does not depend on the rows beside it, and a
server computes the beginning of all prompts once. It is chosen for label balance and coverage:
labels take turns, each with the example that makes the pool most similar to the block (facility
location, maximised greedily; Nemhauser et al. 1978, *Mathematical Programming* 14).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.retrieve.retriever import Queries, Retriever
from ecomfs.retrieve.strategies import PoolView
from ecomfs.types import Demonstration

Layout = Literal["retrieved", "shared", "both"]

_SAMPLE = 2048  # examples among which a block is chosen


class LaidOut(NamedTuple):
    """Demonstrations of one row.

    Attributes:
        shared: the block, which begins the prompts of all rows.
        own: the row's own, least to most similar.

    >>> LaidOut().together
    ()
    """

    shared: tuple[Demonstration, ...] = ()
    own: tuple[Demonstration, ...] = ()

    @property
    def together(self) -> tuple[Demonstration, ...]:
        """All, in prompt order."""
        return self.shared + self.own


class DemonstrationLayout:
    """Lays out the demonstrations of rows.

    Parameters
    ----------
    retriever
        Of the pool.
    k
        Demonstrations per prompt.
    layout
        ``retrieved``, ``shared`` or ``both``.
    block
        Ids of the examples of a block that was chosen before, in prompt order. Those that are not
        in the pool any more are replaced.
    variant
        Number of the block: 0 is chosen from the whole pool, every other number from half of it,
        drawn with that number. A fit compares several.
    seed
        Of the order of labels, and of the draws.

    Raises
    ------
    ConfigError
        An unknown layout, or a negative k.

    Examples
    --------
    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.types import Example
    >>> texts = ["red shoe", "blue shoe", "warm coat", "soft coat"]
    >>> pool = [Example(str(i), {"text": t}, "ab"[i % 2]) for i, t in enumerate(texts)]
    >>> retriever = Retriever(pool, texts, HashedEmbedder(256))
    >>> layout = DemonstrationLayout(retriever, 3, "both")
    >>> (row,) = layout.demonstrations(retriever.queries(["green shoe"]))
    >>> len(row.shared), len(row.own), len(row.together)
    (1, 2, 3)
    """

    def __init__(
        self,
        retriever: Retriever,
        k: int,
        layout: Layout,
        *,
        block: Sequence[str] = (),
        variant: int = 0,
        seed: int = 0,
    ) -> None:
        if layout not in get_args(Layout):
            raise ConfigError(f"no layout {layout!r}", hint=f"choose {', '.join(get_args(Layout))}")
        if k < 0:
            raise ConfigError(f"k is {k}", hint="use 0 (no demonstrations) or more")
        self.name: Layout = layout
        self.own = {"retrieved": k, "shared": 0, "both": math.ceil(k / 2)}[layout]
        """Demonstrations that are each row's own."""
        self._retriever = retriever
        self._given = (k, variant, seed)
        pool, size = retriever.pool, k - self.own
        chosen = pool.find(block)[:size]
        # More of every label: what stands in for an example that is left out.
        more = len(pool.groups.members) * (self.own + 1)
        order = covering(pool, size + more, variant, seed) if size else []
        chosen += [p for p in order if p not in chosen][: size - len(chosen)]
        self._block = chosen
        self._reserve = [p for p in order if p not in chosen]
        self.block: tuple[str, ...] = tuple(pool.ids[p] for p in chosen)
        """Ids of the shared examples, in prompt order."""
        self.looks_up = self.own if layout == "retrieved" else 0
        """Demonstrations per row that :meth:`ecomfs.retrieve.Retriever.queries` shall find."""
        self._whole = self._shared(())

    def updated(self, retriever: Retriever, block: Sequence[str] = ()) -> DemonstrationLayout:
        """The same for another version of the pool, with a block that stays as far as its examples
        do; without one, it is chosen again."""
        k, variant, seed = self._given
        return DemonstrationLayout(retriever, k, self.name, block=block, variant=variant, seed=seed)

    def demonstrations(
        self, queries: Queries, labels: Sequence[Collection[str]] | None = None
    ) -> list[LaidOut]:
        """The demonstrations of rows that were looked up with k = :attr:`looks_up`.

        An example of the block that may not be shown to a row, because it is that row, has another
        of its label in its place.

        Parameters
        ----------
        queries
            Of the same retriever.
        labels
            For each row, the only labels whose examples may be the row's own; ``None``: all.
        """
        own: list[list[Demonstration]] = [[] for _ in queries.texts]
        if self.own:
            own = self._retriever.demonstrations(queries, self.own, labels, without=self._block)
        out = []
        for excluded, mine in zip(queries.excluded, own, strict=True):
            shown = [d.example.id for d in mine]
            banned = excluded | self._retriever.pool.find(shown) if shown else excluded
            out.append(LaidOut(self._shared(banned) if banned else self._whole, tuple(mine)))
        return out

    def _shared(self, banned: Collection[int]) -> tuple[Demonstration, ...]:
        reserve = list(self._reserve)
        labels = self._retriever.pool.labels
        shown: list[int] = []
        for position in self._block:
            if position in banned:
                alike = [p for p in reserve if labels[p] == labels[position] and p not in banned]
                if not alike:
                    continue
                reserve.remove(alike[0])
                shown.append(alike[0])
            else:
                shown.append(position)
        examples, texts = self._retriever.examples, self._retriever.texts
        return tuple(Demonstration(examples[p], texts[p], math.nan) for p in shown)


def covering(pool: PoolView, size: int, variant: int = 0, seed: int = 0) -> list[int]:
    """Positions of examples that stand for a pool: every beginning is balanced over the labels, as
    far as examples last, and covers the pool as well as a greedy choice can.

    Parameters
    ----------
    pool
        The labelled examples.
    size
        How many.
    variant
        0: chosen from the whole pool (of a large one, from a sample); else from half of it.
    seed
        Of the draws.

    Examples
    --------
    >>> vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    >>> pool = PoolView("abcd", np.array([0, 0, 0, 1]), vectors)
    >>> found = covering(pool, 3)
    >>> sorted(pool.labels[found[:2]].tolist()), len(found)
    ([0, 1], 3)
    """
    rng = np.random.default_rng([seed, variant])
    places = np.arange(len(pool))
    most = min(_SAMPLE, len(pool) if variant == 0 else math.ceil(len(pool) / 2))
    if most < len(pool):
        places = np.sort(_balanced_draw(pool.labels, max(most, min(size, len(pool))), rng))
    labels = pool.labels[places]
    vectors = pool.vectors[places].astype(np.float64)
    likeness = vectors @ vectors.T
    covered = np.full(len(places), -1.0)
    shown = np.zeros(int(labels.max(initial=-1)) + 1, dtype=np.int64)
    left = np.bincount(labels, minlength=len(shown))
    free = np.ones(len(places), dtype=bool)
    out: list[int] = []
    while len(out) < size and free.any():
        fewest = shown[left > 0].min()
        allowed = np.flatnonzero(free & (shown[labels] == fewest))
        gain = np.maximum(likeness[allowed], covered).sum(axis=1)
        best = int(allowed[gain.argmax()])
        covered = np.maximum(covered, likeness[best])
        free[best] = False
        shown[labels[best]] += 1
        left[labels[best]] -= 1
        out.append(int(places[best]))
    return out


def _balanced_draw(
    labels: NDArray[np.int64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Positions drawn so that labels take turns: a rare one is not lost."""
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.arange(len(labels)) - starts
    return np.asarray(order[np.argsort(turn, kind="stable")[:size]])


__all__ = ["DemonstrationLayout", "LaidOut", "Layout", "covering"]
