"""Is classification over two levels better than one reading of all leaves?

    python eval/bench/taxonomy.py DATA --engine "transformers:demo?dtype=bfloat16"

Bitext's customer-service messages have a category (11) and an intent (27), used as the levels of a
taxonomy: "account > create_account". The same examples, drawn as evenly over the intents as
possible, are given to TaxonomyClassifier and to FewShotClassifier, whose labels are the intents
alone (more than 20, so it uses a shortlist). The messages are written from templates and easy: only
the difference between the two classifiers is informative, not their accuracy.

Prints accuracy over whole labels and over parents, with Wilson intervals, and the paired
differences. The parent of an answer is that of its leaf; "level one" is the answer before any child
is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ecomfs.estimators import FewShotClassifier
from ecomfs.estimators.taxonomy import TaxonomyClassifier
from ecomfs.io import read_frame
from ecomfs.pool import random_examples, sample_examples
from ecomfs.types import Example, Prediction
from ecomfs_eval import Predictions, compare, wilson

TASK, SEPARATOR = "customer_intent", " > "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--shots", type=int, default=135, help="labelled examples (5 an intent)")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--beam", type=int, default=2)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="gguf:demo")
    options = parser.parse_args()
    folder = options.data / "bitext_customer_service_en"
    pool = sample_examples(messages(folder / "train.csv"), options.shots, options.seed)
    test = random_examples(messages(folder / "test.csv"), options.rows, options.seed)
    whole = {leaf(e.label): e.label for e in pool}
    missing = sorted({e.label for e in test} - set(whole.values()))
    print(
        f"{len(pool)} labelled messages, {len(whole)} intents in "
        f"{len({parent(label) for label in whole.values()})} categories, {len(test)} rows"
        + (f"; no example of {', '.join(missing)}" if missing else "")
    )
    shared = {"k": options.k, "seed": options.seed}
    rows, ids = [e.fields for e in test], [e.id for e in test]
    tree = TaxonomyClassifier(
        TASK, options.engine, separator=SEPARATOR, beam=options.beam, **shared
    ).fit(pool)
    down = tree.classify(rows, ids)
    flat = FewShotClassifier(TASK, options.engine, **shared).fit(
        [Example(e.id, e.fields, leaf(e.label)) for e in pool]
    )
    across = flat.classify(rows, ids)
    answers = {
        "flat": [
            (p, {whole[name]: value for name, value in p.probabilities.items()}) for p in across
        ],
        "two levels": [(p, dict(p.probabilities)) for p in down],
    }
    gold, space = [e.label for e in test], sorted({*whole.values(), *(e.label for e in test)})
    leaves, parents = [], []
    for name, found in answers.items():
        unread = sum(not p for _, p in found)
        print(f"{name}: {unread} rows unread, {sum(p.prompt_tokens for p, _ in found):,} tokens")
        distributions = [p for _, p in found]
        leaves.append(scored(name, gold, distributions, space, ids))
        parents.append(by_parent(name, gold, [likeliest(p) for p in distributions], ids))
    one = [level_one(p) for p in down]
    print("whole labels")
    accuracy([*leaves])
    print("parents")
    accuracy([*parents, by_parent("level one", gold, one, ids)])
    print("whole labels, two levels − flat")
    print(compare(*leaves, metrics=["accuracy", "log_loss"]).to_text())
    print("parents, two levels − flat")
    print(compare(*parents, metrics=["accuracy"]).to_text())


def messages(path: Path) -> list[Example]:
    """Rows of a file, with whole labels and readable parents."""
    frame = read_frame(path)
    if frame.errors:
        raise SystemExit(f"{path}: {next(iter(frame.errors.values()))}")
    columns = (frame.data[name].astype(str) for name in ("id", "text", "category", "label"))
    return [
        Example(key, {"text": text}, f"{above.lower().replace('_', ' ')}{SEPARATOR}{below}")
        for key, text, above, below in zip(*columns, strict=True)
    ]


def parent(label: str) -> str:
    return label.split(SEPARATOR)[0]


def leaf(label: str) -> str:
    return label.split(SEPARATOR)[1]


def likeliest(p: dict[str, float]) -> str | None:
    return max(p, key=p.__getitem__) if p else None


def level_one(found: Prediction) -> str | None:
    """The likeliest parent before any child is read, as one of its leaves."""
    if not found.probabilities:
        return None
    sums: dict[str, float] = {}
    for label, p in zip(found.probabilities, found.stages["level one"], strict=True):
        sums[parent(label)] = sums.get(parent(label), 0.0) + p
    best = likeliest(sums)
    return next(label for label in found.probabilities if parent(label) == best)


def scored(
    name: str,
    gold: Sequence[str],
    found: Sequence[dict[str, float]],
    space: Sequence[str],
    ids: Sequence[str],
) -> Predictions:
    nothing = float("nan")
    return Predictions.of(
        gold,
        [likeliest(p) for p in found],
        [[p.get(label, 0.0 if p else nothing) for label in space] for p in found],
        labels=space,
        ids=ids,
        name=name,
    )


def by_parent(
    name: str, gold: Sequence[str], found: Sequence[str | None], ids: Sequence[str]
) -> Predictions:
    answers = [None if label is None else parent(label) for label in found]
    return Predictions.of([parent(label) for label in gold], answers, ids=ids, name=name)


def accuracy(systems: Sequence[Predictions]) -> None:
    for found in systems:
        right = sum(a == g for a, g in zip(found.predicted, found.gold, strict=True))
        n = len(found.gold)
        seen = wilson(right, n)
        print(f"  {found.name:10} {right / n:.1%} [{seen.low:.1%}, {seen.high:.1%}]  n = {n}")


if __name__ == "__main__":
    main()
