"""The synthetic, seeded pools of the retrieval benchmark; the same for every system."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
K = 8
QUERIES = 256
_CHUNK = 1 << 16


def draw_vectors(size: int, seed: int) -> NDArray[np.float16]:
    """Unit vectors in a hierarchy: 300 kinds, 30,000 products, and noise for each text.

    There are more products than an approximate index has lists and neighbours lie across them,
    so that finding them is not made easy.
    """
    shape = np.random.default_rng(0)
    kinds = shape.standard_normal((300, DIMENSIONS), dtype=np.float32)
    products = shape.standard_normal((30_000, DIMENSIONS), dtype=np.float32)
    kind_of = shape.integers(0, len(kinds), len(products))
    rng = np.random.default_rng(seed)
    vectors = np.empty((size, DIMENSIONS), dtype=np.float16)
    for start in range(0, size, _CHUNK):
        product = rng.integers(0, len(products), min(_CHUNK, size - start))
        block = kinds[kind_of[product]] + 0.7 * products[product]
        block += 0.7 * rng.standard_normal(block.shape, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        vectors[start : start + _CHUNK] = block
    return vectors


def draw_texts(size: int) -> list[str]:
    """Product titles: brand, noun, model number; every third one Chinese."""
    rng = random.Random(1)
    brands = [f"{a}{b}" for a in ("nor", "vel", "kas", "tri", "omi") for b in ("da", "tek", "lux")]
    nouns = ["washing machine", "running shoes", "phone case", "desk lamp", "baby stroller"]
    wide = ["洗衣机滚筒", "跑步鞋男款", "手机壳防摔", "护眼台灯", "婴儿推车轻便"]
    return [
        f"{rng.choice(brands)} {rng.choice(nouns if n % 3 else wide)} {rng.randrange(size)}"
        for n in range(size)
    ]


def make_pool(size: int, folder: Path) -> int:
    """Write a pool where the workers expect it; returns the bytes of its texts."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", draw_vectors(size, 1), allow_pickle=False)
    np.save(folder / "queries.npy", draw_vectors(QUERIES, 2), allow_pickle=False)
    texts = draw_texts(size)
    (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return sum(len(text.encode()) for text in texts)


@functools.cache
def truth(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Exact similarities: of each query's eighth neighbour, and the queries themselves."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    queries = np.load(folder / "queries.npy").astype(np.float32)
    best = np.full((len(queries), K), -np.inf, dtype=np.float32)
    for start in range(0, len(vectors), _CHUNK):
        scores = queries @ vectors[start : start + _CHUNK].astype(np.float32).T
        both = np.concatenate([best, scores], axis=1)
        best = np.partition(both, both.shape[1] - K, axis=1)[:, -K:]
    return best.min(axis=1), queries


def recall(folder: Path, found: dict[int, list[int]]) -> float:
    """The share of the eight nearest that was found; ties with the eighth count as found."""
    least, queries = truth(folder)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    hits = 0
    for number, positions in found.items():
        unique = sorted(set(positions))
        scores = vectors[unique].astype(np.float32) @ queries[number]
        hits += min(K, int((scores >= least[number] - 1e-5).sum()))
    return hits / (K * len(found))
