"""Which examples are the query itself in disguise.

Two texts are the same when :func:`ecomfs.io.text.same_text` says so: re-posting and
re-exporting leave that untouched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ecomfs.io import same_text


class DuplicateFinder:
    """Positions of the texts that a reader takes for a query.

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
