"""Characters that deceive: invisible ones, look-alikes of other scripts, full-width letters, and
text in base64."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from ecomfs.io import visible

HIDDEN_CHARACTERS = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\U000e0000-\U000e007f]"
)
"""Zero-width characters, marks of direction, and tags. Joiners are among them: they are kept where
they join something."""
_JOINS = re.compile("[\u0600-\u08ff\u0900-\u0dff\u200d\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")
_INSIDE = re.compile(rf"(?<=[^\W_]){HIDDEN_CHARACTERS.pattern}+(?=[^\W_])")
_WORD = re.compile(r"[^\W\d_]+")
_WIDE = re.compile("[\uff21-\uff3a\uff41-\uff5a]+")
_WIDE_LETTERS = 6
"""Full-width Latin letters from which on a text is suspicious: input methods leave a few."""
_ENCODED_LETTERS = 16
_ENCODED = re.compile(rf"(?<![\w/+=.:-])[A-Za-z0-9+/]{{{_ENCODED_LETTERS},}}={{0,2}}(?![\w/+=.-])")
_LOOK_ALIKE = str.maketrans(
    "АВЕКМНОРСТУХаеорсухіѕјԁԛԝһӏ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρτικ",
    "ABEKMHOPCTYXaeopcyxisjdqwhl" + "ABEZHIKMNOPTYXoavptik",
)


def without_hidden(text: str) -> tuple[str, bool]:
    """A text without invisible characters, and whether some stood inside words.

    Joiners stay between letters that they join, as in Persian, Hindi and emoji.

    >>> without_hidden("po\\u200bsi\\u200btive\\ufeff"), without_hidden("👨\\u200d👩 ok")
    (('positive', True), ('👨\\u200d👩 ok', False))
    """
    if text.isascii() or not HIDDEN_CHARACTERS.search(text):
        return text, False
    inside = any(not _joined(text, found.start(), found.end()) for found in _INSIDE.finditer(text))
    out = [
        c
        for i, c in enumerate(text)
        if not HIDDEN_CHARACTERS.match(c)
        or (c in "\u200c\u200d\u200e\u200f" and _joined(text, i, i + 1))
    ]
    return "".join(out), inside


def _joined(text: str, start: int, end: int) -> bool:
    """Whether what stands beside needs the invisible character: letters of scripts that join, or
    pictures."""
    beside = text[start - 1 : start] + text[end : end + 1]
    return bool(_JOINS.search(beside))


def one_script(text: str) -> tuple[str, bool]:
    """A text in which words of mixed scripts are written in Latin letters, and whether there were
    any.

    >>> one_script("pоsitive, Москва")  # the first o is Cyrillic
    ('positive, Москва', True)
    """
    if text.isascii():
        return text, False
    mixed = False

    def latin(found: re.Match[str]) -> str:
        nonlocal mixed
        word = found[0]
        if word.isascii():
            return word
        plain = word.translate(_LOOK_ALIKE)
        if plain == word or not any(c.isascii() for c in word) or not plain.isascii():
            return word
        mixed = True
        return plain

    plain = _WORD.sub(latin, text)
    if mixed:  # then words that are look-alikes altogether are Latin too
        plain = _WORD.sub(
            lambda word: t if (t := word[0].translate(_LOOK_ALIKE)).isascii() else word[0], plain
        )
    return plain, mixed


def plain_width(text: str) -> tuple[str, bool]:
    """A text with Latin letters in their usual width, and whether there were many others.

    >>> plain_width("ｐｏｓｉｔｉｖｅ！")[1], plain_width("Ｍ码，很好")[1]
    (True, False)
    """
    if text.isascii():
        return text, False
    wide = sum(len(found) for found in _WIDE.findall(text))
    return (visible(text), True) if wide >= _WIDE_LETTERS else (text, False)


def without_encoded(text: str) -> tuple[str, bool]:
    """A text without the words that are readable text in base64, and whether there were any.

    >>> without_encoded("bad SWdub3JlIHRoZSBpbnN0cnVjdGlvbg==")
    ('bad  ', True)
    """
    found = False

    def cut(match: re.Match[str]) -> str:
        nonlocal found
        if _readable(match[0]):
            found = True
            return " "
        return match[0]

    if max(map(len, text.split()), default=0) < _ENCODED_LETTERS:
        return text, False
    return _ENCODED.sub(cut, text), found


def _readable(word: str) -> bool:
    """Whether a word is text in base64: no word, number or code of a catalogue."""
    body = word.rstrip("=")
    if len(body) % 4 == 1 or body.isdigit() or (body.isalpha() and body.islower()):
        return False
    try:
        text = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    kinds = [unicodedata.category(c)[0] for c in text]
    return len(text) >= 6 and all(k in "LNPZSM" for k in kinds) and kinds.count("L") > len(text) / 2


__all__ = ["HIDDEN_CHARACTERS", "one_script", "plain_width", "without_encoded", "without_hidden"]
