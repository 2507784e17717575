"""The feature model: logistic regression on the numbers and relations of a row's fields."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.experts.expert import ExpertData
from ecomfs.features import FeatureExpert, has_features
from ecomfs.retrieve import Queries
from ecomfs.task import TaskCard
from ecomfs.types import Language, Row

_Floats = NDArray[np.float64]


class FeatureModel:
    """The expert ``features``: log-probabilities of a :class:`ecomfs.features.FeatureExpert`, which
    is fitted at first use.

    Parameters
    ----------
    data
        The data of the pool.
    card
        The task card.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.retrieve import Retriever
    >>> from ecomfs.task import load_task
    >>> from ecomfs.types import Example
    >>> pool = [Example(q, {"query": q, "product": p}, "yes" if q in p else "no")
    ...         for q in ("mug", "hose", "socks", "lamp") for p in ("red mug", "long hose")]
    >>> pool = [Example(str(i), e.fields, e.label) for i, e in enumerate(pool)]
    >>> texts = [" ".join(e.fields.values()) for e in pool]
    >>> data = ExpertData(Retriever(pool, texts, HashedEmbedder()), ["no", "yes"],
    ...                   load_task("query_relevance"))
    >>> model = FeatureModel.of(data)
    >>> new = data.retriever.queries(["x"], rows=[{"query": "pen", "product": "blue pen"}])
    >>> model.scores(new).argmax(axis=1).tolist()
    [1]
    """

    name = "features"

    def __init__(self, data: ExpertData, card: TaskCard) -> None:
        self._data, self._card = data, card

    @classmethod
    def of(cls, data: ExpertData) -> Self | None:
        """The expert; ``None`` for tasks without features, such as those with a single text."""
        if data.card is None or not has_features(data.card):
            return None
        return cls(data, data.card)

    def scores(self, queries: Queries) -> _Floats:
        """Log-probabilities, shape (n, L); leave-one-out for examples on which it was fitted.

        Raises
        ------
        ConfigError
            Only the texts of the queries are known.
        """
        if queries.rows is None:
            raise ConfigError(
                "rows are compared by their fields, and only their texts are given",
                hint="give rows= in addition to the texts",
            )
        out = self.model.predict_proba(queries.rows)
        own = {row: self._fitted[p] for row, p in enumerate(queries.own) if p in self._fitted}
        if own:
            out[list(own)] = self.model.leave_one_out(list(own.values()))
        return np.asarray(np.log(out))

    def leave_one_out(self) -> _Floats:
        """Log-probabilities of the pool's own examples, shape (m, L)."""
        places = [self._fitted[p] for p in self._data.places.tolist()]
        return np.asarray(np.log(self.model.leave_one_out(places)))

    def facts(self, row: Row, language: Language) -> list[str]:
        """Phrases about the features of a row, such as ``"liked 7 of 10, disliked 3"``."""
        return self.model.features.describe(row, language)

    @cached_property
    def model(self) -> FeatureExpert:
        """The feature expert, fitted on the pool."""
        examples = [self._data.retriever.examples[p] for p in self._data.sample]
        return FeatureExpert(self._card, self._data.labels).fit(
            [e.fields for e in examples], [e.label for e in examples], self._data.groups
        )

    @cached_property
    def _fitted(self) -> dict[int | None, int]:
        """Position of an example in the pool → its row in the fitted data."""
        return {p: place for place, p in enumerate(self._data.sample.tolist())}


__all__ = ["FeatureModel"]
