"""The texts of the labelled examples, found inside rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ecomfs.io import visible

_LETTERS = re.compile(r"[^\W_]+")
_NO_LETTERS = bytes(n for n in range(128) if not chr(n).isalnum())
_HAN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
ANCHOR = 8
"""Letters by which texts are looked up."""
_STEP = 4
"""Most letters from one place that is looked up in a row to the next."""
HAN = 3
"""Letters that a Han or Kana character counts for."""
SHORTEST, SHORT = 24, 12
"""Letters from which on a text is known again inside another: alone, or beside other texts."""
REST, REST_OF_SEVERAL = 20, 8
"""Fewer letters beside one text, or beside several: the row is left as it is."""


@dataclass(frozen=True, slots=True)
class PoolTexts:
    """Texts of a pool by their first letters.

    >>> texts = PoolTexts.of(["Lovely soft shirt, fits very well", "short"])
    >>> texts.cut("It broke at once, and nobody answers. lovely soft shirt fits very well!")
    ('It broke at once, and nobody answers. !', 1)
    >>> texts.cut("Lovely soft shirt, fits very well.")[1]  # the same text is no paste
    0
    """

    folded: dict[str, str]
    by_start: dict[str, tuple[str, ...]]
    step: int = 1
    near_start: frozenset[str] = frozenset()
    """The anchors at the first ``step`` letters of each text: a row that holds a text has one of
    them at a multiple of ``step``, so only these places are looked up in it."""

    @classmethod
    def of(cls, texts: Iterable[str], old: PoolTexts | None = None) -> PoolTexts:
        """Of the texts of a pool; ``old``: of an earlier version, whose work is used again."""
        known = {} if old is None else old.folded
        folded = {t: known.get(t) or _folded(t) for t in dict.fromkeys(texts)}
        by_start: dict[str, set[str]] = {}
        for text in folded.values():
            if letters(text) >= SHORT and len(text) >= ANCHOR:
                by_start.setdefault(text[:ANCHOR], set()).add(text)
        longest = {
            start: tuple(sorted(some, key=lambda t: (-len(t), t)))
            for start, some in by_start.items()
        }
        every = [text for some in longest.values() for text in some]
        step = min(_STEP, min(map(len, every), default=ANCHOR) - ANCHOR + 1)
        near = {text[at : at + ANCHOR] for text in every for at in range(step)}
        return cls(folded, longest, step, frozenset(near))

    def cut(self, text: str) -> tuple[str, int]:
        """A text without the examples that were pasted into it, and how many different ones were.

        A text that is one example and little else is left as it is: equal rows are no attack. So
        is one that would have nothing left; the examples in it count.
        """
        if not self.by_start:
            return text, 0
        folded = _folded(text)
        spans = self._spans(folded)
        if not spans:
            return text, 0
        different = {folded[a:b] for a, b in spans}
        if len(different) == 1 and letters(min(different)) < SHORTEST:
            return text, 0
        gone = [True] * len(folded)
        for a, b in spans:
            gone[a:b] = [False] * (b - a)
        rest = letters("".join(c for c, kept in zip(folded, gone, strict=True) if kept))
        if rest < (REST if len(different) == 1 else REST_OF_SEVERAL):
            return text, len(different) if len(different) > 1 else 0
        return self._without(text, spans, len(folded)), len(different)

    def without(self, text: str) -> tuple[str, bool]:
        """As :meth:`cut`, and whether there were any."""
        rest, pasted = self.cut(text)
        return rest, pasted > 0

    def _spans(self, folded: str) -> list[tuple[int, int]]:
        places = range(0, len(folded) - ANCHOR + 1, self.step)
        if self.near_start.isdisjoint([folded[at : at + ANCHOR] for at in places]):
            return []  # so it is with nearly all rows
        spans, at = [], 0
        while at + ANCHOR <= len(folded):
            for candidate in self.by_start.get(folded[at : at + ANCHOR], ()):
                if folded.startswith(candidate, at):
                    spans.append((at, at + len(candidate)))
                    at += len(candidate)
                    break
            else:
                at += 1
        return spans

    @staticmethod
    def _without(text: str, spans: list[tuple[int, int]], size: int) -> str:
        """The text without the letters of the spans, and what stands between them."""
        places = [i for i, c in enumerate(text) for _ in _folded_character(c)]
        if len(places) != size:  # letters that are folded together: by characters of one form
            text = unicodedata.normalize("NFKC", text)
            places = [i for i, c in enumerate(text) for _ in _folded_character(c)]
            if len(places) != size:
                return text
        pieces, last = [], 0
        for a, b in spans:
            pieces.append(text[last : places[a]])
            last = places[b - 1] + 1
        pieces.append(text[last:])
        return " ".join(piece.strip() for piece in pieces if piece.strip())


def letters(text: str) -> int:
    """How much a text says, in letters.

    >>> letters("soft"), letters("很好")
    (4, 6)
    """
    return len(text) + (HAN - 1) * len(_HAN.findall(text))


def _folded(text: str) -> str:
    """Letters and digits, in one case and width."""
    if text.isascii():
        return text.encode().translate(None, _NO_LETTERS).decode().lower()
    return "".join(_LETTERS.findall(visible(text).casefold()))


_folded_character = lru_cache(maxsize=4096)(_folded)


__all__ = ["PoolTexts", "letters"]
