"""Mend one text, step by step, saying which steps changed it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial

from ecomfs.io import detect_language, optional_module
from ecomfs.prepare.clean.mojibake import mend_mojibake
from ecomfs.prepare.clean.policy import CleanPolicy
from ecomfs.prepare.clean.report import Kind

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
_NOT_PICTURES = {"©", "®", "™"}  # emoji by the standard, letters by use


def mend(text: str, policy: CleanPolicy) -> tuple[str, list[Kind]]:
    """The text as the policy wants it, and the kinds of change that were made.

    >>> mend("Great<br>phone&nbsp;&amp; case\\u200b ", CleanPolicy())
    ('Great\\nphone & case', ['html', 'control', 'space'])
    >>> mend("i <3 it, price < 5", CleanPolicy())
    ('i <3 it, price < 5', [])
    """
    changed: list[Kind] = []
    for kind, step in _steps(policy):
        after = step(text)
        if after != text:
            changed.append(kind)
            text = after
    return text, changed


def _steps(policy: CleanPolicy) -> Iterator[tuple[Kind, Callable[[str], str]]]:
    """In this order: mojibake may consist of control characters, entities may hide any."""
    if policy.mojibake:
        yield "mojibake", mend_mojibake
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
    """Without HTML: known tags go (a block tag leaves a line feed), entities become characters.

    Only names of real tags count, so comparisons and hearts ("<3") stay. Entities are resolved
    once more when they were escaped twice.

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
    """Without control, zero-width and direction characters; carriage returns become line feeds.

    Hidden characters carry no meaning for a reader but can carry instructions for a model.

    >>> drop_invisible("a\\x00b\\u202ec\\r\\nd")
    'abc\\nd'
    """
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def replace_emoji(text: str, *, name: bool) -> str:
    """Emoji as words between colons in the text's language, or without them.

    >>> replace_emoji("很好👍", name=True), replace_emoji("Brand™ 👍🏽", name=False)
    ('很好:拇指向上:', 'Brand™ ')
    """
    emoji = optional_module("emoji", need="an emoji policy", extra="clean")
    if name:
        return str(emoji.demojize(text, language=detect_language(text)))
    kept = {*_NOT_PICTURES, *(f"{c}\ufe0f" for c in _NOT_PICTURES)}
    return str(emoji.replace_emoji(text, lambda chars, _: chars if chars in kept else ""))


def tidy_spaces(text: str) -> str:
    """One space for every run of blanks, at most one empty line, nothing at the ends.

    >>> tidy_spaces("  a \\t b \\n\\n\\n\\n c\\u3000")
    'a b\\n\\nc'
    """
    text = _LINES.sub("\n", _BLANKS.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip()
