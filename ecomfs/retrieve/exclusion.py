"""Which examples a query may not be shown: by id, by text and by label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from ecomfs.errors import ConfigError
from ecomfs.io import same_text
from ecomfs.retrieve.index import Excluded
from ecomfs.retrieve.strategies import PoolView


class DuplicateFinder:
    """Positions of the texts that equal a query once both are normalised.

    Texts are compared by :func:`ecomfs.io.same_text`, which re-posting and re-exporting a text
    leave unchanged.

    Examples
    --------
    >>> DuplicateFinder(["Good!", "bad", "good"]).find("GOOD")
    (0, 2)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        for position, text in enumerate(texts):
            places[same_text(text)].append(position)
        self._places = {key: tuple(at) for key, at in places.items()}

    def find(self, query: str) -> tuple[int, ...]:
        """Positions, ascending."""
        return self._places.get(same_text(query), ())


class Exclusion:
    """Turns ids, texts and labels into positions of the pool.

    Parameters
    ----------
    pool
        The pool.
    labels
        Its labels, by number.
    texts
        The examples' texts, by position.
    sources
        Of each example the id of the one it was made from, or "". An example that is excluded by
        its id or its text also excludes all examples made from it, and the one it was made from:
        a rewrite reveals the label of its source.
    """

    def __init__(
        self,
        pool: PoolView,
        labels: Sequence[str],
        texts: Sequence[str],
        sources: Sequence[str] = (),
    ) -> None:
        self._pool = pool
        self._numbers = {label: number for number, label in enumerate(labels)}
        self._duplicates = DuplicateFinder(texts)
        self._origins: list[str] = []  # of each example; empty where each is its own origin
        self._by_origin: dict[str, list[int]] = defaultdict(list)
        if any(sources):
            self._origins = [source or id for id, source in zip(pool.ids, sources, strict=True)]
            for position, origin in enumerate(self._origins):
                self._by_origin[origin].append(position)

    def positions(
        self,
        queries: Sequence[str],
        *,
        exclude_ids: Sequence[Collection[str]] | None,
        leave_self_out: bool,
        labels: Sequence[Collection[str]] | None = None,
    ) -> list[Excluded]:
        """For each query, the positions that its ids, its text and its labels exclude.

        Raises
        ------
        ConfigError
            An argument is not aligned with ``queries``.
        """
        for name, given in (("exclude_ids", exclude_ids), ("labels", labels)):
            if given is not None and len(given) != len(queries):
                raise ConfigError(f"{len(queries)} queries but {len(given)} entries in {name}")
            if given is not None and any(isinstance(entry, str) for entry in given):
                raise ConfigError(f"{name} takes a collection for each query, not a text")
        excluded = []
        for place, query in enumerate(queries):
            single: set[int] = set()
            if exclude_ids is not None:
                single.update(self._pool.find(exclude_ids[place]))
            if leave_self_out:
                single.update(self._duplicates.find(query))
            if self._origins:
                for position in list(single):
                    single.update(self._by_origin[self._origins[position]])
            allowed = None
            if labels is not None:
                allowed = [self._numbers[name] for name in labels[place] if name in self._numbers]
            excluded.append(Excluded(single, self._pool.groups, allowed))
        return excluded
