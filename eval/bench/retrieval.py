"""Retrieval speed beside plain NumPy and rank_bm25, measured alternately in one run.

    python eval/bench/retrieval.py                     pools of 100 … 100,000
    python eval/bench/retrieval.py --sizes 1000000     the approximate index

Vectors are drawn from a hierarchy of random centres (384 dimensions, as the packaged model's),
texts from a small grammar of product titles; both with a fixed seed. Every repetition times ours
and the other one after the other, so that a busy machine slows both; the ratio is the median of
the pairs' ratios. "NumPy" is the shortest correct brute force: one matrix product, argpartition,
sort.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.retrieve import DenseIndex, LexicalIndex, build_index
from ecomfs.retrieve.lexical import terms

DIMENSIONS = 384
K = 8
SECONDS = 3.0  # time spent a comparison, about

Vectors = NDArray[np.float32]


def draw_vectors(size: int, seed: int) -> Vectors:
    """Unit rows in a hierarchy: 300 kinds, 30,000 products, and what makes each text its own.

    There are more products than an approximate index has lists and neighbours lie across them,
    so that finding them is not made easy.
    """
    shape = np.random.default_rng(0)
    kinds = shape.standard_normal((300, DIMENSIONS), dtype=np.float32)
    products = shape.standard_normal((30_000, DIMENSIONS), dtype=np.float32)
    kind_of = shape.integers(0, len(kinds), len(products))
    lots = np.random.default_rng(seed)
    vectors = np.empty((size, DIMENSIONS), dtype=np.float32)
    for start in range(0, size, 1 << 16):
        block = vectors[start : start + (1 << 16)]
        product = lots.integers(0, len(products), len(block))
        block[:] = kinds[kind_of[product]] + 0.7 * products[product]
        block += 0.7 * lots.standard_normal(block.shape, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def draw_texts(size: int, seed: int) -> list[str]:
    """Product titles: brand, adjective, noun, model number; Chinese for every third."""
    lots = random.Random(seed)
    brands = [f"{a}{b}" for a in ("nor", "vel", "kas", "tri", "omi") for b in ("da", "tek", "lux")]
    nouns = ["washing machine", "running shoes", "phone case", "desk lamp", "baby stroller"]
    wide = ["洗衣机滚筒", "跑步鞋男款", "手机壳防摔", "护眼台灯", "婴儿推车轻便"]
    return [
        f"{lots.choice(brands)} {lots.choice(nouns if n % 3 else wide)} {lots.randrange(size)}"
        for n in range(size)
    ]


def brute_force(vectors: Vectors, queries: Vectors) -> NDArray[np.int64]:
    """The usual few lines of NumPy."""
    scores = queries @ vectors.T
    k = min(K, len(vectors))
    part = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, part, axis=1), axis=1)
    return np.asarray(np.take_along_axis(part, order, axis=1), dtype=np.int64)


def alternate(ours: Callable[[int], Any], other: Callable[[int], Any]) -> dict[str, float]:
    """Milliseconds of both, p50 and p99, and the median ratio of pairs."""
    ours(0), other(0)
    pairs: list[tuple[float, float]] = []
    stop = time.perf_counter() + SECONDS
    while len(pairs) < 15 or (time.perf_counter() < stop and len(pairs) < 2000):
        n = len(pairs)
        times = []
        # Who goes first changes, so that neither always finds the caches warm.
        for task in (ours, other)[:: 1 if n % 2 else -1]:
            began = time.perf_counter()
            task(n)
            times.append(1e3 * (time.perf_counter() - began))
        pairs.append((times[0], times[1]) if n % 2 else (times[1], times[0]))
    mine, theirs = np.array(pairs).T
    return {
        "ours_p50_ms": float(np.median(mine)),
        "ours_p99_ms": float(np.quantile(mine, 0.99)),
        "other_p50_ms": float(np.median(theirs)),
        "other_p99_ms": float(np.quantile(theirs, 0.99)),
        "ratio": float(np.median(mine / theirs)),
        "pairs": len(pairs),
    }


def dense(size: int) -> list[dict[str, Any]]:
    """Ours against NumPy, one query at a time and 64 at once."""
    vectors, queries = draw_vectors(size, 1), draw_vectors(512, 2)
    began = time.perf_counter()
    index = build_index(vectors)
    built = time.perf_counter() - began
    print(f"{size:,}: {index.description}, built in {built:.1f} s", file=sys.stderr)
    found = [h.positions.tolist() for h in index.search(queries[:256], K)]
    true = brute_force(vectors, queries[:256]).tolist()
    pairs = zip(found, true, strict=True)
    recall = sum(len(set(f) & set(t)) for f, t in pairs) / sum(map(len, true))
    rows = []
    for batch in (1, 64):

        def block(n: int, batch: int = batch) -> Vectors:
            start = n * batch % (len(queries) - batch + 1)
            return queries[start : start + batch]

        timed = alternate(
            lambda n: index.search(block(n), K), lambda n: brute_force(vectors, block(n))
        )
        kind = "dense" if isinstance(index, DenseIndex) else "ivf"
        row = {"what": kind, "other": "NumPy", "size": size, "batch": batch, "recall": recall}
        rows.append(row | timed | {"build_s": built})
    return rows


def lexical(size: int) -> list[dict[str, Any]]:
    """Ours (bm25s) against rank_bm25, one query at a time."""
    if importlib.util.find_spec("rank_bm25") is None:
        print("rank_bm25 is not installed: no lexical comparison", file=sys.stderr)
        return []
    from rank_bm25 import BM25Okapi  # type: ignore[import-untyped]

    texts, queries = draw_texts(size, 1), draw_texts(256, 2)
    index = LexicalIndex(texts)
    other = BM25Okapi([terms(text) for text in texts])

    def theirs(n: int) -> Any:
        scores = other.get_scores(terms(queries[n % 256]))
        return np.argsort(-scores)[:K]

    timed = alternate(lambda n: index.search([queries[n % 256]], K), theirs)
    return [{"what": "lexical", "other": "rank_bm25", "size": size, "batch": 1} | timed]


def main() -> None:
    """Measure, print a table, write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for size in options.sizes:
        rows += dense(size)
        if size <= 100_000:
            rows += lexical(size)
    print("| what | pool | batch | ours p50 / p99 ms | other | p50 / p99 ms | ratio | recall@8 |")
    print("|---|---|---|---|---|---|---|---|")
    for r in rows:
        recall = f"{r['recall']:.3f}" if "recall" in r else "–"
        print(
            f"| {r['what']} | {r['size']:,} | {r['batch']}"
            f" | {r['ours_p50_ms']:.3f} / {r['ours_p99_ms']:.3f} | {r['other']}"
            f" | {r['other_p50_ms']:.3f} / {r['other_p99_ms']:.3f}"
            f" | {r['ratio']:.2f} | {recall} |"
        )
    machine = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": platform.processor() or platform.machine(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(machine))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
