"""Clean one text step by step, and report which steps changed it.

Mojibake is text that was decoded in the wrong encoding. ftfy fixes UTF-8 read as Latin-1,
Windows-1252 and similar. Two mistakes that are common in Chinese shop data are fixed here: GBK read
as Latin-1 ("ÖÊÁ¿ºÜºÃ") and UTF-8 read as GBK ("璐ㄩ噺寰堝ソ"). Both are undone only when encoding
the result gives the same bytes again and the result is plausible Chinese.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial

from ecomfs.io import detect_language, optional_module
from ecomfs.prepare.clean.report import CleanPolicy, FindingKind

_HIGH_RUNS = re.compile(r"[\xa0-\xff]+")
_EMOJI = re.compile(r"[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]")
_LOST = re.compile(r"\ufffd|锟斤拷|烫烫烫|屯屯屯")
# Han, full-width and CJK punctuation, general punctuation, ASCII: characters of Chinese reviews.
_CHINESE = re.compile(r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef\u2010-\u2026\x09-\x7e]+")
_HAN = re.compile(r"[\u4e00-\u9fff]")


def fix_mojibake(text: str) -> str:
    """Repair text that was decoded in the wrong encoding.

    Args:
        text: one cell.

    Returns:
        The repaired text; the same text where the repair is not certain.

    >>> fix_mojibake("donâ€™t buy"), fix_mojibake("å¾ˆå¥½"), fix_mojibake("ÖÊÁ¿ºÜºÃ")
    ('don’t buy', '很好', '质量很好')
    >>> fix_mojibake("déçu, très cher"), fix_mojibake("质量很好")
    ('déçu, très cher', '质量很好')
    """
    if text.isascii():
        return text
    for undo in (_gbk_as_latin1, _utf8_as_gbk):
        fixed = undo(text)
        if fixed:
            return fixed
    ftfy = optional_module("ftfy", need="fixing mojibake", extra="clean")
    return str(ftfy.fix_encoding(text))


def has_lost_characters(text: str) -> bool:
    """Whether the text contains replacement characters of characters that cannot be restored.

    >>> [has_lost_characters(text) for text in ("很好锟斤拷", "caf\\ufffd", "很好")]
    [True, True, False]
    """
    return bool(_LOST.search(text))


def _gbk_as_latin1(text: str) -> str:
    try:
        fixed = text.encode("latin-1").decode("gb18030")
    except UnicodeError:
        return ""
    # Emoji are four-byte codes with digits in them; only the text around them is examined.
    plain = _EMOJI.sub("", fixed)
    raw = plain.encode("gb18030")
    runs = _HIGH_RUNS.findall(raw.decode("latin-1"))
    high = sum(map(len, runs))
    # Accented letters of Western text stand alone; bytes of GBK come in runs of even length.
    if high < 4 or any(len(run) % 2 for run in runs) or high != sum(b >= 0x80 for b in raw):
        return ""
    return fixed if _gb2312_share(raw) == 1.0 and _is_chinese(plain, high // 4) else ""


def _gb2312_share(line: bytes) -> float:
    """Share of multi-byte GB18030 characters in the GB2312 plane or four bytes long."""
    usual = total = position = 0
    while position < len(line):
        if line[position] < 0x80:
            position += 1
            continue
        second = line[position + 1] if position + 1 < len(line) else 0
        four = 0x30 <= second <= 0x39
        usual += four or (line[position] >= 0xA1 and second >= 0xA1)
        total += 1
        position += 4 if four else 2
    return usual / total if total else 0.0


def _utf8_as_gbk(text: str) -> str:
    try:
        fixed = text.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return ""
    return fixed if _is_chinese(fixed, 1) else ""


def _is_chinese(text: str, least: int) -> bool:
    return bool(_CHINESE.fullmatch(text)) and len(_HAN.findall(text)) >= least


_INLINE = "a|abbr|b|big|code|del|em|font|i|ins|mark|s|small|span|strike|strong|sub|sup|tt|u"
_BLOCK = (
    "article|aside|blockquote|body|br|button|center|dd|div|dl|dt|figure|footer|form|h[1-6]|head|"
    "header|hr|html|iframe|img|input|label|li|link|main|meta|nav|ol|option|p|pre|section|select|"
    "table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video"
)
_UNSEEN = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>|<!--.*?-->|<!doctype[^>]*>", re.I | re.S)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.I)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*)?/?>", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)
# Zero-width joiner (200D) and variation selectors stay: emoji and Indic scripts need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0001-\U000e007f]"
)
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")
_NOT_PICTURES = {"©", "®", "™"}  # emoji in Unicode, but used as text


def clean_text(text: str, policy: CleanPolicy) -> tuple[str, list[FindingKind]]:
    """Clean a text by the policy.

    Args:
        text: one cell.
        policy: what to repair.

    Returns:
        The text, and the kinds of change in the order in which they were made.

    >>> clean_text("Great<br>phone&nbsp;&amp; case\\u200b ", CleanPolicy())
    ('Great\\nphone & case', ['html', 'control', 'space'])
    >>> clean_text("i <3 it, price < 5", CleanPolicy())
    ('i <3 it, price < 5', [])
    """
    changed: list[FindingKind] = []
    for kind, step in _steps(policy):
        after = step(text)
        if after != text:
            changed.append(kind)
            text = after
    return text, changed


def _steps(policy: CleanPolicy) -> Iterator[tuple[FindingKind, Callable[[str], str]]]:
    """The steps, in this order: mojibake may consist of control characters, and entities may encode
    any character."""
    if policy.mojibake:
        yield "mojibake", fix_mojibake
    if policy.html != "keep":
        yield "html", partial(strip_html, tags=policy.html == "strip")
    if policy.controls:
        yield "control", drop_invisible
    if policy.unicode != "keep":
        yield "unicode", partial(unicodedata.normalize, policy.unicode)
    if policy.emoji != "keep":
        yield "emoji", partial(replace_emoji, name=policy.emoji == "name")
    if policy.spaces:
        yield "space", tidy_spaces


def strip_html(text: str, *, tags: bool = True) -> str:
    """Remove known HTML tags (a block tag becomes a line feed), and resolve entities.

    Only names of real tags are removed, so comparisons and hearts ("<3") stay. Entities that were
    escaped twice are resolved twice.

    >>> strip_html("<p>Good</p><b>value</b> &amp;lt;3")
    '\\nGood\\nvalue <3'
    """
    if tags and "<" in text:
        text = _UNSEEN.sub(" ", text)
        text = _BLOCK_TAG.sub("\n", _INLINE_TAG.sub("", text))
    for _ in range(2):
        if not _ENTITY.search(text):
            break
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return text


def drop_invisible(text: str) -> str:
    """Remove control, zero-width and direction characters; carriage returns become line feeds.

    Hidden characters have no meaning for readers but can carry instructions for a model.

    >>> drop_invisible("a\\x00b\\u202ec\\r\\nd")
    'abc\\nd'
    """
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def replace_emoji(text: str, *, name: bool) -> str:
    """Replace emoji by words between colons, in the text's language, or remove them.

    >>> replace_emoji("很好👍", name=True), replace_emoji("Brand™ 👍🏽", name=False)
    ('很好:拇指向上:', 'Brand™ ')
    """
    emoji = optional_module("emoji", need="an emoji policy", extra="clean")
    if name:
        return str(emoji.demojize(text, language=detect_language(text)))
    kept = {*_NOT_PICTURES, *(f"{c}\ufe0f" for c in _NOT_PICTURES)}
    return str(emoji.replace_emoji(text, lambda chars, _: chars if chars in kept else ""))


def tidy_spaces(text: str) -> str:
    """Reduce every run of blanks to one space, keep at most one empty line, and strip the ends.

    >>> tidy_spaces("  a \\t b \\n\\n\\n\\n c\\u3000")
    'a b\\n\\nc'
    """
    text = _LINES.sub("\n", _BLANKS.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip()
