"""Building a vector index, exact or approximate by size, and keeping it between runs.

A stored index is one folder: ``meta.json``, ``keys.npy`` (16 bytes of each text's SHA-256) and
``vectors.npy`` (exact) or ``lists.ivf`` (approximate), float16 and memory-mapped. When the pool
has changed since, texts that are still there keep their vectors and only new ones are embedded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.core.progress import EMBEDDING, Progress, silent
from ecomfs.embed import Embedder
from ecomfs.errors import ConfigError, EcomfsError
from ecomfs.retrieve.index import DenseIndex, Rows, VectorIndex
from ecomfs.retrieve.ivf import MOST_CHANGED, IVFIndex

EXACT_UP_TO = 100_000
"""Vectors up to which brute force is used: there it takes about 10 ms a query."""

_FORMAT = 1
_KEY_BYTES = 16
_BATCH = 4096  # vectors written at a time
_EMBEDDED = 256  # texts embedded between two reports of progress
_log = logging.getLogger(__name__)


def build_index(vectors: NDArray[Any], kind: str = "auto") -> VectorIndex:
    """An index over unit rows.

    Args:
        kind: ``exact``, ``ivf``, or ``auto``: exact up to 100,000 vectors, above that ``ivf``
            where faiss is installed.

    Raises:
        ConfigError: another kind, or faiss is asked for and not installed.
    """
    if _resolve(kind, len(vectors)) == "ivf":
        return IVFIndex.build(vectors)
    return DenseIndex(vectors)


def embed_index(
    texts: Sequence[str],
    embedder: Embedder,
    kind: str = "auto",
    progress: Progress = silent,
) -> VectorIndex:
    """An index over texts, in memory; ``progress`` is told how many are embedded."""
    exact = len(texts) <= _BATCH and _resolve(kind, len(texts)) == "exact"
    # Large indexes hold float16 anyway: no float32 copy of everything is ever made.
    vectors = _embed(texts, embedder, np.float32 if exact else np.float16, progress)
    return DenseIndex(vectors) if exact else build_index(vectors, kind)


def suits(index: VectorIndex, kind: str, size: int) -> bool:
    """Whether an index is of the kind that ``size`` vectors call for."""
    return isinstance(index, IVFIndex) == (_resolve(kind, size) == "ivf")


def update_index(
    index: VectorIndex,
    old: Sequence[bytes] | Sequence[str],
    new: Sequence[bytes] | Sequence[str],
    texts: Sequence[str],
    embedder: Embedder,
) -> VectorIndex:
    """The index of changed texts, embedding only those it does not hold.

    Args:
        old: a key for each text that ``index`` holds, in its order.
        new: the keys of ``texts``.
    """
    if len(old) == len(new) and all(a == b for a, b in zip(old, new, strict=True)):
        return index  # as it is: memory-mapped perhaps, and texts may stand in it twice
    places: dict[Any, int] = {key: place for place, key in enumerate(old)}
    positions = np.array([places.get(key, -1) for key in new], dtype=np.int64)
    unknown = [texts[p] for p in np.flatnonzero(positions < 0).tolist()]
    return index.updated(positions, embedder.embed(unknown, query=False))


def open_index(
    texts: Sequence[str], embedder: Embedder, folder: Path, kind: str = "auto"
) -> VectorIndex:
    """The stored index of these texts, brought up to date or built, and stored again if much
    has changed. A folder that cannot be written costs speed, not results: a warning is logged.

    Vectors are rounded to float16, stored or not, so that the first run and later ones agree.
    """
    name = hashlib.sha256(embedder.fingerprint.encode()).hexdigest()[:16]
    stored = _load(folder, name, _resolve(kind, len(texts)))
    if stored is not None and _same(stored[1], texts):
        return stored[0]
    keys = _keys(texts)
    if stored is not None:
        index, table = stored
        old, new = [row.tobytes() for row in table], [row.tobytes() for row in keys]
        index = update_index(index, old, new, texts, _Rounded(embedder))
        if len(set(old) ^ set(new)) <= MOST_CHANGED * len(old):
            return index
    fresh: VectorIndex
    if stored is not None and isinstance(index, DenseIndex):
        fresh = index
    else:
        fresh = build_index(_embed(texts, embedder), kind)
    try:
        _save(folder, name, fresh, keys, embedder.fingerprint)
    except OSError as error:
        _log.warning("the index is not kept: %s", error)
    return fresh


class _Rounded:
    """An embedder whose vectors went through float16, as stored ones did."""

    def __init__(self, embedder: Embedder) -> None:
        self.fingerprint, self.dimensions = embedder.fingerprint, embedder.dimensions
        self._embedder = embedder

    def fit(self, texts: Sequence[str]) -> _Rounded:
        return self

    def embed(self, texts: Sequence[str], *, query: bool) -> NDArray[np.float32]:
        vectors = self._embedder.embed(texts, query=query)
        return vectors.astype(np.float16).astype(np.float32)


def _resolve(kind: str, size: int) -> str:
    if kind not in ("auto", "exact", "ivf"):
        raise ConfigError(f"no index {kind!r}", hint="choose auto, exact or ivf")
    if kind != "auto":
        return kind
    if size <= EXACT_UP_TO or importlib.util.find_spec("faiss") is None:
        return "exact"
    return "ivf"


def _embed(
    texts: Sequence[str],
    embedder: Embedder,
    dtype: type[np.float16 | np.float32] = np.float16,
    progress: Progress = silent,
) -> NDArray[Any]:
    vectors = np.empty((len(texts), embedder.dimensions), dtype=dtype)
    for start in range(0, len(texts), _EMBEDDED):
        progress(EMBEDDING, start, len(texts))
        part = texts[start : start + _EMBEDDED]
        vectors[start : start + len(part)] = embedder.embed(part, query=False)
    return vectors


def _write(path: Path, vectors: Rows) -> None:
    shape = (len(vectors), vectors[np.arange(0)].shape[1])
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, len(vectors), _BATCH):
        out[start : start + _BATCH] = vectors[np.arange(start, min(start + _BATCH, len(vectors)))]
    out.flush()


def _keys(texts: Sequence[str]) -> NDArray[np.uint8]:
    """A row a text. One array: a million objects would take a tenth of the vectors' memory."""
    keys = np.empty((len(texts), _KEY_BYTES), dtype=np.uint8)
    for row, text in zip(keys, texts, strict=True):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        row[:] = np.frombuffer(digest, dtype=np.uint8, count=_KEY_BYTES)
    return keys


