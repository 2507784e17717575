"""Texts to the token ids of XLM-RoBERTa: a SentencePiece unigram model.

A text is normalised character by character and split into words, each with the mark ``▁`` before
it. Of all ways to write a word as pieces, the one with the largest sum of scores is taken
(Viterbi). No piece reaches over a mark, so words are independent, and frequent ones are
remembered.

Pieces such as ``</s>`` that steer the model are no text: here a row cannot contain one.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ecomfs.embed.e5.weights import E5Weights

_MARK = "▁"
_WORD = re.compile(f"{_MARK}[^{_MARK}]*")
_SPACES = re.compile(" {2,}")
_REMEMBERED = 1 << 15  # words
_LONG = 24  # characters of a word that will hardly come again: Chinese sentences are one word
_PENALTY = 10.0  # of an unknown character below the rarest piece, as SentencePiece has it


class E5Tokenizer:
    """The tokenizer of multilingual-e5-small.

    Parameters
    ----------
    weights : E5Weights
        The file with its pieces.

    Examples
    --------
    >>> from ecomfs.embed.models import packaged_weights
    >>> tokenizer = E5Tokenizer(packaged_weights())
    >>> tokenizer.ids("query: good")
    [0, 41, 1294, 12, 4127, 2]
    """

    def __init__(self, weights: E5Weights) -> None:
        control = {weights.begin, weights.end, weights.padding, weights.unknown}
        control.add(len(weights.pieces) - 1)  # <mask>
        self._ids = {p: i for i, p in enumerate(weights.pieces) if i not in control}
        self._scores = weights.scores
        self._longest = max(map(len, self._ids))
        self._unknown = weights.unknown
        self._unknown_score = min(weights.scores) - _PENALTY
        self._replaced = weights.replaced
        self._begin, self._end = weights.begin, weights.end
        self._room = weights.window - 2
        self._frequent = lru_cache(_REMEMBERED)(self._split)

    def ids(self, text: str) -> list[int]:
        """The tokens of a text between the two that begin and end it, cut at the model's window.

        Args:
            text: with its ``query:`` or ``passage:`` in front.
        """
        text = _SPACES.sub(" ", text.translate(self._replaced)).replace(" ", _MARK)
        if not text.startswith(_MARK):
            text = _MARK + text
        found: list[int] = []
        for word in _WORD.findall(text):
            found += self._frequent(word) if len(word) <= _LONG else self._split(word)
            if len(found) >= self._room:
                break
        return [self._begin, *found[: self._room], self._end]

    def _split(self, word: str) -> tuple[int, ...]:
        size = len(word)
        best = [0.0] + [float("-inf")] * size  # of all ways to write the first n characters
        came_from = [0] * (size + 1)
        last = [self._unknown] * (size + 1)
        ids, scores, longest = self._ids, self._scores, self._longest
        for start in range(size):
            so_far = best[start]
            for end in range(start + 1, min(start + longest, size) + 1):
                piece = ids.get(word[start:end])
                if piece is not None and so_far + scores[piece] > best[end]:
                    best[end] = so_far + scores[piece]
                    came_from[end], last[end] = start, piece
            if so_far + self._unknown_score > best[start + 1]:
                best[start + 1] = so_far + self._unknown_score
                came_from[start + 1], last[start + 1] = start, self._unknown
        found: list[int] = []
        end = size
        while end:
            # Unknown characters side by side are one token.
            if not (found and found[-1] == last[end] == self._unknown):
                found.append(last[end])
            end = came_from[end]
        return tuple(reversed(found))
