"""A batch of rows as the retriever and the experts look them up: computed once, used by all.

texts, rows ─ embed ─▶ vectors ─ exclude, search ─▶ hits ─▶ demonstrations
                                                     ├────▶ neighbours' vote, nearest example
                                                     └────▶ …
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve.index import Excluded, Hits, Vectors, top
from ecomfs.retrieve.strategies import Reach
from ecomfs.types import Row


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """Rows that were looked up in a pool. :meth:`ecomfs.retrieve.Retriever.queries` makes them.

    Attributes:
        texts: the rows rendered as text.
        rows: their fields; ``None`` where only the texts are known.
        vectors: what the index was searched with, shape (n, dimensions).
        excluded: for each row, the examples that may not be shown.
        hits: for each row, the examples found, most relevant first.
        reach: how far the search went.
        own: for each row, the position of the example of the pool that it is, when it is answered
            leave-one-out; ``None`` for a new row.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.retrieve import Retriever
    >>> from ecomfs.types import Example
    >>> pool = [Example("a", {}, "good"), Example("b", {}, "bad")]
    >>> retriever = Retriever(pool, ["a lovely coat", "a torn shirt"], HashedEmbedder())
    >>> queries = retriever.queries(["lovely coat"], neighbours=1)
    >>> len(queries), queries.hits[0].positions.tolist(), queries.own
    (1, [0], (None,))
    """

    texts: Sequence[str]
    rows: Sequence[Row] | None
    vectors: Vectors
    excluded: Sequence[Excluded]
    hits: Sequence[Hits]
    reach: Reach
    own: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def trimmed(
        self,
        row: int,
        reach: Reach,
        group_of: NDArray[np.int64],
        allowed: Collection[int] | None = None,
    ) -> Hits | None:
        """What a search with another reach would have found for a row; ``None`` where the hits
        do not reach as far.

        Args:
            row: its position.
            reach: of the other search.
            group_of: number of each example's label, shape (pool,).
            allowed: numbers of the only labels that may be shown; ``None``: all.
        """
        hits = self.hits[row]
        if allowed is None and reach == self.reach:
            return hits
        groups = group_of[hits.positions]
        first = np.arange(len(hits)) < self.reach.nearest
        if allowed is not None:
            kept = np.flatnonzero(np.isin(groups, list(allowed)))
            hits = Hits(hits.positions[kept], hits.similarities[kept])
            groups, first = groups[kept], first[kept]
        if len(self.hits[row]) >= self.reach.nearest:  # else these are all there are
            if first.sum() < reach.nearest or self.reach.per_label < reach.per_label:
                return None
            if reach.per_label and reach.far_labels and not self.reach.far_labels:
                # Labels among the nearest were searched for as deep as far ones would have been.
                far = np.unique(group_of) if allowed is None else list(allowed)
                if not np.isin(far, groups[first]).all():
                    return None
        wanted = np.unique(groups if reach.far_labels else groups[: reach.nearest])
        places = top(groups, reach.nearest, reach.per_label, wanted.tolist())
        return Hits(hits.positions[places], hits.similarities[places])


__all__ = ["Queries"]