def _same(table: NDArray[np.uint8], texts: Sequence[str]) -> bool:
    """Whether these are the keys of the texts; a few at a time, so that opening an index leaves
    no room behind that was needed once."""
    return len(table) == len(texts) and all(
        np.array_equal(table[start : start + _BATCH], _keys(texts[start : start + _BATCH]))
        for start in range(0, len(texts), _BATCH)
    )


def _load(folder: Path, name: str, kind: str) -> tuple[VectorIndex, NDArray[np.uint8]] | None:
    """The newest stored index of an embedder; ``None`` when there is none that can be used."""
    found = sorted(folder.glob(f"{name}-*/meta.json"), key=lambda p: p.stat().st_mtime)
    for meta_file in reversed(found):
        home = meta_file.parent
        try:
            meta = json.loads(meta_file.read_text())
            if meta.get("format") != _FORMAT or meta["kind"] != kind:
                continue
            keys = np.load(home / "keys.npy", mmap_mode="r", allow_pickle=False)
            index: VectorIndex
            if kind == "ivf":
                index = IVFIndex.open(home / "lists.ivf", meta["probes"], meta["recall"])
            else:
                stored = np.load(home / "vectors.npy", mmap_mode="r", allow_pickle=False)
                index = DenseIndex(stored)
            if len(index) == len(keys):
                return index, keys
            raise ValueError(f"{len(index)} vectors for {len(keys)} keys")
        except (OSError, ValueError, KeyError, EcomfsError) as error:
            _log.warning("stored index %s is not used: %s", home, error)
    return None


def _save(
    folder: Path, name: str, index: VectorIndex, keys: NDArray[np.uint8], fingerprint: str
) -> None:
    digest = hashlib.sha256(keys.tobytes()).hexdigest()[:16]
    home = folder / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        meta: dict[str, Any] = {"format": _FORMAT, "embedder": fingerprint, "size": len(index)}
        if isinstance(index, IVFIndex):
            meta |= {"kind": "ivf", "probes": index.probes, "recall": index.recall}
            index.save(made / "lists.ivf")
        else:
            meta |= {"kind": "exact"}
            _write(made / "vectors.npy", index.vectors)
        np.save(made / "keys.npy", keys, allow_pickle=False)
        (made / "meta.json").write_text(json.dumps(meta))
        # A folder appears whole or not at all; one that is there already holds the same.
        if not home.exists():
            os.rename(made, home)
        for other in folder.glob(f"{name}-*"):
            if other != home:
                shutil.rmtree(other, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)
