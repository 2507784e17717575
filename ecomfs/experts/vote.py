"""The vote of the nearest labelled examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecomfs.experts.expert import NEIGHBOURS, ExpertData
from ecomfs.retrieve import Queries, kernel_vote


class NeighbourVote:
    """The expert ``vote``: log-probabilities of the kernel-weighted vote of the nearest examples
    (:func:`ecomfs.retrieve.kernel_vote`).

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.retrieve import Retriever
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {}, "bad"), Example("2", {}, "good")]
    >>> retriever = Retriever(pool, ["torn shirt", "soft coat"], HashedEmbedder())
    >>> vote = NeighbourVote(ExpertData(retriever, ["good", "bad"]))
    >>> vote.scores(retriever.queries(["soft coats"], neighbours=8)).argmax(axis=1).tolist()
    [0]
    """

    name = "vote"

    def __init__(self, data: ExpertData) -> None:
        self._data = data

    def scores(self, queries: Queries) -> NDArray[np.float64]:
        """Log-probabilities, shape (n, L), from the nearest examples in ``queries``."""
        columns, size = self._data.columns, len(self._data.labels)
        scale = self._data.retriever.similarity_scale
        votes = [
            kernel_vote(
                hits.similarities[:NEIGHBOURS], columns[hits.positions[:NEIGHBOURS]], size, scale
            )
            for hits in queries.hits
        ]
        return np.log(np.array(votes).reshape(len(queries), size))

    def leave_one_out(self) -> NDArray[np.float64]:
        """Log-probabilities of the pool's own examples, shape (m, L)."""
        return self.scores(self._data.queries)


__all__ = ["NeighbourVote"]
