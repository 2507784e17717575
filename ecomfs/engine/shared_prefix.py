"""Tokenizes texts with a common prefix, and the prefix only once.

Prompts of a task begin with the same instruction, and often with the same demonstrations. Most
current models split a text into words by a regular expression from left to right, and tokenize each
word separately (byte-level BPE). If a word ends inside the common prefix, the part before it has
the same tokens in all texts, and the rest has the tokens that it would have alone.

This holds if the expression does not look back, no added token begins before the split or near it,
and the text that decides the split is common to all texts. :func:`cuts_by_words` checks it in
``tokenizer.json``; with any other tokenizer, whole texts are encoded.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from unicodedata import is_normalized, normalize

MANY = 8
"""Fewest texts for which a common prefix is looked for."""
_LEAST = 16
"""Fewest characters of a common prefix."""
_PROBES = ("", "a", " a", "  ", "1", "\n", "\n\nA", "'s", "。好", "\u0301", "<|", "é")
_SET = re.compile(r"\[(?:\\.|[^\]\\])*\]")
_LOOKS_BACK = re.compile(r"\(\?<[=!]|\\[bBAGKZz]|\^|\$|\\[1-9]")

Encode = Callable[[Sequence[str]], list[list[int]]]
Words = Callable[[str], Sequence[tuple[str, tuple[int, int]]]]


class _Prefix(NamedTuple):
    """A common prefix with its token ids, and the text that must follow it."""

    text: str
    guard: str
    ids: list[int]


class PrefixTokenizer:
    """Encodes texts, and their common prefix only once.

    Args:
        encode: encodes whole texts, without BOS.
        words: the pre-tokenizer: splits a text into words with their start and end.
        added: added tokens of the tokenizer, at which a text is split first.
    """

    def __init__(self, encode: Encode, words: Words, added: Sequence[str] = ()) -> None:
        self._encode = encode
        self._words = words
        # At an added token, a text is split before words are looked for.
        starts = {one[0] for token in added if token for one in (token, normalize("NFC", token))}
        self._free = re.compile(
            f"[^{re.escape(''.join(sorted(starts)))}]*" if starts else ".*", re.S
        )
        self._last: _Prefix | None = None
        self._none = ""  # a prefix in which no split was found

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, as ``encode`` gives them."""
        begun = self._common(texts) if len(texts) >= MANY else None
        if begun is None:
            return self._encode(texts)
        start, ids = len(begun.text), begun.ids
        return [[*ids, *rest] for rest in self._encode([text[start:] for text in texts])]

    def _common(self, texts: Sequence[str]) -> _Prefix | None:
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

    def _cut(self, common: str) -> _Prefix | None:
        """The last split before two whole words that are common to all texts, one of them
        visible."""
        words = [place for _, place in self._words(common)][:-1]  # the last may continue
        for (start, _), (_, end) in zip(reversed(words[:-1]), reversed(words[1:]), strict=True):
            text, guard = common[:start], common[:end]
            if len(text) < _LEAST:
                break
            if guard[start:].strip():
                (ids,) = self._encode([text])
                begun = _Prefix(text, guard, ids)
                return begun if self._holds(begun) else None
        return None

    def _holds(self, begun: _Prefix) -> bool:
        """Whether tokens are right for some test texts. They are if the checks of the tokenizer
        hold; this finds tokenizers that the checks do not cover."""
        wholes = [begun.guard + probe for probe in _PROBES]
        rests = self._encode([whole[len(begun.text) :] for whole in wholes])
        return self._encode(wholes) == [[*begun.ids, *rest] for rest in rests]


def cuts_by_words(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` splits texts into words from left to right, and tokenizes each
    word separately.

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
    # Composed text does not change, and a visible first character composes with no text before it.
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
