"""Who finds the neighbours: vectors, shared terms, or both fused.

Whatever ranks them, the similarity that neighbours carry is the cosine of their vectors, so
that thresholds, votes and reports mean the same in every mode.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol, get_args

import numpy as np

from ecomfs.errors import ConfigError
from ecomfs.retrieve.fusion import fuse
from ecomfs.retrieve.index import Groups, Hits, VectorIndex, Vectors, top
from ecomfs.retrieve.lexical import LexicalIndex
from ecomfs.retrieve.strategies import Reach

Mode = Literal["dense", "lexical", "hybrid", "tabular", "mixed"]
_BY_VECTORS = ("dense", "tabular", "mixed")  # which differ in what the vectors are made of

_DEPTH = 4  # a fused ranking of n looks this many times n deep into each of its parts
_LEAST_DEPTH = 50


class Searcher(Protocol):
    """Finds the neighbours of queries."""

    def search(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        reach: Reach,
        excluded: Sequence[Collection[int]],
    ) -> Sequence[Hits]:
        """One :class:`Hits` a query, most relevant first."""
        ...


class DenseSearcher:
    """By vectors."""

    def __init__(self, index: VectorIndex, groups: Groups) -> None:
        self._index = index
        self.groups = groups

    def search(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        reach: Reach,
        excluded: Sequence[Collection[int]],
    ) -> Sequence[Hits]:
        """By descending cosine."""
        return self._index.search(
            vectors,
            reach.nearest,
            excluded=excluded,
            groups=self.groups,
            per_group=reach.per_label,
            far_groups=reach.far_labels,
        )


class LexicalSearcher:
    """By shared terms; where too few examples share any, the rest is by vectors."""

    def __init__(self, dense: DenseSearcher, index: VectorIndex, terms: LexicalIndex) -> None:
        self._hybrid = HybridSearcher(dense, index, terms, dense_weight=1e-6)

    def search(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        reach: Reach,
        excluded: Sequence[Collection[int]],
    ) -> Sequence[Hits]:
        """By descending BM25."""
        return self._hybrid.search(queries, vectors, reach, excluded)


class HybridSearcher:
    """By both, fused by reciprocal rank.

    Args:
        dense: the part that looks at vectors.
        index: its vectors, for similarities.
        terms: the part that looks at terms.
        dense_weight: of the dense ranking, the lexical one having 1.
    """

    def __init__(
        self,
        dense: DenseSearcher,
        index: VectorIndex,
        terms: LexicalIndex,
        dense_weight: float = 1.0,
    ) -> None:
        self._dense = dense
        self._index = index
        self._terms = terms
        self._weights = (dense_weight, 1.0)
        self._groups = dense.groups

    def search(
        self,
        queries: Sequence[str],
        vectors: Vectors,
        reach: Reach,
        excluded: Sequence[Collection[int]],
    ) -> Sequence[Hits]:
        """By descending fused score. Each part is asked deeper than ``reach``, so that what one
        of them ranks low can still come first; of the union, as many as ``reach`` says stay."""
        deep = Reach(
            max(_LEAST_DEPTH, _DEPTH * reach.nearest) if reach.nearest else 0,
            _DEPTH * reach.per_label,
            reach.far_labels,
        )
        dense = self._dense.search(queries, vectors, deep, excluded)
        terms = self._terms.search(
            queries,
            deep.nearest,
            excluded=excluded,
            groups=self._groups,
            per_group=deep.per_label,
            far_groups=deep.far_labels,
        )
        found = []
        for vector, by_vector, by_term in zip(vectors, dense, terms, strict=True):
            positions, _ = fuse([by_vector, by_term], weights=self._weights)
            have = self._groups.group_of[positions]
            wanted = (
                range(len(self._groups.members))
                if reach.far_labels
                else np.unique(have[: reach.nearest])
            )
            kept = positions[top(have, reach.nearest, reach.per_label, wanted)]
            found.append(Hits(kept, self._index.similarities(vector, kept)))
        return found


def open_searcher(mode: str, index: VectorIndex, groups: Groups, texts: Sequence[str]) -> Searcher:
    """The searcher of a name.

    Raises:
        ConfigError: no such mode, or its package is not installed.
    """
    dense = DenseSearcher(index, groups)
    if mode in _BY_VECTORS:
        return dense
    if mode == "lexical":
        return LexicalSearcher(dense, index, LexicalIndex(texts))
    if mode == "hybrid":
        return HybridSearcher(dense, index, LexicalIndex(texts))
    raise ConfigError(f"no retrieval mode {mode!r}", hint=f"choose {', '.join(get_args(Mode))}")
