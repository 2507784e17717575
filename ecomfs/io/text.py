"""Normal forms of text for comparison, and language detection."""

from __future__ import annotations

import re
import unicodedata

from ecomfs.types import Language

# Compatibility forms that look like the plain characters. Others differ in meaning: m² is not m2,
# ① is not 1, 1½ is not 11/2.
_LOOKS = {
    "<wide>",
    "<narrow>",
    "<small>",
    "<vertical>",
    "<font>",
    "<compat>",
    "<noBreak>",
    "<initial>",
    "<medial>",
    "<final>",
    "<isolated>",
}
_LIKE = {
    **dict.fromkeys("‘’‛ʼ", "'"),
    **dict.fromkeys("“”„‟", '"'),
    **dict.fromkeys("‐‑‒–−﹣－", "-"),
}
_JOINERS = "\u200c\u200d"  # between letters of Persian and Hindi, and inside emoji
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PAUSE = re.compile(rf"(?<=[{_HAN}]) (?=[{_HAN}])")
_LOOSE_SPACE = re.compile(rf"(?<=[{_HAN}、。]) | (?=[{_HAN}])")
_FULL_STOPS = " .!。！।۔"


class _Looks(dict[int, str]):
    """A character → the plain character that it looks like; a cache filled on use."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _look(chr(code))
        return found


def _look(char: str) -> str:
    if char in _LIKE:
        return _LIKE[char]
    if unicodedata.category(char) in {"Cc", "Cf"} and not char.isspace():
        is_tag = "\U000e0020" <= char <= "\U000e007f"  # part of the flags of regions
        return char if char in _JOINERS or is_tag else ""
    if "\ufe00" <= char <= "\ufe0f":
        return ""  # whether a symbol is drawn in colour
    kind = unicodedata.decomposition(char).partition(" ")[0]
    if kind not in _LOOKS:
        return char
    return "".join(_LIKE.get(c, c) for c in unicodedata.normalize("NFKC", char))


_looks = _Looks()


def same_text(text: str) -> str:
    """A normal form for equality: two texts count as the same if their forms are equal.

    It ignores width, case, white space, Unicode form, invisible characters, the shape of quotes and
    dashes, and full stops and exclamation marks at the end. It keeps everything that can carry
    meaning: signs, points and commas, currencies, symbols, emoji, question marks. White space
    between two Han or Kana characters becomes a comma; next to one such character it is removed.

    Examples
    --------
    >>> same_text("Ｇｒｅａｔ  product!!") == same_text("great product.")
    True
    >>> [same_text(t) for t in ("C#", "-5 C", "6.1", "👍", "!", "很好 下次还来！")]
    ['c#', '-5 c', '6.1', '👍', '!', '很好,下次还来']
    """
    seen = visible(text).casefold()
    seen = squeeze(visible(seen))  # again: a folded letter may be one that is written in two ways
    seen = _LOOSE_SPACE.sub("", _PAUSE.sub(",", seen))
    return seen.rstrip(_FULL_STOPS) or seen


def visible(text: str) -> str:
    """A text with one form for characters that look alike; case and white space are kept.

    Returns
    -------
    str
        The text in Unicode form NFC without invisible characters; compatibility forms that look
        like plain characters are replaced by them.

    Examples
    --------
    >>> visible("Ｍ² “ok”"), visible("①")
    ('M² "ok"', '①')
    """
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", composed.translate(_looks))


def fold(text: str) -> str:
    """A text in NFKC, case-folded, letters and digits of any script only.

    Combining marks of letters are kept; punctuation, symbols, emoji and white space are removed.
    Use it for similarity only, since it makes ``C#`` and ``C`` equal, and 6.1 and 61. For equality
    use :func:`same_text`.

    Examples
    --------
    >>> fold("Ｇｒｅａｔ!! 5 stars")
    'great5stars'
    >>> fold("很好，下次还来！") == fold("很好 下次还来")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in folded if c.isalnum() or _is_letter_mark(c))
    return unicodedata.normalize("NFKC", kept)  # a mark may have a new letter before it


def _is_letter_mark(char: str) -> bool:
    """Whether a mark is part of a letter, as in Hindi or Thai; variation selectors are not."""
    selector = "\ufe00" <= char <= "\ufe0f" or char >= "\U000e0100"
    return unicodedata.category(char) in {"Mn", "Mc"} and not selector


def squeeze(text: str) -> str:
    """A text with each run of white space as one space, and none at the ends.

    Examples
    --------
    >>> squeeze("  two\\n\\n lines ")
    'two lines'
    """
    return " ".join(text.split())


_HAN_LETTER = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\uff21-\uff3a\uff41-\uff5a]")


def detect_language(text: str) -> Language:
    """The prompt language for a text, by its script: ``zh`` if at least a third of its letters are
    Han, else ``en``, also for texts without letters.

    One Han character carries about as much as half a Latin word: the rule is ``2 * han >= latin``.
    Product texts mix scripts ("小米 Redmi Note 12 Pro 手机壳"); with this weight, Latin model names
    do not decide the language of a Chinese sentence. Other scripts are not detected.

    Examples
    --------
    >>> detect_language("快递很快"), detect_language("Arrived fast"), detect_language("★★★★★")
    ('zh', 'en', 'en')
    >>> detect_language("小米 Redmi Note 手机壳很好用")
    'zh'
    """
    han = len(_HAN_LETTER.findall(text))
    return "zh" if han and 2 * han >= len(_LATIN.findall(text)) else "en"
