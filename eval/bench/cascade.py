"""What is lost by not asking the model about rows whose label it cannot, or hardly would, change?

    python eval/bench/cascade.py tasks --engine ENGINE

On each data set of a suite a classifier is fitted and reads every test row, as in ``ecomfs eval
run`` (cached readings are free). The answers of each rule that skips rows are computed from these
readings:

- the default: skip rows whose label no reading could change;
- ``--max-loss``: skip rows on which the experts are confident enough;
- a budget: read the rows with the least confident experts first.

Prints for each rule the share of rows skipped, the share of labels that change, and the accuracy
lost, with a paired 95 % interval; and accuracy by the share of rows read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline, RowState
from ecomfs.suites import load_suite, plan
from ecomfs.suites.data import data_folder, read_data, task_of
from ecomfs.types import Example, Prediction
from ecomfs_eval import Bootstrap, Predictions, get_metric
from ecomfs_eval.compare import differences

SETS = (
    "amazon_cells_en",
    "online_shopping_10cats_zh",
    "pricerunner_titles_en",
    "bitext_customer_service_en",
    "multicpr_query_item_zh",
)
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", nargs="?", default="tasks")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--max-loss", type=float, default=0.01)
    parser.add_argument("--rows", type=int, default=None, help="most test rows per set")
    parser.add_argument("--only", nargs="*", default=list(SETS))
    options = parser.parse_args()
    folder = data_folder(None)
    skipped, curves = [], []
    for cell in plan(load_suite(options.suite), only=options.only):
        started, data = time.monotonic(), read_data(cell.dataset, folder)
        pool, test = data.examples(cell.shots, cell.seed), list(data.test)[: options.rows]
        clf = FewShotClassifier(
            task_of(cell.dataset),
            **{
                **cell.options,
                "engine": options.engine,
                "seed": cell.seed,
                "max_loss": options.max_loss,
            },
        ).fit(pool)
        pipeline = clf.pipeline_
        found = event_loop.run(
            replace(pipeline, cascade=False).trace([e.fields for e in test], [e.id for e in test])
        )
        every = [prediction for _, _, prediction in found]
        experts = answered_alone(pipeline, every, [state for state, _, _ in found])
        sure = np.array([max(p.stages["experts"], default=0.0) for p in every])
        opinions = [s.opinion for s, _, _ in found if s.opinion is not None]
        languages = [s.language for s, _, _ in found]
        calibrations = [pipeline.setups[one].calibration for one in languages]
        settled = np.array(pipeline.policy.decided(opinions, calibrations))
        from_ = pipeline.policy.skip_from
        confident = np.zeros(len(test), bool) if from_ is None else sure >= from_
        weights = "/".join(f"{w:.2f}" for w in pipeline.policy.fusion.weights)
        system = systems(pipeline, test)
        title = f"{cell.dataset.name} | {len(pool)} | {len(test)}"
        for rule, unread in (("default", settled), (f"max_loss={options.max_loss}", confident)):
            mixed = [e if left else p for p, e, left in zip(every, experts, unread, strict=True)]
            other = sum(a.label != b.label for a, b in zip(every, mixed, strict=True))
            pair = system("every", every), system(rule, mixed)
            lost = difference(*pair, "accuracy", 100, "+.1f")
            loss = difference(*pair, "log_loss", 1, "+.3f")
            skipped.append(
                f"| {title} | {weights} | {rule} | {unread.mean():.0%} | {other} "
                f"| {lost} | {loss} |"
            )
        right = np.array(
            [
                [float(p.label == e.label) for p in (alone, full)]
                for alone, full, e in zip(experts, every, test, strict=True)
            ]
        )
        order = right[np.argsort(sure, kind="stable")]
        curve = " | ".join(f"{100 * accuracy_at(order, share):.1f}" for share in SHARES)
        curves.append(f"| {title} | {curve} | {smallest_share(order):.0%} |")
        print(f"{cell.title}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{options.engine}\n")
    print(
        "| data | labelled | rows | weights of together/experts/model/shares | rule | not read "
        "| other labels | accuracy | log loss |\n|---|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(skipped))
    shares = " | ".join(f"{s:.0%}" for s in SHARES)
    print(f"\n| data | labelled | rows | {shares} | as good from |")
    print("|---|---|---|" + "---|" * (len(SHARES) + 1))
    print("\n".join(curves))


def answered_alone(
    pipeline: Pipeline, every: Sequence[Prediction], states: Sequence[RowState]
) -> list[Prediction]:
    """The same rows, answered by the experts without the model."""
    decisions = pipeline.policy.decide([None] * len(states), [s.opinion for s in states])
    names = pipeline.space.names
    return [
        replace(
            p,
            label=names[int(np.argmax(d.probabilities))],
            probabilities=dict(zip(names, d.probabilities, strict=True)),
        )
        for p, d in zip(every, decisions, strict=True)
    ]


def systems(pipeline: Pipeline, test: Sequence[Example]) -> Any:
    """Convert answers on the test rows to predictions of a system."""
    gold = [e.label for e in test]
    space = sorted({*pipeline.space.names, *gold})

    def system(name: str, found: Sequence[Prediction]) -> Predictions:
        table = [[p.probabilities.get(label, 0.0) for label in space] for p in found]
        predicted = [p.label for p in found]
        return Predictions.of(
            gold, predicted, table, labels=space, ids=[e.id for e in test], name=name
        )

    return system


def difference(one: Predictions, other: Predictions, metric: str, factor: float, form: str) -> str:
    """The second minus the first, with a paired interval."""
    (found,) = differences(one, other, [get_metric(metric)], Bootstrap())
    if found.delta is None:
        return found.note
    value = f"{factor * found.delta:{form}}"
    if found.interval is None:
        return value
    low, high = found.interval.low, found.interval.high
    return f"{value} [{factor * low:{form}}, {factor * high:{form}}]"


def accuracy_at(rows: NDArray[np.float64], share: float) -> float:
    """Accuracy if the first rows get the answer of model and experts, the others that of the
    experts.
    """
    read = round(share * len(rows))
    return float(rows[:read, 1].sum() + rows[read:, 0].sum()) / len(rows)


def smallest_share(rows: NDArray[np.float64]) -> float:
    """The smallest share from which on the accuracy is never below that of reading every row."""
    gains = np.concatenate([[0.0], np.cumsum(rows[:, 1] - rows[:, 0])])
    worse = np.flatnonzero(gains < gains[-1])
    return float(worse[-1] + 1 if len(worse) else 0) / len(rows)


if __name__ == "__main__":
    main()
