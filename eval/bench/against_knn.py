"""Is the answer better than the vote of the neighbours that are shown? Paired, on the same rows.

    python eval/bench/against_knn.py TEST.csv TRAIN.csv --task review_sentiment

Prints the differences of accuracy and log loss between the answer and the nearest-neighbour vote
on the same labelled examples, with paired intervals and the exact McNemar test.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ecomfs.batch import read_examples, score_table
from ecomfs.estimators import FewShotClassifier
from ecomfs.evaluation.evaluate import systems
from ecomfs.pool import sample_examples
from ecomfs.task import load_task
from ecomfs_eval import compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--task", default="review_sentiment")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    card = load_task(options.task)
    everything = read_examples(options.examples, card, label_column=options.label_column)
    pool = sample_examples(everything, options.shots, options.seed)
    clf = FewShotClassifier(options.task, options.engine, seed=options.seed).fit(pool)
    with tempfile.TemporaryDirectory() as folder:
        result = score_table(
            options.data,
            Path(folder) / "scored.csv",
            clf.pipeline_,
            gold_column=options.label_column,
            limit=options.rows,
        )
    if result.gold is None:
        return
    found = systems(result.gold, clf.pipeline_)
    both = compare(found["kNN only"], next(iter(found.values())), metrics=["accuracy", "log_loss"])
    print(f"{options.data}: {len(pool)} labelled examples")
    print(both.to_text())


if __name__ == "__main__":
    main()
