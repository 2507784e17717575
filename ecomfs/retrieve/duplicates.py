"""Which examples are the query itself in disguise.

Two texts are the same when their letters and digits are, after NFKC and case folding: what
re-posting, re-exporting and re-punctuating leave untouched.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence


def fold(text: str) -> str:
    """Letters and digits of a text, case folded; the whole folded text when it has none.

    >>> fold("Ｇreat!!  Shoes.") == fold("great shoes")
    True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or " ".join(folded.split())


class DuplicateFinder:
    """Positions of the texts that equal a query after :func:`fold`.

    >>> DuplicateFinder(["Good!", "bad", "good"]).find("GOOD")
    (0, 2)
    """

    def __init__(self, texts: Sequence[str]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        for position, text in enumerate(texts):
            places[fold(text)].append(position)
        self._places = {folded: tuple(at) for folded, at in places.items()}

    def find(self, query: str) -> tuple[int, ...]:
        """Positions, ascending."""
        return self._places.get(fold(query), ())
