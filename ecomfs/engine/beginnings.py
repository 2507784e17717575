"""Tokens of many texts that begin alike: the beginning is tokenized once.

Prompts of a task begin with the same instruction, and often with the same demonstrations. Most
models of today cut a text into words by a regular expression from left to right, and tokenize each
word by itself (byte-level BPE). Where such a cut falls inside of what all texts have in common,
what stands before it has the same tokens in all of them, and what stands after it has the tokens
that it has alone.

That holds where the expression looks at nothing before the place where it is, no added token
begins before the cut or near it, and what decides about the cut is common to all texts.
:func:`cuts_by_words` reads it from ``tokenizer.json``; every other tokenizer encodes whole texts.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from unicodedata import is_normalized, normalize

MANY = 8
"""Texts from which on a beginning is looked for."""
_LEAST = 16
"""Characters that a beginning must have."""
_PROBES = ("", "a", " a", "  ", "1", "\n", "\n\nA", "'s", "。好", "\u0301", "<|", "é")
_SET = re.compile(r"\[(?:\\.|[^\]\\])*\]")
_LOOKS_BACK = re.compile(r"\(\?<[=!]|\\[bBAGKZz]|\^|\$|\\[1-9]")

Encode = Callable[[Sequence[str]], list[list[int]]]
Words = Callable[[str], Sequence[tuple[str, tuple[int, int]]]]


class _Beginning(NamedTuple):
    """What texts have in common: a text with tokens of its own, and what must follow it."""

    text: str
    guard: str
    ids: list[int]


class Beginnings:
    """Encodes texts, and what they have in common once.

    Args:
        encode: encodes whole texts, without anything before them.
        words: cuts a text as the tokenizer does before it looks for tokens: each word with its
            first place and the one after its last.
        added: the tokenizer's added tokens, which end words where they stand.
    """

    def __init__(self, encode: Encode, words: Words, added: Sequence[str] = ()) -> None:
        self._encode = encode
        self._words = words
        # Where an added token may begin, a text is cut before words are looked for.
        starts = {one[0] for token in added if token for one in (token, normalize("NFC", token))}
        self._free = re.compile(
            f"[^{re.escape(''.join(sorted(starts)))}]*" if starts else ".*", re.S
        )
        self._last: _Beginning | None = None
        self._none = ""  # a beginning of which no cut was found

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, as ``encode`` gives them."""
        begun = self._common(texts) if len(texts) >= MANY else None
        if begun is None:
            return self._encode(texts)
        start, ids = len(begun.text), begun.ids
        return [[*ids, *rest] for rest in self._encode([text[start:] for text in texts])]

    def _common(self, texts: Sequence[str]) -> _Beginning | None:
        common = os.path.commonprefix([min(texts), max(texts)])  # noqa: RUF071, no paths
        free = self._free.match(common)
        common = free[0] if free else ""
        last = self._last  # read once: threads share a tokenizer
        known = last is not None and common.startswith(last.guard)
        if last is not None and known and len(common) < 2 * len(last.guard):
            return last
        if len(common) < _LEAST or common == self._none or not is_normalized("NFC", common):
            return None
        found = self._cut(common)
        if found is None:
            self._none = common
            return None
        self._last = found
        return found

    def _cut(self, common: str) -> _Beginning | None:
        """The last cut after which two whole words are common to all texts, one of them visible."""
        words = [place for _, place in self._words(common)][:-1]  # the last may go on
        for (start, _), (_, end) in zip(reversed(words[:-1]), reversed(words[1:]), strict=True):
            text, guard = common[:start], common[:end]
            if len(text) < _LEAST:
                break
            if guard[start:].strip():
                (ids,) = self._encode([text])
                begun = _Beginning(text, guard, ids)
                return begun if self._holds(begun) else None
        return None

    def _holds(self, begun: _Beginning) -> bool:
        """Whether it is so for some texts. It is by what is known of the tokenizer: this finds
        tokenizers of which too little is known."""
        wholes = [begun.guard + probe for probe in _PROBES]
        rests = self._encode([whole[len(begun.text) :] for whole in wholes])
        return self._encode(wholes) == [[*begun.ids, *rest] for rest in rests]


def cuts_by_words(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` cuts texts into words from left to right, each for itself, and
    then looks for the tokens of each word.

    >>> model, words = {"type": "BPE"}, {"type": "ByteLevel", "add_prefix_space": False}
    >>> cuts_by_words({"model": model, "pre_tokenizer": words})
    True
    >>> cuts_by_words({"model": model, "pre_tokenizer": None})  # as SentencePiece
    False
    """
    model = tokenizer.get("model") or {}
    plain = model.get("type") == "BPE" and not any(
        model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    )
    # What is composed stays as it is, and what begins with a visible word composes with nothing.
    normal = (tokenizer.get("normalizer") or {"type": "NFC"}) == {"type": "NFC"}
    added = tokenizer.get("added_tokens") or []
    strips = any(token.get(key) for token in added for key in ("lstrip", "rstrip", "single_word"))
    return plain and normal and not strips and _by_words(tokenizer.get("pre_tokenizer"))


def _by_words(step: Any) -> bool:
    match step:
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return bool(step.get("use_regex", True))
        case {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": str(form)},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return not _LOOKS_BACK.search(_SET.sub("", form))
    return False
