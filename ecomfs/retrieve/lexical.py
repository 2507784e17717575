"""Nearest neighbours by shared terms: BM25 over words and Chinese character pairs.

Model numbers, brand names and sizes, on which embeddings are vague, are what it is good at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from ecomfs.errors import ConfigError
from ecomfs.retrieve.excluded import Excluded
from ecomfs.retrieve.index import Groups, Hits, Vectors, pick

# Han, kana and Hangul are written without spaces between words (or, in Hangul, with endings).
_WIDE = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
_TOKEN = re.compile(rf"([{_WIDE}\U00020000-\U0003ffff]+)|((?:(?![{_WIDE}])[^\W_])+)")


def terms(text: str) -> list[str]:
    """The terms of a text: words in lower case, and the character pairs of Chinese, Japanese and
    Korean runs (a lone character stands for itself).

    >>> terms("iPhone 15 手机壳 红")
    ['iphone', '15', '手机', '机壳', '红']
    """
    return list(_terms(unicodedata.normalize("NFKC", text).casefold()))


def _terms(folded: str) -> Iterator[str]:
    for run, word in _TOKEN.findall(folded):
        if word:
            yield word
        elif len(run) == 1:
            yield run
        else:
            yield from (run[i : i + 2] for i in range(len(run) - 1))


class LexicalIndex:
    """BM25 (Lucene's variant, k1 = 1.5, b = 0.75) over a pool's texts, through bm25s.

    Args:
        texts: the examples' texts, by position.
        tokenize: text to terms; another word segmenter may be given here.

    Raises:
        ConfigError: bm25s is not installed.

    >>> index = LexicalIndex(["red shoes size 42", "blue shoes", "蓝色手机壳"])
    >>> [h.positions.tolist() for h in index.search(["手机壳", "Shoes 42", "?"], 2)]
    [[2], [0, 1], []]
    """

    def __init__(self, texts: Sequence[str], tokenize: Callable[[str], list[str]] = terms) -> None:
        try:
            import bm25s
        except ModuleNotFoundError as error:
            raise ConfigError(
                "lexical retrieval needs bm25s", hint="pip install 'ecomfs[retrieval]'"
            ) from error
        self._tokenize = tokenize
        self._size = len(texts)
        corpus = [tokenize(text) for text in texts]
        self._bm25: Any = None
        if any(corpus):
            self._bm25 = bm25s.BM25(backend="numpy")
            self._bm25.index(corpus, show_progress=False)

    def __len__(self) -> int:
        return self._size

    def scores(self, query: str) -> Vectors:
        """BM25 of every example, shape (size,); 0 without a shared term."""
        # Each distinct term counts once, as in the usual form of the formula.
        known = list(dict.fromkeys(self._tokenize(query)))
        if self._bm25 is not None:
            known = [term for term in known if term in self._bm25.vocab_dict]
        if self._bm25 is None or not known:
            return np.zeros(self._size, dtype=np.float32)
        return np.asarray(self._bm25.get_scores(known), dtype=np.float32)

    def search(
        self,
        queries: Sequence[str],
        n: int,
        *,
        excluded: Sequence[Collection[int]] | None = None,
        groups: Groups | None = None,
        per_group: int = 0,
        far_groups: bool = True,
    ) -> list[Hits]:
        """As :meth:`ecomfs.retrieve.index.DenseIndex.search`, by BM25 score; an example that
        shares no term with the query is not a neighbour of it."""
        found = []
        for number, query in enumerate(queries):
            row = self.scores(query)
            row[row <= 0] = -np.inf
            if excluded:
                row[Excluded.of(excluded[number]).places()] = -np.inf
            _, positions = pick(row[None], n, groups, per_group, far_groups)
            order = np.lexsort((positions, -row[positions]))
            if groups is None or not per_group:
                order = order[:n]
            found.append(Hits(positions[order], row[positions[order]].astype(np.float64)))
        return found
