"""All experts of one pool together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecomfs.experts.expert import Expert, ExpertData
from ecomfs.experts.features import FeatureModel
from ecomfs.experts.probe import RidgeProbe
from ecomfs.experts.vote import NeighbourVote
from ecomfs.retrieve import Queries, Retriever
from ecomfs.task import TaskCard
from ecomfs.types import Language, Opinion, Row

EXPERTS: tuple[Callable[[ExpertData], Expert | None], ...] = (
    NeighbourVote,
    RidgeProbe,
    FeatureModel.of,
)
"""Constructors of all experts; they return ``None`` if the expert does not apply to the task."""


class Experts:
    """The experts of one pool. They are fitted at first use.

    Parameters
    ----------
    retriever
        The retriever for the pool.
    labels
        Names of the labels. A label without an example is unlikely for every expert.
    card
        The task card. Without it there is no feature model.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.types import Example
    >>> texts = ["lovely soft shirt", "shirt fell apart", "lovely warm coat", "coat fell apart"]
    >>> pool = [Example(str(i), {"text": t}, "bad" if "fell" in t else "good")
    ...         for i, t in enumerate(texts)]
    >>> retriever = Retriever(pool, texts, HashedEmbedder())
    >>> experts = Experts(retriever, ["good", "bad"])
    >>> opinion = experts.opinions(retriever.queries(["a lovely shirt"], neighbours=8))[0]
    >>> [name for name, (good, bad) in opinion.scores.items() if good > bad]
    ['vote', 'probe']
    """

    def __init__(
        self, retriever: Retriever, labels: Sequence[str], card: TaskCard | None = None
    ) -> None:
        self.data = ExpertData(retriever, labels, card)
        made = (make(self.data) for make in EXPERTS)
        self.list: tuple[Expert, ...] = tuple(expert for expert in made if expert is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the experts, in order."""
        return tuple(expert.name for expert in self.list)

    def opinions(self, queries: Queries) -> list[Opinion]:
        """One opinion per query; the queries were searched with :data:`NEIGHBOURS` neighbours."""
        tables = {expert.name: expert.scores(queries).tolist() for expert in self.list}
        return [
            Opinion(
                {name: tuple(table[row]) for name, table in tables.items()},
                float(hits.similarities[0]) if len(hits) else float("nan"),
            )
            for row, hits in enumerate(queries.hits)
        ]

    def leave_one_out(self) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
        """Leave-one-out scores of the pool's own examples, without model calls.

        Returns
        -------
        scores
            Expert → scores of shape (m, L), in the order of ``data.places``.
        labels
            Column of each example's label, shape (m,).
        """
        return self._own, self.data.columns[self.data.places]

    def facts(self, row: Row, language: Language) -> list[str]:
        """Phrases about the features of a row; empty if no expert uses features."""
        return [
            phrase
            for expert in self.list
            if isinstance(expert, FeatureModel)
            for phrase in expert.facts(row, language)
        ]

    @cached_property
    def _own(self) -> dict[str, NDArray[np.float64]]:
        return {expert.name: expert.leave_one_out() for expert in self.list}


__all__ = ["EXPERTS", "Experts"]
