"""What does it cost not to ask the model where the cheap experts are sure?

    python eval/bench/cascade.py DATA

On each data set the same rows are answered twice, by the same fitted classifier: every row read
by the model, and with ``max_loss``, where rows of which the neighbours and the probe are sure
skip it. Printed: the share of calls saved, and the accuracy lost with a paired interval.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import random_examples
from ecomfs.task import load_task
from ecomfs_eval import Predictions, compare

SETS = {
    "amazon_cells_en": "review_sentiment",
    "online_shopping_10cats_zh": "review_sentiment",
    "bitext_customer_service_en": "customer_intent",
    "pricerunner_titles_en": "product_category",
    "flipkart_reviews_en": "review_sentiment",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--max-loss", type=float, default=0.01)
    parser.add_argument("--shots", type=int, default=256)
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    for name in options.only:
        card = load_task(SETS[name])
        rows = read_examples(options.data / name / "train.csv", card, label_column="label")
        test = read_examples(options.data / name / "test.csv", card, label_column="label")
        pool = random_examples(rows, options.shots, options.seed)
        test = random_examples(test, options.rows, options.seed)
        clf = FewShotClassifier(
            SETS[name], options.engine, k=options.k, seed=options.seed, max_loss=options.max_loss
        ).fit(pool)
        pipeline, ids = clf.pipeline_, [e.id for e in test]
        fields = [e.fields for e in test]
        full = replace(pipeline, policy=replace(pipeline.policy, skip_from=None))
        answers = {
            "every row read": event_loop.run(full.classify(fields, ids)),
            "sure rows skip": event_loop.run(pipeline.classify(fields, ids)),
        }
        space = sorted({*pipeline.space.names, *(e.label for e in test)})
        systems = [
            Predictions.of(
                [e.label for e in test],
                [p.label for p in found],
                [[p.probabilities.get(label, 0.0) for label in space] for p in found],
                labels=space,
                ids=ids,
                name=way,
            )
            for way, found in answers.items()
        ]
        saved = np.mean([p.source == "experts" for p in answers["sure rows skip"]])
        print(
            f"{name}: {len(pool)} labelled examples, {len(test)} rows, {saved:.0%} of calls saved"
        )
        if clf.profile_ is not None and clf.profile_.skip_from is None:
            print(f"  {clf.profile_.found['notes'][-1]}")
        print(compare(*systems, metrics=["accuracy", "log_loss"]).to_text())


if __name__ == "__main__":
    main()
