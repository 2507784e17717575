"""The ``Expert`` protocol, and the data on which the experts of a pool are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecomfs.io import same_text
from ecomfs.retrieve import Queries, Retriever
from ecomfs.task import TaskCard, is_missing

NEIGHBOURS = 8
"""Number of nearest examples that vote."""

FIT_EXAMPLES = 20_000
"""Most examples on which an expert is fitted, drawn at random."""

LEAVE_ONE_OUT_EXAMPLES = 1_000
"""Most examples that are answered leave-one-out, on which weights and thresholds are fitted: each
must be embedded as a query."""

LEAST_USERS = 5
"""With fewer users, rows are not left out by user: too few examples would remain."""


class ExpertData:
    """The examples on which the experts of one pool are fitted, and those answered leave-one-out.

    Parameters
    ----------
    retriever
        The retriever for the pool.
    labels
        Names of the L labels; labels without an example are allowed.
    card
        The task card with the fields of the rows; ``None``: only their texts are known.

    Attributes
    ----------
    columns
        Column of each example's label in the label space, shape (pool,).

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {}, "bad"), Example("2", {}, "good")]
    >>> data = ExpertData(Retriever(pool, ["torn", "soft"], HashedEmbedder()), ["good", "bad"])
    >>> data.columns.tolist(), data.places.tolist()
    ([1, 0], [0, 1])
    """

    def __init__(
        self, retriever: Retriever, labels: Sequence[str], card: TaskCard | None = None
    ) -> None:
        self.retriever, self.card = retriever, card
        self.labels = tuple(labels)
        column = {label: place for place, label in enumerate(self.labels)}
        columns = np.array([column[label] for label in retriever.labels], dtype=np.int64)
        self.columns: NDArray[np.int64] = columns[retriever.pool.labels]

    @cached_property
    def sample(self) -> NDArray[np.int64]:
        """Positions of the examples on which experts are fitted."""
        return _drawn(np.arange(len(self.retriever)), FIT_EXAMPLES)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Positions of the m examples that are answered leave-one-out: part of the sample, without
        synthetic ones, which are not like new rows."""
        real = [p for p in self.sample.tolist() if not self.retriever.examples[p].synthetic]
        return _drawn(np.array(real, dtype=np.int64), LEAVE_ONE_OUT_EXAMPLES)

    @cached_property
    def queries(self) -> Queries:
        """The examples at :attr:`places`, searched like new rows."""
        examples = [self.retriever.examples[p] for p in self.places]
        return self.retriever.queries(
            [self.retriever.texts[p] for p in self.places],
            rows=[e.fields for e in examples],
            exclude_ids=[{e.id} for e in examples],
            leave_self_out=True,
            neighbours=NEIGHBOURS,
        )

    @cached_property
    def groups(self) -> list[int]:
        """Group number per example of the sample; examples of a group are left out together. A
        group has the copies and rewrites of one example. If the card names the user and there are
        :data:`LEAST_USERS` or more, it has all rows of a user, since their histories overlap."""
        first: dict[str, int] = {}
        users = self._users()
        parent: dict[int, int] = {}
        for p in self.sample.tolist():
            example = self.retriever.examples[p]
            names = [
                f"text {same_text(self.retriever.texts[p])}",
                f"id {example.id}",
                f"id {example.source_id or example.id}",
                *([f"user {users[p]}"] if p in users else []),
            ]
            roots = {_root(parent, first.setdefault(name, p)) for name in names} | {p}
            for root in roots:
                parent[root] = min(roots)
        return [_root(parent, p) for p in self.sample.tolist()]

    def _users(self) -> dict[int, str]:
        """Position of an example → its user; empty if there are too few users."""
        if self.card is None or self.card.user is None:
            return {}
        cells = {p: self.retriever.examples[p].fields.get(self.card.user) for p in self.sample}
        users = {int(p): str(user) for p, user in cells.items() if not is_missing(user)}
        return users if len(set(users.values())) >= LEAST_USERS else {}


class Expert(Protocol):
    """A classifier without a language model, fitted on the examples of one pool.

    To add one, write a class that takes :class:`ExpertData` and list it in
    :data:`ecomfs.experts.experts.EXPERTS`.

    Examples
    --------
    >>> class Shares:
    ...     '''The shares of the labels in the pool, for every row.'''
    ...     name = "shares"
    ...     def __init__(self, data):
    ...         counts = np.bincount(data.columns, minlength=len(data.labels)) + 1.0
    ...         others = counts - np.eye(len(counts))[data.columns[data.places]]
    ...         self.all = np.log(counts / counts.sum())
    ...         self.own = np.log(others / others.sum(axis=1, keepdims=True))
    ...     def scores(self, queries):
    ...         return np.tile(self.all, (len(queries), 1))
    ...     def leave_one_out(self):
    ...         return self.own
    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {}, "bad"), Example("2", {}, "good"), Example("3", {}, "good")]
    >>> retriever = Retriever(pool, ["torn", "soft", "fits"], HashedEmbedder())
    >>> expert: Expert = Shares(ExpertData(retriever, ["good", "bad"]))
    >>> np.exp(expert.scores(retriever.queries(["so soft"]))).round(2).tolist()
    [[0.6, 0.4]]
    >>> np.exp(expert.leave_one_out()).round(2).tolist()
    [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]]
    """

    @property
    def name(self) -> str:
        """Name of the expert in weights, profiles and explanations; not ``model``."""
        ...

    def scores(self, queries: Queries) -> NDArray[np.float64]:
        """Unnormalised log-probabilities, shape (n, L): their softmax is a distribution.

        A query that is an example of the pool (``queries.own``) gets its leave-one-out scores.
        """
        ...

    def leave_one_out(self) -> NDArray[np.float64]:
        """Leave-one-out scores of the examples at :attr:`ExpertData.places`, shape (m, L). Copies
        of an example are left out with it."""
        ...


def _drawn(positions: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` positions, ascending and always the same. They are random and not every n-th
    one, since labels may alternate in a pool."""
    if len(positions) <= most:
        return positions
    return np.sort(np.random.default_rng(0).choice(positions, most, replace=False))


def _root(parent: dict[int, int], place: int) -> int:
    while parent.get(place, place) != place:
        place = parent[place]
    return place


__all__ = ["NEIGHBOURS", "Expert", "ExpertData"]
