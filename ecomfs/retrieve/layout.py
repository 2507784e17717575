"""The layout of demonstrations in the prompts of many rows.

    retrieved   each row has its own demonstrations: the examples most similar to it
    shared      one block of demonstrations for all rows
    both        a shared block, then a few demonstrations of the row's own

The block depends on the pool alone, so the answer for a row does not depend on other rows, and a
server computes the shared prefix of all prompts once. The block is balanced over labels and covers
the pool: labels take turns, each with the example that most increases the similarity of the pool to
the block (facility location, maximised greedily; Nemhauser et al. 1978, *Mathematical Programming*
14).
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

_SAMPLE = 2048  # a block is chosen from this many examples


class RowDemonstrations(NamedTuple):
    """The demonstrations of one row.

    Attributes:
        shared: the shared block, at the beginning of all prompts.
        own: the row's own demonstrations, least to most similar.

    >>> RowDemonstrations().demonstrations
    ()
    """

    shared: tuple[Demonstration, ...] = ()
    own: tuple[Demonstration, ...] = ()

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """All demonstrations in prompt order."""
        return self.shared + self.own


class DemonstrationLayout:
    """Chooses the shared and own demonstrations of rows.

    Parameters
    ----------
    retriever
        The retriever for the pool.
    k
        Demonstrations per prompt.
    layout
        ``retrieved``, ``shared`` or ``both``.
    block
        Ids of a block that was chosen before, in prompt order. Examples that are no longer in the
        pool are replaced.
    variant
        Number of the block: 0 is chosen from the whole pool, any other from a random half of it.
        Fitting compares several.
    seed
        Seed of the order of labels and of random draws.

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
    >>> len(row.shared), len(row.own), len(row.demonstrations)
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
        """Number of a row's own demonstrations."""
        self._retriever = retriever
        self._given = (k, variant, seed)
        pool, size = retriever.pool, k - self.own
        chosen = pool.find(block)[:size]
        # More examples of every label, as replacements for examples that are left out.
        more = len(pool.groups.members) * (self.own + 1)
        order = choose_block(pool, size + more, variant, seed) if size else []
        chosen += [p for p in order if p not in chosen][: size - len(chosen)]
        self._block = chosen
        self._reserve = [p for p in order if p not in chosen]
        self.block: tuple[str, ...] = tuple(pool.ids[p] for p in chosen)
        """Ids of the shared examples, in prompt order."""
        self.search_k = self.own if layout == "retrieved" else 0
        """The ``k`` for :meth:`ecomfs.retrieve.Retriever.queries`."""
        self._whole = self._shared(())

    def updated(self, retriever: Retriever, block: Sequence[str] = ()) -> DemonstrationLayout:
        """The layout for another version of the pool. Examples of ``block`` that are still in the
        pool are kept; without ``block``, a new one is chosen."""
        k, variant, seed = self._given
        return DemonstrationLayout(retriever, k, self.name, block=block, variant=variant, seed=seed)

    def demonstrations(
        self, queries: Queries, labels: Sequence[Collection[str]] | None = None
    ) -> list[RowDemonstrations]:
        """The demonstrations of rows that were searched with k = :attr:`search_k`.

        If a row is itself an example of the block, another example of its label replaces it.

        Parameters
        ----------
        queries
            Queries of the same retriever.
        labels
            For each row, the labels allowed for its own demonstrations; ``None``: all.
        """
        own: list[list[Demonstration]] = [[] for _ in queries.texts]
        if self.own:
            own = self._retriever.demonstrations(queries, self.own, labels, without=self._block)
        out = []
        for excluded, mine in zip(queries.excluded, own, strict=True):
            shown = [d.example.id for d in mine]
            banned = excluded | self._retriever.pool.find(shown) if shown else excluded
            out.append(
                RowDemonstrations(self._shared(banned) if banned else self._whole, tuple(mine))
            )
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


def choose_block(pool: PoolView, size: int, variant: int = 0, seed: int = 0) -> list[int]:
    """Positions of examples that represent a pool. Every prefix of the result is balanced over the
    labels, as far as there are examples, and covers the pool greedily.

    Parameters
    ----------
    pool
        The labelled examples.
    size
        Number of examples.
    variant
        0: chosen from the whole pool (or a sample of a large one); else from a random half.
    seed
        Seed of the draws.

    Examples
    --------
    >>> vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    >>> pool = PoolView("abcd", np.array([0, 0, 0, 1]), vectors)
    >>> found = choose_block(pool, 3)
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
    """Positions drawn so that labels take turns, and rare labels are included."""
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.arange(len(labels)) - starts
    return np.asarray(order[np.argsort(turn, kind="stable")[:size]])


__all__ = ["DemonstrationLayout", "Layout", "RowDemonstrations", "choose_block"]
