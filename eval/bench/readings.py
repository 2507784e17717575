"""How many leave-one-out readings does a fit need?

    python eval/bench/readings.py DATA --engine gguf:demo

The model reads all labelled examples and all test rows of a data set once. Then fits are replayed:
each draws other labelled examples among the rows and gets the readings of only some of them. Prints
the mean log loss of the fused answer on the test rows by the number of readings, drawn uniformly or
by difficulty (and reweighted); and the effect of stopping early (ecomfs.fit.stopping) with the
number of readings it takes. Differences are from a fit on all labelled examples, with the standard
error over the draws.

The rows are read without demonstrations, so that a reading does not depend on which rows are
labelled.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch import read_examples
from ecomfs.calibration import (
    EXPERTS,
    EXPERTS_ALONE,
    MODEL,
    MODEL_ALONE,
    Evidence,
    cross_calibrated,
    fit_blend,
    fit_calibration,
    prior_fusion,
    weights_of,
)
from ecomfs.core import event_loop
from ecomfs.embed import open_embedder
from ecomfs.engine.shared import shared_engine
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.fit.stopping import FIRST, GAIN, LOOKS, STEP, remaining_gain
from ecomfs.pipeline import Options, build_pipeline, build_retriever, draw_left_out
from ecomfs.pool import random_examples
from ecomfs.task import load_task
from ecomfs.types import Example, Posterior

SETS = {"amazon_cells_en": "review_sentiment", "online_shopping_10cats_zh": "review_sentiment"}
SIZES = (16, 24, 32, 40, 48)
Values = NDArray[np.float64]
Places = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--rows", type=int, default=160, help="labelled examples and test rows")
    parser.add_argument("--shots", type=int, default=96, help="labelled examples of these")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    for name in options.only:
        names, rows, read, labels = readings(options.data / name, SETS[name], options)
        print(
            f"{name}: {len(rows)} rows read by {options.engine}, {options.shots} labelled, "
            f"{options.draws} draws",
            flush=True,
        )
        found: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for seed in range(options.draws):
            replay(SETS[name], names, rows, read, labels, options.shots, seed, found)
        whole = np.array([loss for loss, _ in found["all"]])
        for how, measured in found.items():
            loss, size = np.array(measured).T
            away = loss - whole
            error = away.std(ddof=1) / len(away) ** 0.5
            print(
                f"  {how:22} {size.mean():5.1f} readings  log loss {loss.mean():.3f}  "
                f"{away.mean():+.4f} ± {error:.4f}",
                flush=True,
            )


def readings(
    folder: Path, task: str, options: argparse.Namespace
) -> tuple[tuple[str, ...], list[Example], Values, Places]:
    """Labels, rows, the model's posterior for each row, and positions of their labels."""
    card = load_task(task)
    everything = read_examples(folder / "train.csv", card, label_column="label")
    rows = random_examples(everything, options.rows, 0)
    pipeline = build_pipeline(
        card,
        everything,
        shared_engine(options.engine),
        open_embedder("hashed"),
        Options(k=0),
        task=task,
    )
    traces = event_loop.run(pipeline.trace([e.fields for e in rows], [e.id for e in rows]))
    posteriors = [p for _, p, _ in traces if isinstance(p, Posterior)]
    if len(posteriors) < len(rows):
        raise SystemExit(f"{len(rows) - len(posteriors)} rows gave no distribution")
    names = pipeline.space.names
    rows = [replace(e, label=names[pipeline.space.require(e.label, e.id)]) for e in rows]
    truth = np.array([names.index(e.label) for e in rows])
    return names, rows, np.array([p.probabilities for p in posteriors]), truth


