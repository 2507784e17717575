"""Undo text that was decoded in the wrong encoding.

ftfy mends UTF-8 read as Latin-1, Windows-1252 and their kin. Two mistakes that are common in
Chinese shop data are not its business and are mended here: GBK read as Latin-1 ("ÖÊÁ¿ºÜºÃ") and
UTF-8 read as GBK ("璐ㄩ噺寰堝ソ"). Both are undone only when the way back is exact and what
comes out is plausible Chinese; otherwise the text stays as it is.
"""

from __future__ import annotations

import re

from ecomfs.io import gb2312_share, optional_module

_HIGH_RUNS = re.compile(r"[\xa0-\xff]+")
_EMOJI = re.compile(r"[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]")
_RUINS = re.compile(r"\ufffd|锟斤拷|烫烫烫|屯屯屯")
# Han, full-width and CJK punctuation, general punctuation, ASCII: what a Chinese review is made of.
_CHINESE = re.compile(r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef\u2010-\u2026\x09-\x7e]+")
_HAN = re.compile(r"[\u4e00-\u9fff]")


def mend_mojibake(text: str) -> str:
    """The text as it was meant, or unchanged when that is not certain.

    >>> mend_mojibake("donâ€™t buy"), mend_mojibake("å¾ˆå¥½"), mend_mojibake("ÖÊÁ¿ºÜºÃ")
    ('don’t buy', '很好', '质量很好')
    >>> mend_mojibake("déçu, très cher"), mend_mojibake("质量很好")
    ('déçu, très cher', '质量很好')
    """
    if text.isascii():
        return text
    for undo in (_gbk_as_latin1, _utf8_as_gbk):
        mended = undo(text)
        if mended:
            return mended
    ftfy = optional_module("ftfy", need="mending mojibake", extra="clean")
    return str(ftfy.fix_encoding(text))


def is_ruined(text: str) -> bool:
    """Whether the text holds what is left when characters were lost for good.

    >>> is_ruined("很好锟斤拷"), is_ruined("caf\\ufffd"), is_ruined("很好")
    (True, True, False)
    """
    return bool(_RUINS.search(text))


def _gbk_as_latin1(text: str) -> str:
    try:
        mended = text.encode("latin-1").decode("gb18030")
    except UnicodeError:
        return ""
    # Emoji are four-byte codes with digits in them; what is judged is the text around them.
    plain = _EMOJI.sub("", mended)
    raw = plain.encode("gb18030")
    runs = _HIGH_RUNS.findall(raw.decode("latin-1"))
    high = sum(map(len, runs))
    # Accented letters of Western text stand alone; bytes of GBK come in runs of even length.
    if high < 4 or any(len(run) % 2 for run in runs) or high != sum(b >= 0x80 for b in raw):
        return ""
    return mended if gb2312_share(raw) == 1.0 and _is_chinese(plain, high // 4) else ""


def _utf8_as_gbk(text: str) -> str:
    try:
        mended = text.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return ""
    return mended if _is_chinese(mended, 1) else ""


def _is_chinese(text: str, least: int) -> bool:
    return bool(_CHINESE.fullmatch(text)) and len(_HAN.findall(text)) >= least
