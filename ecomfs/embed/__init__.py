"""Converts texts to unit vectors: embedders, and a cache of their vectors."""

from ecomfs.embed.embedder import Embedder, Vectors, open_embedder, shared_embedder, unit_rows
from ecomfs.embed.hashed import HashedEmbedder

__all__ = [
    "Embedder",
    "HashedEmbedder",
    "Vectors",
    "open_embedder",
    "shared_embedder",
    "unit_rows",
]
