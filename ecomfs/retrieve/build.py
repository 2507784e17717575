"""Builds an index from texts or vectors, exact or approximate by size, and updates it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.core.progress import EMBEDDING, Progress, silent
from ecomfs.embed import Embedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve.index import DenseIndex, VectorIndex
from ecomfs.retrieve.ivf import IVFIndex

EXACT_UP_TO = 100_000
"""Most vectors for exact search, which then takes about 10 ms per query."""
_EMBEDDED = 256  # texts embedded between two reports of progress


def build_index(vectors: NDArray[Any], kind: str = "auto") -> VectorIndex:
    """An index over unit rows.

    Parameters
    ----------
    vectors
        Shape (size, dimensions), float16 or float32.
    kind
        ``exact``, ``ivf``, or ``auto``: exact up to 100,000 vectors, above that ``ivf`` if faiss is
        installed.

    Raises
    ------
    ConfigError
        An unknown kind, or ``ivf`` without faiss.

    Examples
    --------
    >>> build_index(np.eye(3, dtype=np.float32)).description
    'exact, 3 vectors'
    """
    return IVFIndex.build(vectors) if _is_ivf(kind, len(vectors)) else DenseIndex(vectors)


def embed_index(
    texts: Sequence[str], embedder: Embedder, kind: str = "auto", progress: Progress = silent
) -> VectorIndex:
    """An index over texts; ``progress`` gets the number of embedded texts."""
    # The approximate index keeps float16, so no float32 copy of a million vectors is made.
    dtype = np.float16 if _is_ivf(kind, len(texts)) else np.float32
    vectors = np.empty((len(texts), embedder.dimensions), dtype=dtype)
    for start in range(0, len(texts), _EMBEDDED):
        progress(EMBEDDING, start, len(texts))
        part = texts[start : start + _EMBEDDED]
        vectors[start : start + len(part)] = embedder.embed(part, query=False)
    return build_index(vectors, kind)


def update_index(
    index: VectorIndex, old: Sequence[str], new: Sequence[str], embedder: Embedder, kind: str
) -> VectorIndex | str:
    """The index over changed texts; only texts that are not in ``index`` are embedded.

    Parameters
    ----------
    old
        The texts in ``index``, in its order.
    new
        The texts of the changed pool.
    kind
        As for :func:`build_index`.

    Returns
    -------
    VectorIndex or str
        ``kind`` itself if the changed pool needs an index of the other kind, which must be built.
    """
    if isinstance(index, IVFIndex) != _is_ivf(kind, len(new)):
        return kind
    places: dict[str, list[int]] = {}  # for a repeated text, each position is used once
    for place, text in enumerate(old):
        places.setdefault(text, []).append(place)
    positions = np.array([(places.get(t) or [-1]).pop() for t in new], dtype=np.int64)
    unknown = [new[p] for p in np.flatnonzero(positions < 0).tolist()]
    return index.updated(positions, embedder.embed(unknown, query=False))


def _is_ivf(kind: str, size: int) -> bool:
    if kind not in ("auto", "exact", "ivf"):
        raise ConfigError(f"unknown index {kind!r}", hint="choose auto, exact or ivf")
    if kind != "auto":
        return kind == "ivf"
    return size > EXACT_UP_TO and importlib.util.find_spec("faiss") is not None
