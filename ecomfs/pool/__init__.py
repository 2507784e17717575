"""Labelled examples and their vectors.

store      Pool: examples in SQL, every version kept
rows       what a pool's transactions read and write in the tables
embedder   texts to unit vectors: hashed n-grams, packaged model, sentence-transformers
cache      vectors kept between runs
"""

from __future__ import annotations

from ecomfs.pool.embedder import Embedder, open_embedder, shared_embedder
from ecomfs.pool.embedding_cache import CachedEmbedder, EmbeddingCache
from ecomfs.pool.hashed import HashedEmbedder
from ecomfs.pool.records import Change, PoolStats, Revision
from ecomfs.pool.store import Pool

__all__ = [
    "CachedEmbedder",
    "Change",
    "Embedder",
    "EmbeddingCache",
    "HashedEmbedder",
    "Pool",
    "PoolStats",
    "Revision",
    "open_embedder",
    "shared_embedder",
]
