"""Accuracy of label sets with one question per label.

    python eval/bench/multilabel.py DATA --engine "transformers:demo?dtype=bfloat16"

No available data set is labelled with sets of tags, so this one is constructed: the Chinese
shopping reviews have a column with the sentiment (label_zh, two values) and one with the product's
category (category, ten), and each row gets the set of its two values out of twelve tags. So every
row has exactly two tags, one of each kind; the systems do not know this. Real tags may be fewer,
more, or depend on each other differently.

MultiLabelClassifier is compared, on the same examples and embeddings, with neighbours that vote on
each tag separately (1, 3, 5 or 9, chosen by cross-validation on the examples), and with one
logistic regression per tag. All scores are scikit-learn's, with 95 % bootstrap intervals over rows
(Wilson's for subset accuracy); the differences are paired. A row that could not be read counts as a
row without tags.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, hamming_loss
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from ecomfs.embed import open_embedder
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.io import read_frame
from ecomfs.pool import random_examples
from ecomfs.task import read_labels, write_labels
from ecomfs.types import Example
from ecomfs_eval import wilson

Table = NDArray[np.int64]
"""Rows × tags, 1 where the row has the tag."""

METRICS: dict[str, Callable[[Table, Table], float]] = {
    "micro F1": lambda y, z: float(f1_score(y, z, average="micro", zero_division=0)),
    "macro F1": lambda y, z: float(f1_score(y, z, average="macro", zero_division=0)),
    "subset accuracy": lambda y, z: float(accuracy_score(y, z)),
    "Hamming loss": lambda y, z: float(hamming_loss(y, z)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--task", default="customer_intent", help="with an open label space")
    parser.add_argument("--shots", type=int, default=128, help="labelled examples")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--k", type=int, help="examples in a prompt; by default the task's")
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-fusion", action="store_true", help="the model alone")
    parser.add_argument("--engine", default="gguf:demo")
    options = parser.parse_args()
    folder = options.data / "online_shopping_10cats_zh"
    pool = random_examples(reviews(folder / "train.csv"), options.shots, options.seed)
    test = random_examples(reviews(folder / "test.csv"), options.rows, options.seed)
    seen = [read_labels(e.label, e.id) for e in pool]
    wanted = [read_labels(e.label, e.id) for e in test]
    tags = sorted({tag for own in [*seen, *wanted] for tag in own})
    table = MultiLabelBinarizer(classes=tags)
    known, truth = table.fit_transform(seen), table.transform(wanted)
    shown = set().union(*seen)
    print(
        f"{len(pool)} labelled reviews, {len(tags)} tags, {len(test)} rows"
        + (f"; no example of {', '.join(sorted(set(tags) - shown))}" if set(tags) - shown else "")
    )
    texts, asked = ([str(e.fields["text"]) for e in part] for part in (pool, test))
    embedder = open_embedder(options.embedder).fit(texts)
    near, far = embedder.embed(texts, query=False), embedder.embed(asked, query=True)
    found = {
        "ecomfs": ecomfs(pool, test, table, options),
        "neighbours, a vote a tag": neighbours(near, known, far, options.seed),
        "logistic regression a tag": OneVsRestClassifier(LogisticRegression(C=10.0, max_iter=1000))
        .fit(near, known)
        .predict(far),
    }
    report(truth, found, options.resamples, options.seed)


def reviews(path: Path) -> list[Example]:
    """Rows of a file, with both columns as one set of tags."""
    frame = read_frame(path)
    if frame.errors:
        raise SystemExit(f"{path}: {next(iter(frame.errors.values()))}")
    columns = (frame.data[name].astype(str) for name in ("id", "text", "label_zh", "category"))
    return [
        Example(key, {"text": text}, write_labels([mood, kind]))
        for key, text, mood, kind in zip(*columns, strict=True)
    ]


def ecomfs(
    pool: list[Example],
    test: list[Example],
    table: MultiLabelBinarizer,
    options: argparse.Namespace,
) -> Table:
    clf = MultiLabelClassifier(
        options.task,
        options.engine,
        k=options.k,
        embedder=options.embedder,
        seed=options.seed,
        fusion=not options.no_fusion,
        calibration_size=32,
    ).fit(pool)
    for note in clf.notes_:
        print(f"  {note}")
    given = clf.predict([e.fields for e in test])
    print(f"  {sum(own is None for own in given)} of {len(test)} rows unread")
    return np.asarray(table.transform([own or () for own in given]))


def neighbours(
    near: NDArray[np.float32], known: Table, far: NDArray[np.float32], seed: int
) -> Table:
    """For each tag, the majority of the nearest examples."""
    folds = KFold(5, shuffle=True, random_state=seed)
    most = len(near) - -(-len(near) // 5)
    best = max(
        (k for k in (1, 3, 5, 9) if k <= most),
        key=lambda k: METRICS["micro F1"](
            known,
            cross_val_predict(KNeighborsClassifier(k, metric="cosine"), near, known, cv=folds),
        ),
    )
    print(f"  {best} neighbours vote")
    return np.asarray(KNeighborsClassifier(best, metric="cosine").fit(near, known).predict(far))


def report(truth: Table, found: dict[str, Table], resamples: int, seed: int) -> None:
    """Scores with intervals, and the differences of the first system from the others."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(truth), size=(resamples, len(truth)))
    spread = {
        (name, metric): np.array([measure(truth[rows], given[rows]) for rows in drawn])
        for name, given in found.items()
        for metric, measure in METRICS.items()
    }
    first = next(iter(found))
    for metric, measure in METRICS.items():
        print(metric)
        for name, given in found.items():
            value = measure(truth, given)
            low, high = np.quantile(spread[name, metric], [0.025, 0.975])
            if metric == "subset accuracy":
                exact = wilson(int((truth == given).all(axis=1).sum()), len(truth))
                low, high = exact.low, exact.high
            line = f"  {value:.3f} [{low:.3f}, {high:.3f}]  {name}"
            if name != first:
                apart = spread[first, metric] - spread[name, metric]
                low, high = np.quantile(apart, [0.025, 0.975])
                by = measure(truth, found[first]) - value
                line += f" ({first} {by:+.3f} [{low:+.3f}, {high:+.3f}])"
            print(line)


if __name__ == "__main__":
    main()
