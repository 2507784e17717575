"""Forms of a text for comparing: two texts that differ only in looks become equal."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """NFKC, case-folded, letters and digits only, in whatever script.

    Combining marks that belong to a letter stay; punctuation, symbols, emoji and white space go.
    Two texts with the same fold are duplicates; a fold that is empty says nothing (an emoji-only
    text), so callers compare the texts themselves then.

    >>> fold("Ｇｒｅａｔ!! 5 stars")
    'great5stars'
    >>> fold("很好，下次还来！") == fold("很好 下次还来")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in folded if c.isalnum() or _is_letter_mark(c))
    return unicodedata.normalize("NFKC", kept)  # a mark may have a new letter before it


def _is_letter_mark(char: str) -> bool:
    """A mark that is part of a letter, as in Hindi or Thai; emoji variation selectors are not."""
    selector = "\ufe00" <= char <= "\ufe0f" or char >= "\U000e0100"
    return unicodedata.category(char) in {"Mn", "Mc"} and not selector


def one_width(text: str) -> str:
    """Full-width and half-width characters in their usual width; all others stay.

    >>> one_width("ＡＢＣ１２：ｶﾞ M²")
    'ABC12:ガ M²'
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", "".join(map(_usual_width, text)))


def _usual_width(char: str) -> str:
    kind, _, codes = unicodedata.decomposition(char).partition(" ")
    return "".join(chr(int(c, 16)) for c in codes.split()) if kind in _WIDTHS else char


_WIDTHS = ("<wide>", "<narrow>")


def squeeze(text: str) -> str:
    """Every run of white space as one space, none at the ends.

    >>> squeeze("  two\\n\\n lines ")
    'two lines'
    """
    return " ".join(text.split())
