"""Detects legacy encodings (those before Unicode), or reports that none fits clearly best.

Almost any bytes are valid in several of them, so validity proves little: German in cp1252 and
Korean in cp949 are also valid GB18030, as rare Chinese characters. The language models of
*chardet* score the candidates. An encoding is accepted only if

- chardet ranks it first twice: for the whole text, and for its non-ASCII words alone (in a text
  with few umlauts the other words tell nothing about the encoding);
- both times its score is above that of every candidate that gives *another* text, by a clear
  margin;
- the text it gives consists of words: no control characters, no signs inside words, no words in
  two alphabets.

Otherwise the text is refused, and the likely encodings are named for the caller to choose from.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_READ = {  # chardet's name → the codecs for such files, the usual one first
    "gb18030": ("gb18030",),
    "big5hkscs": ("cp950", "big5hkscs"),
    "cp932": ("cp932",),
    "euc_jis_2004": ("euc_jp", "euc_jis_2004"),
    "cp949": ("cp949",),
    "koi8-r": ("koi8-r",),
    **{name: (name,) for name in ("iso8859-2", "iso8859-7", "iso8859-9")},
    **{name: (name,) for name in (f"cp{number}" for number in range(1250, 1258))},
    "cp874": ("cp874",),
}
_NAMED = {  # named as likely encodings, but too rare to be accepted on a guess
    "cp437",
    "cp850",
    "cp852",
    "cp866",
    "mac-roman",
    "koi8-u",
    "iso8859-5",
    "iso8859-15",
}
_MULTIBYTE = ("gb18030", "cp950", "cp932", "euc_jp", "cp949")
_ALPHABETS = {"LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "THAI"}
_INSIDE_WORDS = "´·®°™"
_MOST_ODD_WORDS = 0.05
_MOST_KANA = 0.3
_BROKEN_LINES = 0.1
_SAMPLE_BYTES = 1 << 14
_CHINESE = 2.0
"""Weight of GB18030: most input is Chinese, and a short Chinese text is often valid Korean or
Japanese too."""


# Found on lists of frequent words of 30 languages, not on the sentences of eval/bench/encodings.py.
_LEAD = 0.3
_LEAD_WHOLE = 0.005
_LEAD_WORDS = 0.03
_LEAST_CONFIDENCE = 0.02

_ASCII_RUN = re.compile(rb"[\x00-\x2f\x3a-\x3f]+")  # no byte of them is part of a longer character
_REPEATED = re.compile(rb"([\x80-\xff].{1,7}?)\1{2,}", re.DOTALL)
_WORD = re.compile(r"[^\s\x00-\x26\x28-\x40]+")


class Guess(NamedTuple):
    """The result of a detection.

    Attributes:
        name: Python codec name; empty when no encoding fits clearly best.
        likely: codec names, the likeliest first.
    """

    name: str
    likely: tuple[str, ...]


class _Reading(NamedTuple):
    codec: str
    weight: float
    text: str
    accepted: bool


def guess_encoding(lines: Sequence[bytes]) -> Guess:
    """The encoding of lines that are not ASCII and not UTF-8.

    Up to a tenth of the lines may be broken; they are ignored.

    >>> guess_encoding(["Größe 38 fällt kleiner aus".encode("cp1252")]).name
    'cp1252'
    >>> guess_encoding(["质量很好，物流也快".encode("gbk")]).name
    'gb18030'
    >>> guess_encoding([b"caf\\xe9"]).name
    ''
    """
    sample = _spread(lines)
    for codec in _MULTIBYTE:
        sound = [line for line in sample if _decoded(line, codec) is not None]
        if (1 - _BROKEN_LINES) * len(sample) <= len(sound) < len(sample):
            found = _guess(sound)
            if found.name == codec:
                return found
    return _guess(sample)


def _spread(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Lines spread over all of them, up to the size of the sample."""
    return lines[:: sum(map(len, lines)) // _SAMPLE_BYTES + 1]


def _guess(lines: Sequence[bytes]) -> Guess:
    # Repeated words (labels, one review a hundred times) are no further evidence, and chardet
    # accepts no text of few different characters.
    parts: dict[bytes, None] = {}
    informative = []
    for line in lines:
        new = [p for p in _ASCII_RUN.split(line) if not p.isascii() and p not in parts]
        if new:
            parts |= dict.fromkeys(new)
            informative.append(line)
    text = b"\n".join(informative)[: 2 * _SAMPLE_BYTES]
    if not parts:
        return Guess("", ())
    words = b" ".join(parts)[:_SAMPLE_BYTES]
    readings = _readings(words)
    whole, alone = _ranked(text, readings), _ranked(words, readings)
    both = sorted([*alone, *whole], key=lambda reading: not reading.accepted)
    likely = tuple(dict.fromkeys(reading.codec for reading in both))[:3]
    if not whole or not alone or whole[0].text != alone[0].text:
        return Guess("", likely)
    # Texts of few different characters are equal in several encodings; Windows' usual one is named.
    same = [reading for reading in whole if reading.text == whole[0].text]
    best = min(same, key=lambda reading: (not reading.accepted, not reading.codec.startswith("cp")))
    if best.codec in _MULTIBYTE:
        clear = all(_lead(ranked) >= _LEAD for ranked in (whole, alone))
    else:
        clear = (
            all(_lead(ranked, _MULTIBYTE) >= _LEAD for ranked in (whole, alone))
            and _lead(whole) >= _LEAD_WHOLE
            and _lead(alone) >= _LEAD_WORDS
            and alone[0].weight >= _LEAST_CONFIDENCE
            and len(parts) > 1
        )
    return Guess(best.codec if clear and best.accepted else "", likely)


def _readings(words: bytes) -> dict[str, tuple[str, str]]:
    """chardet's name → codec and text, for the encodings that give proper words."""
    found = {}
    for name, codecs_ in {**_READ, **{name: (name,) for name in _NAMED}}.items():
        for codec in codecs_:
            text = _decoded(words, codec, cut=True)
            if text is None:
                continue
            if _is_words(text) and (codec != "gb18030" or _kana(text) <= _MOST_KANA):
                found[name] = codec, text
            break
    return found


def _ranked(sample: bytes, readings: dict[str, tuple[str, str]]) -> list[_Reading]:
    """The candidates with chardet's scores for the sample, the likeliest first."""
    import chardet

    ranked = []
    for each in chardet.detect_all(
        _REPEATED.sub(rb"\1", sample),  # "好好好好好好" is no evidence against Chinese
        ignore_threshold=True,
        compat_names=False,
        include_encodings=[*_READ, *_NAMED],
        empty_input_encoding="cp1252",
    ):
        name = each["encoding"]
        if name in readings:
            codec, text = readings[name]
            weight = each["confidence"] * (_CHINESE if codec == "gb18030" else 1.0)
            ranked.append(_Reading(codec, weight, text, name in _READ))
    return sorted(ranked, key=lambda reading: -reading.weight)


def _lead(ranked: Sequence[_Reading], among: Sequence[str] = ()) -> float:
    """Relative lead of the first candidate over the next one that gives another text."""
    best = ranked[0]
    others = (r for r in ranked if r.text != best.text and (not among or r.codec in among))
    other = next((r.weight for r in others), 0.0)
    return (best.weight - other) / best.weight if best.weight else 0.0


def _decoded(raw: bytes, codec: str, *, cut: bool = False) -> str | None:
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(raw, final=not cut)
    except UnicodeDecodeError:
        return None


def _is_words(text: str) -> bool:
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    return sum(map(_is_odd, words)) <= _MOST_ODD_WORDS * len(words)


def _is_odd(word: str) -> bool:
    if len({_alphabet(c) for c in word} - {""}) > 1:
        return True
    for before, c, after in zip(" " + word, word, word[1:] + " ", strict=False):
        kind = unicodedata.category(c)
        if c > "\x7f" and kind in {"Cc", "Cn", "Co", "Cs"}:
            return True
        sign = c > "\x7f" and kind[0] == "S" and c not in _INSIDE_WORDS
        if sign and before.isalpha() and after.isalpha():
            return True
    return False


@lru_cache(maxsize=1 << 14)
def _alphabet(c: str) -> str:
    first = unicodedata.name(c, "").partition(" ")[0]
    return first if first in _ALPHABETS else ""


def _kana(text: str) -> float:
    """Share of Kana among the non-ASCII characters. The GB character sets have Kana too, at the
    same codes as EUC-JP."""
    other = [c for c in text if c > "\x7f"]
    return sum("\u3041" <= c <= "\u30fa" for c in other) / len(other) if other else 0.0


__all__ = ["Guess", "guess_encoding"]
