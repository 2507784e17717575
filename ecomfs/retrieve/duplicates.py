"""Which examples are the query itself in disguise.

Two texts are the same when :func:`ecomfs.text.normalise.fold` says so: the same letters and
digits, which re-posting, re-exporting and re-punctuating leave untouched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ecomfs.text.normalise import fold, squeeze


class DuplicateFinder:
    """Positions of the texts that equal a query after folding.

    >>> DuplicateFinder(["Good!", "bad", "good"]).find("GOOD")
    (0, 2)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        for position, text in enumerate(texts):
            places[_key(text)].append(position)
        self._places = {key: tuple(at) for key, at in places.items()}

    def find(self, query: str) -> tuple[int, ...]:
        """Positions, ascending."""
        return self._places.get(_key(query), ())


def _key(text: str) -> str:
    # A text without letters or digits (emoji only) folds to nothing: it is compared as it is.
    return fold(text) or squeeze(text)
