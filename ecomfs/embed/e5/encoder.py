"""The forward pass of multilingual-e5-small in float32, as array operations.

The tokens of all texts of a batch lie in one matrix, so that each weight is used once per batch;
only attention goes text by text, for all texts of one length at once, so nothing is padded. A text
has the same vector in every batch but for the rounding of float32.

Batches are computed side by side in threads, each with one thread of BLAS: the steps between two
matrix products would use one core otherwise, and no thread waits for another within a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ecomfs.core.cpus import usable_cpus
from ecomfs.embed.e5.weights import E5Weights
from ecomfs.embed.embedder import Vectors, unit_rows

_TOKENS = 512
"""Of a batch: more gain nothing, and the arrays between the layers leave the cache."""
_FEWEST = 64
"""Tokens of a batch below which a second thread gains nothing."""
_ROWS = 32  # of the inner layer that stay in the cache while GELU is computed

_GELU = (-1.5955839, -0.073053251, 2.9930033e-4, 5.3882881e-5, -1.9062251e-6)
"""Log-odds of the normal distribution function, divided by x, as a polynomial of x²."""
_GELU_TAIL = 7.0  # the polynomial was fitted to this x


class E5Encoder:
    """Token ids to vectors.

    Parameters
    ----------
    weights : E5Weights
        The packed model; its layers are unpacked (85 MB).
    threads : int | None
        Batches computed side by side; ``None`` for one a core.

    Examples
    --------
    >>> from ecomfs.embed.models import packaged_weights
    >>> E5Encoder(packaged_weights()).encode([[0, 41, 1294, 12, 4127, 2]]).shape
    (1, 384)
    """

    def __init__(self, weights: E5Weights, *, threads: int | None = None) -> None:
        self._weights = weights
        self._layers = [_Layer(weights, number) for number in range(weights.layers)]
        width = weights.width
        self._places = weights.vector("emb.pos").reshape(-1, width)
        self._places += weights.vector("emb.type")[:width]
        self._norm = weights.vector("emb.ln.w"), weights.vector("emb.ln.b")
        self._threads = threads or len(usable_cpus())

    @cached_property
    def _blas(self) -> ThreadpoolController:
        return ThreadpoolController().select(user_api="blas")

    def encode(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """The unit vector of each text.

        Args:
            texts: token ids, with those that begin and end a text.
        """
        vectors = np.empty((len(texts), self._weights.width), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        batches = _batches([len(texts[n]) for n in order], self._threads)

        def fill(batch: slice) -> None:
            vectors[order[batch]] = self._forward([texts[n] for n in order[batch]])

        with self._blas.limit(limits=1):
            if len(batches) < 2 or self._threads < 2:
                for batch in batches:
                    fill(batch)
            else:
                with ThreadPoolExecutor(self._threads) as pool:
                    # The longest first, so that no thread ends long after the others.
                    list(pool.map(fill, reversed(batches)))
        return unit_rows(vectors)

    def _forward(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """The means of the last layer; texts of equal length lie side by side."""
        lengths = [len(text) for text in texts]
        distinct, each = np.unique(np.concatenate(texts).astype(np.int64), return_inverse=True)
        width = self._weights.width
        x = self._weights.matrix("emb.word", width, distinct)[each]
        x += self._places[np.concatenate([np.arange(length) for length in lengths])]
        epsilon = self._weights.epsilon
        _normalise(x, *self._norm, epsilon)
        groups: list[tuple[slice, int, int]] = []
        start = 0
        for length, same in groupby(lengths):
            count = sum(1 for _ in same)
            groups.append((slice(start, start + count * length), count, length))
            start += count * length
        for layer in self._layers:
            layer.apply(x, groups, epsilon)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        total: Vectors = np.add.reduceat(x, starts, axis=0)
        return total


class _Layer:
    """One of the model's layers."""

    def __init__(self, weights: E5Weights, number: int) -> None:
        self.heads = weights.heads
        width, inner = weights.width, weights.inner

        def matrix(name: str, columns: int) -> Vectors:
            return weights.matrix(f"l{number}.{name}.w", columns)

        def vector(name: str) -> Vectors:
            return weights.vector(f"l{number}.{name}")

        # Queries are divided by the root of a head's width: it is done once, here.
        share = np.float32((width // self.heads) ** -0.5)
        attend = [matrix("q", width) * share, matrix("k", width), matrix("v", width)]
        self.attend = _input_first(np.concatenate(attend))
        self.attend_bias = np.concatenate([vector("q.b") * share, vector("k.b"), vector("v.b")])
        self.join, self.join_bias = _input_first(matrix("ao", width)), vector("ao.b")
        self.join_norm = vector("aln.w"), vector("aln.b")
        self.widen, self.widen_bias = _input_first(matrix("fi", width)), vector("fi.b")
        self.narrow, self.narrow_bias = _input_first(matrix("fo", inner)), vector("fo.b")
        self.narrow_norm = vector("oln.w"), vector("oln.b")

    def apply(self, x: Vectors, groups: Sequence[tuple[slice, int, int]], epsilon: float) -> None:
        """Replace ``x`` by the layer's output."""
        both = x @ self.attend
        both += self.attend_bias
        seen = np.empty_like(x)
        for rows, count, length in groups:
            shape = (count, length, 3, self.heads, -1)
            query, key, value = both[rows].reshape(shape).transpose(2, 0, 3, 1, 4)
            weights = query @ key.swapaxes(-1, -2)
            weights -= weights.max(axis=-1, keepdims=True)
            np.exp(weights, out=weights)
            found = weights @ value
            found /= weights.sum(axis=-1, keepdims=True)
            seen[rows] = found.transpose(0, 2, 1, 3).reshape(count * length, -1)
        joined = seen @ self.join
        x += joined
        x += self.join_bias
        _normalise(x, *self.join_norm, epsilon)
        inner = x @ self.widen
        room = np.empty((2, _ROWS, inner.shape[1]), dtype=np.float32)
        for start in range(0, len(inner), _ROWS):
            part = inner[start : start + _ROWS]
            part += self.widen_bias
            _gelu(part, *room[:, : len(part)])
        x += np.matmul(inner, self.narrow, out=joined)
        x += self.narrow_bias
        _normalise(x, *self.narrow_norm, epsilon)


def _batches(lengths: Sequence[int], threads: int) -> list[slice]:
    """Parts of texts in order of length, of about as many tokens each."""
    size = min(_TOKENS, max(_FEWEST, -(-sum(lengths) // threads)))
    parts: list[slice] = []
    start = tokens = 0
    for place, length in enumerate(lengths):
        if tokens and tokens + length > size:
            parts.append(slice(start, place))
            start, tokens = place, 0
        tokens += length
    return [*parts, slice(start, len(lengths))] if tokens else parts


def _input_first(matrix: Vectors) -> Vectors:
    """With a row for each input: ``x @ matrix`` reads it in order."""
    return np.ascontiguousarray(matrix.T)


def _normalise(x: Vectors, scale: Vectors, shift: Vectors, epsilon: float) -> None:
    """Layer normalisation, in place."""
    x -= x.mean(axis=1, keepdims=True)
    spread = np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1]) + np.float32(epsilon)
    x *= (1 / np.sqrt(spread))[:, None]
    x *= scale
    x += shift


def _gelu(x: Vectors, square: Vectors, odds: NDArray[np.float32]) -> None:
    """x times the normal distribution function of x, in place, to 6e-6.

    ``scipy.special.erf`` gives all digits and takes as long as the matrix products.
    """
    np.maximum(x, -_GELU_TAIL, out=x)
    np.multiply(x, x, out=square)
    np.minimum(square, _GELU_TAIL**2, out=square)
    np.multiply(square, np.float32(_GELU[-1]), out=odds)
    for factor in _GELU[-2:0:-1]:
        odds += np.float32(factor)
        odds *= square
    odds += np.float32(_GELU[0])
    odds *= x
    np.exp(odds, out=odds)
    odds += 1
    x /= odds
