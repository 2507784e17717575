"""Do features of other users help, and what does the leakage guard prevent?

    D=DATA/tallrec_movie_preference_en
    python eval/bench/tallrec_lists.py $D/test.csv --size 1 -o test.csv \
        --pool $D/train.csv --pool-output pool.csv
    python eval/bench/other_users.py pool.csv test.csv

Compares the feature model on the film tables with recovered users: without users (so there are no
features of other users), with users, and "careless", where every labelled row counts as a separate
user. Careless features leak the label of a row from the history of a later row. "Own" is the
leave-one-out AUC on the labelled examples, which a fusion of experts would trust. 95 % intervals
resample the users of the test rows, "±" is the standard deviation over the draws of examples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.features import FeatureExpert
from ecomfs.pool import random_examples
from ecomfs.task import load_task
from ecomfs.types import Example, Row
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.repeated import Average, average, average_difference

LABELS = ("No", "Yes")
VARIANTS = ("without users", "with users", "careless")
METRICS = ("roc_auc", "log_loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path, help="labelled examples with the column user")
    parser.add_argument("test", type=Path, help="test rows with the column user")
    parser.add_argument("--shots", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    card = load_task("product_preference")
    pool = read_examples(options.pool, card, label_column="label")
    test = read_examples(options.test, card, label_column="label")
    print("| Labels | Features | ROC AUC | Log loss | AUC − without users | Own |")
    print("|---|---|---|---|---|---|")
    for shots in options.shots:
        runs: dict[str, list[Predictions]] = {name: [] for name in VARIANTS}
        own: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for seed in range(options.seeds):
            examples = random_examples(pool, shots, seed)
            for name in VARIANTS:
                expert = FeatureExpert(card, LABELS).fit(
                    [shown(e, name, place) for place, e in enumerate(examples)],
                    [e.label for e in examples],
                    [e.fields["user"] for e in examples] if name == "with users" else None,
                )
                given = expert.predict_proba([shown(e, name, -1) for e in test])
                runs[name].append(predictions(test, given, name))
                left_out = predictions(examples, expert.leave_one_out(), name)
                own[name].append(average([left_out], ["roc_auc"])["roc_auc"].score.value or 0.0)
        show(shots, runs, own)


def shown(example: Example, variant: str, place: int) -> Row:
    """The fields of a row, with the user as the variant defines it."""
    user = {"without users": "", "careless": f"row {place}"}
    return {**example.fields, "user": user.get(variant, example.fields["user"])}


def predictions(rows: list[Example], given: np.ndarray, name: str) -> Predictions:
    """Answers as predictions for the harness."""
    return Predictions.of(
        [e.label for e in rows],
        None,
        given,
        labels=LABELS,
        ids=[e.id for e in rows],
        positive="Yes",
        groups=tuple(str(e.fields["user"]) for e in rows),
        name=name,
    )


def show(shots: int, runs: dict[str, list[Predictions]], own: dict[str, list[float]]) -> None:
    """One line per variant."""
    how = Bootstrap(resamples=500)
    for name in VARIANTS:
        scores = average(runs[name], METRICS, how)
        against = "–"
        if name != VARIANTS[0]:
            found = average_difference(runs[VARIANTS[0]], runs[name], ["roc_auc"], how)
            against = found["roc_auc"].text()
        cells = [str(shots), name, *(_text(scores[m]) for m in METRICS), against]
        print("| " + " | ".join([*cells, f"{np.mean(own[name]):.3f}"]) + " |", flush=True)


def _text(found: Average) -> str:
    return f"{found.score.text()} ± {found.spread or 0.0:.3f}"


if __name__ == "__main__":
    main()
