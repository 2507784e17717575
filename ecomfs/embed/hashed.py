"""The embedder without a model: hashed character n-grams, weighted by sublinear tf and IDF.

A text is folded (NFKC, case). Words of alphabetic scripts give character n-grams of length 2 to 4,
those of 3 and 4 including the borders of words. Chinese, Japanese and Korean characters and emoji
give unigrams and bigrams. Each n-gram adds ±(1 + ln tf)·idf to one of ``dimensions`` entries
(signed feature hashing, Weinberger et al. 2009, arXiv 0902.2206), so that the inner product of two
texts estimates their tf–idf cosine without a vocabulary.

All n-grams of a batch are computed by array operations on code points, without a loop over
characters.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed.embedder import Vectors, unit_rows

_BUCKETS = 1 << 18  # n-grams are hashed to this many buckets; IDF is kept per bucket
_BATCH_CHARACTERS = 1 << 18
_BATCH_TEXTS = 512
_BREAK, _LETTER, _SYMBOL = 0, 1, 2  # kinds of characters

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX2 = np.uint64(0xBF58476D1CE4E5B9)
_BASE = np.uint64(0x100000001B3)


class HashedEmbedder:
    """Hashed character n-grams.

    Parameters
    ----------
    dimensions : int
        Length of a vector, a power of two.
    idf : NDArray[np.float32] | None
        Weight of each n-gram bucket, from :meth:`fit`; ``None``: equal weights.

    Examples
    --------
    >>> embedder = HashedEmbedder().fit(["red shoes", "blue shoes", "红色鞋子"])
    >>> query = embedder.embed(["RED shoe"], query=True)
    >>> (embedder.embed(["red shoes", "blue shoes", "红色鞋子"], query=False) @ query[0]).argmax()
    np.int64(0)
    """

    def __init__(self, dimensions: int = 4096, *, idf: NDArray[np.float32] | None = None) -> None:
        if dimensions < 2 or dimensions & (dimensions - 1):
            raise ValueError(f"dimensions must be a power of two, not {dimensions}")
        self.dimensions = dimensions
        self._idf = idf
        seen = b"" if idf is None else np.ascontiguousarray(idf).tobytes()
        digest = hashlib.sha256(seen).hexdigest()[:16]
        self.fingerprint = f"hashed-1-{dimensions}-{digest}"

    def fit(self, texts: Sequence[str]) -> HashedEmbedder:
        """A copy whose weights are idf = ln((1 + N) / (1 + df)) + 1 over ``texts``."""
        frequency = np.zeros(_BUCKETS, dtype=np.int64)
        for _, _, buckets, _ in _grams(texts):
            frequency += np.bincount(buckets, minlength=_BUCKETS)
        idf = np.log((1 + len(texts)) / (1 + frequency)) + 1
        return HashedEmbedder(self.dimensions, idf=idf.astype(np.float32))

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Unit vectors; queries and examples are embedded in the same way."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for start, rows, buckets, counts in _grams(texts):
            weights = 1 + np.log(counts)
            if self._idf is not None:
                weights = weights * self._idf[buckets]
            hashed = _scramble(buckets.astype(np.uint64) + np.uint64(1))
            signs = np.where(hashed >> np.uint64(63), 1.0, -1.0)
            columns = (hashed & np.uint64(self.dimensions - 1)).astype(np.int64)
            size = int(rows[-1]) + 1
            block = np.bincount(
                rows * self.dimensions + columns, weights * signs, size * self.dimensions
            )
            vectors[start : start + size] = unit_rows(block.reshape(size, self.dimensions))
        return vectors


def _grams(
    texts: Sequence[str],
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Distinct n-grams by batch: the number of the batch's first text, and three arrays with one
    entry per text and n-gram: the text's position in the batch, the bucket, and the count."""
    for start, batch in _batches(texts):
        rows, buckets = _hash_grams(batch)
        if not len(rows):
            continue
        keys, counts = np.unique(rows * _BUCKETS + buckets, return_counts=True)
        yield start, keys // _BUCKETS, keys % _BUCKETS, counts


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    batch: list[str] = []
    size = first = 0
    for number, text in enumerate(texts):
        folded = unicodedata.normalize("NFKC", text).casefold()
        if batch and (size + len(folded) > _BATCH_CHARACTERS or len(batch) == _BATCH_TEXTS):
            yield first, batch
            batch, size, first = [], 0, number
        batch.append(folded)
        size += len(folded)
    if batch:
        yield first, batch


def _hash_grams(texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    joined = " " + " ".join(texts) + " "
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    rows = np.concatenate([[0], np.repeat(np.arange(len(texts)), lengths)])
    kinds = _kinds(points)
    codes = _scramble(np.where(kinds == _BREAK, 0, points).astype(np.uint64))
    found_rows: list[NDArray[np.int64]] = []
    found: list[NDArray[np.uint64]] = []

    def keep(where: NDArray[np.bool_], hashes: NDArray[np.uint64], salt: int) -> None:
        places = np.flatnonzero(where)
        # The first character may be the border before the text; the second never is.
        found_rows.append(rows[np.minimum(places + 1, len(rows) - 1)] if salt else rows[places])
        found.append(_scramble(hashes[places] + np.uint64(salt)))

    letter, symbol, edge = kinds == _LETTER, kinds == _SYMBOL, kinds == _BREAK
    keep(symbol, codes, 0)
    rolling = codes
    for n in (2, 3, 4):
        if len(points) < n:
            break
        rolling = rolling[: len(points) - n + 1] * _BASE + codes[n - 1 :]
        first, last = slice(None, len(points) - n + 1), slice(n - 1, None)
        inner = np.ones(len(points) - n + 1, dtype=bool)
        for offset in range(1, n - 1):
            inner &= letter[offset : len(points) - n + 1 + offset]
        if n == 2:
            where = (letter[first] & letter[last]) | (symbol[first] & symbol[last])
        else:
            where = inner & (letter[first] | edge[first]) & (letter[last] | edge[last])
        keep(where, rolling, n)
    buckets = (np.concatenate(found) >> np.uint64(20)) % np.uint64(_BUCKETS)
    return np.concatenate(found_rows), buckets.astype(np.int64)


def _kinds(points: NDArray[np.uint32]) -> NDArray[np.int8]:
    distinct, inverse = np.unique(points, return_inverse=True)
    kinds = np.fromiter((_kind(chr(p)) for p in distinct.tolist()), np.int8, len(distinct))
    return kinds[inverse]


def _kind(character: str) -> int:
    point = ord(character)
    category = unicodedata.category(character)
    if category == "So":  # emoji carry meaning in reviews
        return _SYMBOL
    if category[0] not in "LNM":
        return _BREAK
    wide = 0x2E80 <= point <= 0x9FFF or 0xAC00 <= point <= 0xD7AF or 0xF900 <= point <= 0xFAFF
    return _SYMBOL if wide or 0x20000 <= point <= 0x3FFFF else _LETTER


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, a one-to-one mapping."""
    mixed = values * _MIX
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX2
    mixed ^= mixed >> np.uint64(27)
    return mixed
