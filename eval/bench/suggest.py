"""Are labels of rows chosen by ``suggest`` better than labels of random rows?

    python eval/bench/suggest.py DATA

For each seed, 32 of 800 unlabelled rows of a data set are labelled: drawn at random, or chosen by
``suggest`` in two rounds of 16, the second with the labels of the first. With both pools the
experts (neighbours' vote and linear probe, no language model) classify the same test rows. The
intervals are of the mean over seeds (Student's t); the differences are paired by seed.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from ecomfs.batch import read_examples
from ecomfs.calibration import Evidence, prior_fusion
from ecomfs.embed import Embedder, open_embedder
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.features import RowText
from ecomfs.prepare.suggest import suggest
from ecomfs.retrieve import Retriever
from ecomfs.task import load_task
from ecomfs.types import Example

SETS = {
    "amazon_cells_en": ("review_sentiment", "label"),
    "flipkart_reviews_en": ("review_sentiment", "label"),
    "bitext_customer_service_en": ("customer_intent", "label"),
    "pricerunner_titles_en": ("product_category", "label"),
    "online_shopping_10cats_zh": ("review_sentiment", "label"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--budget", type=int, default=32)
    parser.add_argument("--unlabelled", type=int, default=800)
    parser.add_argument("--rows", type=int, default=500, help="test rows")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    embedder = open_embedder(options.embedder)
    print(
        f"{options.budget} labels of {options.unlabelled} rows, {options.seeds} seeds, "
        f"{options.rows} test rows, embedder {embedder.fingerprint}; accuracy, 95 % intervals"
    )
    for name in options.only:
        task, label = SETS[name]
        card = load_task(task)
        rows = read_examples(options.data / name / "train.csv", card, label_column=label)
        test = read_examples(options.data / name / "test.csv", card, label_column=label)
        words = RowText(card)
        found: dict[str, list[float]] = {"random": [], "suggested": []}
        for seed in range(options.seeds):
            rng = random.Random(seed)
            unlabelled = rng.sample(rows, min(options.unlabelled, len(rows)))
            held = rng.sample(test, min(options.rows, len(test)))
            sampled = rng.sample(unlabelled, options.budget)
            chosen = suggested(unlabelled, words, embedder, options.budget, seed)
            for way, pool in (("random", sampled), ("suggested", chosen)):
                found[way].append(accuracy(pool, held, words, embedder))
        drawn, named = np.array(found["random"]), np.array(found["suggested"])
        print(
            f"{name:28} random {interval(drawn)}  suggested {interval(named)}  "
            f"difference {interval(named - drawn, sign=True)}"
        )


def suggested(
    rows: Sequence[Example], words: RowText, embedder: Embedder, budget: int, seed: int
) -> list[Example]:
    """Rows as a person would get them: half by coverage, half with the labels of the first half."""
    texts = [words.render(row.fields, "en") for row in rows]
    vectors = embedder.fit(texts).embed(texts, query=False)
    first = [s.position for s in suggest(texts, budget // 2, vectors=vectors, seed=seed)]
    pool = [rows[p] for p in first]
    answers = distributions(pool, texts, words, embedder)
    labels = sorted({row.label for row in pool})
    second = suggest(
        texts,
        budget - len(first),
        vectors=vectors,
        pool_texts=[texts[p] for p in first],
        pool_vectors=vectors[first],
        uncertainty=(1 - answers.max(axis=1)).tolist(),
        groups=[labels[i] for i in answers.argmax(axis=1)],
        seed=seed,
    )
    return pool + [rows[s.position] for s in second]


def distributions(
    pool: Sequence[Example], texts: Sequence[str], words: RowText, embedder: Embedder
) -> np.ndarray:
    """Distributions of the experts over the pool's labels, sorted."""
    known = [words.render(row.fields, "en") for row in pool]
    retriever = Retriever(pool, known, embedder)
    experts = Experts(retriever, sorted({row.label for row in pool}))
    opinions = experts.opinions(retriever.queries(texts, neighbours=NEIGHBOURS))
    return prior_fusion(experts.names).apply(Evidence.of(opinions))


def accuracy(
    pool: Sequence[Example], test: Sequence[Example], words: RowText, embedder: Embedder
) -> float:
    """Share of right answers; a label that the pool lacks is always wrong."""
    labels = sorted({row.label for row in pool})
    p = distributions(pool, [words.render(row.fields, "en") for row in test], words, embedder)
    right = [labels[i] == row.label for i, row in zip(p.argmax(axis=1), test, strict=True)]
    return float(np.mean(right))


def interval(values: np.ndarray, *, sign: bool = False) -> str:
    """The mean with its interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    shown = f"{mean:+.3f}" if sign else f"{mean:.3f}"
    return (
        f"{shown} [{mean - half:+.3f}, {mean + half:+.3f}]"
        if sign
        else (f"{shown} [{mean - half:.3f}, {mean + half:.3f}]")
    )


if __name__ == "__main__":
    main()
