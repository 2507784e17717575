"""Vectors kept between runs.

A vector is found by embedder fingerprint, side (query or example) and the SHA-256 of its text;
the text itself is not stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ecomfs.core.cache import ByteCache, cache_folder
from ecomfs.embed.embedder import Embedder, Vectors, unit_rows

_BATCH = 256  # texts computed and stored at a time: what a killed run loses at most


class EmbeddingCache(ByteCache):
    """The cache file of vectors."""

    FILE = "embeddings.sqlite"


class CachedEmbedder:
    """An embedder that remembers.

    Vectors are kept as float16 and also rounded to it when they are fresh, so that a result
    never depends on what the cache held.
    """

    def __init__(self, embedder: Embedder, cache: EmbeddingCache) -> None:
        self.embedder = embedder
        self.cache = cache

    @property
    def fingerprint(self) -> str:
        """The embedder's own, and the rounding."""
        return f"{self.embedder.fingerprint}-f16"

    @property
    def dimensions(self) -> int:
        """As the embedder's."""
        return self.embedder.dimensions

    def fit(self, texts: Sequence[str]) -> CachedEmbedder:
        """The fitted embedder with the same cache."""
        fitted = self.embedder.fit(texts)
        return self if fitted is self.embedder else CachedEmbedder(fitted, self.cache)

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """As the embedder's, rounded to float16; each distinct text is computed once."""
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


__all__ = ["CachedEmbedder", "EmbeddingCache", "cache_folder"]
