"""Accuracy and cost of the layouts of demonstrations.

    python eval/bench/layouts.py DATA --engine "transformers:qwen2.5-coder-0.5b?dtype=bfloat16"

On each data set the same rows are read with each layout and the same labelled examples. Prints:
accuracy and log loss of the model as read, of the model with a bias and a temperature estimated on
other rows, and of model and experts with the prior weights; prompt tokens per row, and how many
remain to be computed if prefixes are shared. The differences of log loss from ``retrieved`` are
paired, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch import read_examples
from ecomfs.calibration import (
    EXPERTS,
    MODEL,
    DecisionPolicy,
    Evidence,
    cross_calibrated,
    prior_fusion,
)
from ecomfs.core import event_loop
from ecomfs.embed import open_embedder
from ecomfs.engine.shared import shared_engine
from ecomfs.experts import Experts
from ecomfs.pipeline import Options, build_pipeline
from ecomfs.pool import random_examples, sample_examples
from ecomfs.retrieve import simulate_prefix_cache
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Example, Posterior

SETS: dict[str, tuple[str, str, str, int]] = {
    "amazon_cells_en": ("review_sentiment", "train.csv", "test.csv", 32),
    "flipkart_reviews_en": ("review_sentiment", "train.csv", "test.csv", 64),
    "online_shopping_10cats_zh": ("review_sentiment", "train.csv", "test.csv", 32),
    "pricerunner_titles_en": ("product_category", "train.csv", "test.csv", 64),
    "bitext_customer_service_en": ("customer_intent", "train.csv", "test.csv", 135),
    "banking77_en": ("customer_intent", "train_5shot.csv", "train.csv", 0),
}
"""Data set → task, file of labelled examples, file of test rows, labelled examples (0: all)."""

Values = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--k", type=int, nargs="+", default=[4])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument(
        "--layouts", nargs="*", default=["retrieved", "shared", "both"], help="the first: the base"
    )
    parser.add_argument("--no-reading", action="store_true", help="count tokens only")
    options = parser.parse_args()
    engine = shared_engine(options.engine)
    for name in options.only:
        pool, test = read(options.data / name, name, options.rows, options.seed)
        print(f"{name}: {len(pool)} labelled, {len(test)} rows, {engine.spec}", flush=True)
        base: list[Values] = []
        for k in options.k:
            for layout in options.layouts:
                given = Options(k=k, layout=layout, seed=options.seed)
                base = one(SETS[name][0], pool, test, engine, given, base, not options.no_reading)


def read(folder: Path, name: str, rows: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Labelled examples and test rows without a common text."""
    task, labelled, tested, shots = SETS[name]
    card = load_task(task)
    pool = read_examples(folder / labelled, card, label_column="label")
    pool = sample_examples(pool, shots, seed) if shots else pool
    texts = {str(e.fields) for e in pool}
    names = LabelSpace.resolve(card, (e.label for e in pool))
    rest = [
        e
        for e in read_examples(folder / tested, card, label_column="label")
        if str(e.fields) not in texts and names.index(e.label) is not None
    ]
    return pool, random_examples(rest, rows, seed)


def one(
    task: str,
    pool: list[Example],
    test: list[Example],
    engine: Any,
    options: Options,
    base: list[Values],
    reads: bool,
) -> list[Values]:
    """Print the line of one layout; returns its log losses for comparison."""
    pipeline = build_pipeline(
        load_task(task), pool, engine, open_embedder("auto"), options, task=task
    )
    assert pipeline.retriever is not None
    experts = Experts(pipeline.retriever, pipeline.space.names, pipeline.card)
    pipeline = replace(pipeline, experts=experts, policy=DecisionPolicy())
    states = pipeline.prepare([e.fields for e in test], [e.id for e in test])
    prompts = sorted((s.prompt.text, s.prompt.token_ids) for s in states if s.prompt)
    ids = [tokens for _, tokens in prompts]
    found = simulate_prefix_cache(ids, block_size=1)
    name = f"k {options.k} {options.layout}"
    tokens = f"{found.tokens / len(ids):4.0f} tokens, {100 * (found.hit_rate or 0):2.0f} % reused"
    if not reads:
        blocks = simulate_prefix_cache(ids, block_size=16)
        print(f"  {name:14} {tokens} ({100 * (blocks.hit_rate or 0):.0f} % in blocks of 16)")
        return base
    posteriors: list[Posterior] = []
    for state, reading, _ in event_loop.run(pipeline.answer(states)):
        if not isinstance(reading, Posterior):
            raise SystemExit(f"{state.id}: {reading}")
        posteriors.append(reading)
    truth = np.array([pipeline.space.require(e.label, e.id) for e in test])
    read_as = np.array([p.probabilities for p in posteriors])
    calibrated = cross_calibrated(read_as.tolist(), truth.tolist())
    opinions = [s.opinion for s in states if s.opinion is not None]
    alone = prior_fusion(experts.names).apply(Evidence.of(opinions))
    fused = prior_fusion((MODEL, EXPERTS)).apply(Evidence.of((), calibrated, alone))
    losses = [losses_of(p, truth) for p in (read_as, calibrated, fused)]
    said = "  ".join(
        f"{title} {100 * (p.argmax(axis=1) == truth).mean():5.1f} / {loss.mean():.3f}"
        for title, p, loss in zip(
            ("as read", "calibrated", "fused"), (read_as, calibrated, fused), losses, strict=True
        )
    )
    print(f"  {name:14} {said}  {tokens}", flush=True)
    if base:
        differences = "  ".join(
            f"{title} {against(loss, other)}"
            for title, loss, other in zip(
                ("as read", "calibrated", "fused"), losses, base, strict=True
            )
        )
        print(f"  {'':14} log loss less the base's: {differences}", flush=True)
    return base or losses


def losses_of(p: Values, truth: NDArray[np.int64]) -> Values:
    """Log loss of every row."""
    return -np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9))


def against(one: Values, other: Values) -> str:
    """Mean difference with its 95 % interval."""
    rows = one - other
    half = 1.96 * rows.std(ddof=1) / len(rows) ** 0.5
    return f"{rows.mean():+.3f} [{rows.mean() - half:+.3f}, {rows.mean() + half:+.3f}]"


if __name__ == "__main__":
    main()