def replay(
    task: str,
    names: tuple[str, ...],
    rows: Sequence[Example],
    read: Values,
    labels: Places,
    shots: int,
    seed: int,
    found: dict[str, list[tuple[float, int]]],
) -> None:
    """One draw of labelled examples: every way to choose readings, evaluated on the other rows."""
    pool = random_examples(rows, shots, seed)
    words, retriever = build_retriever(load_task(task), pool, open_embedder("auto"), Options())
    assert retriever is not None
    experts = Experts(retriever, names, words.card)
    own, truth = experts.leave_one_out()
    at = {e.id: i for i, e in enumerate(rows)}
    order = [pool[p].id for p in experts.data.places]
    mine = np.array([at[id_] for id_ in order])
    rest = np.array([i for i in range(len(rows)) if rows[i].id not in set(order)])
    texts = [words.render(rows[i].fields, "en") for i in rest]
    queries = retriever.queries(texts, rows=[rows[i].fields for i in rest], neighbours=NEIGHBOURS)
    new = {expert.name: expert.scores(queries) for expert in experts.list}
    fits = Replayed(own, truth, read[mine], new, read[rest], labels[rest])
    place = {id_: i for i, id_ in enumerate(order)}
    for title, hard in (("alike", None), ("hard more often", experts)):
        draw = draw_left_out(pool, shots - 1, seed, hard)
        chosen = np.array([place[e.id] for e in draw.examples])
        for size in SIZES:
            found[f"{title}, {size}"].append((fits.loss(chosen[:size], draw.weights(size)), size))
        size, small = FIRST, 0
        while size < SIZES[-1]:
            gain = fits.gain(chosen[:size], draw.weights(size), SIZES[-1], seed)
            small = small + 1 if gain < GAIN else 0
            if small == LOOKS:
                break
            size += STEP
        found[f"{title}, stopping"].append((fits.loss(chosen[:size], draw.weights(size)), size))
    everything = np.arange(len(truth))
    found["all"].append((fits.loss(everything, np.ones(len(truth))), len(truth)))


class Replayed:
    """Fits on some of the readings of one draw."""

    def __init__(
        self,
        own: dict[str, Values],
        truth: Places,
        read: Values,
        new: dict[str, Values],
        new_read: Values,
        new_truth: Places,
    ) -> None:
        self.own, self.truth, self.read = own, truth, read
        self.new, self.new_read, self.new_truth = new, new_read, new_truth
        counts = np.bincount(truth, minlength=read.shape[1]) + 1.0
        self.shares = (counts / counts.sum()).tolist()

    def loss(self, chosen: Places, weights: Values) -> float:
        """Log loss on the test rows after fitting on the chosen readings."""
        answers = self._answers(chosen, weights, self.new, self.new_read)
        return float(-np.log(answers[np.arange(len(answers)), self.new_truth]).mean())

    def gain(self, chosen: Places, weights: Values, most: int, seed: int) -> float:
        """See :func:`ecomfs.fit.stopping.remaining_gain`."""

        def held_loss(fitted: Places, held: Places) -> Values:
            out = {name: table[chosen[held]] for name, table in self.own.items()}
            answers = self._answers(chosen[fitted], weights[fitted], out, self.read[chosen[held]])
            return -np.log(answers[np.arange(len(held)), self.truth[chosen[held]]])

        return remaining_gain(held_loss, self.truth[chosen], weights, most, seed)

    def _answers(
        self, chosen: Places, weights: Values, scores: dict[str, Values], read: Values
    ) -> Values:
        w = weights_of(weights, len(chosen))
        truth, mine = self.truth[chosen], self.read[chosen].tolist()
        calibration = fit_calibration(mine, truth.tolist(), w)
        model = cross_calibrated(mine, truth.tolist(), w)
        experts = prior_fusion(list(self.own))
        together = experts.apply(Evidence({n: t[chosen] for n, t in self.own.items()}))
        blend = fit_blend(
            Evidence.of((), model, together),
            truth,
            self.shares,
            prior_fusion((MODEL, EXPERTS)),
            (EXPERTS_ALONE, MODEL_ALONE),
            weights=w,
        )
        told = read if calibration is None else calibration.apply(read)
        asked = Evidence.of((), told, experts.apply(Evidence(scores)))
        return np.maximum(blend.apply(asked), 1e-9)


if __name__ == "__main__":
    main()
