"""Do the guarantees hold on real predictions?

    python eval/bench/guarantees.py RESULTS

The test rows of every cell of a suite's results are split in two at random, many times. A threshold
is chosen on one half and applied to the other. Two kinds of threshold are compared:

population  chosen without the other half; guarantees that a new accepted row is right with at least
            this probability, but not how many rows of one half are right
batch       chosen with the confidences of the other half (not its labels); guarantees that at least
            this share of the accepted rows in that half is right

Prints for each: the share of splits in which a guarantee was given; the share of all splits in
which the precision of the held-out half was below the guaranteed one (95 % Wilson interval; the
halves of one table are not independent, so the interval does not apply to other tables); and the
accepted share and precision of the splits with a guarantee. For the batch threshold "below" is at
most delta; a population threshold may exceed it and still keep its guarantee.

Prediction sets guarantee coverage on average over splits, not in each: the mean is printed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ecomfs.calibration import accept_threshold, set_threshold
from ecomfs.calibration.conformal import prediction_set
from ecomfs.suites import ResultsFolder
from ecomfs_eval import wilson

KINDS = ("population", "batch")


@dataclass
class Kept:
    """Outcomes of the thresholds of one kind."""

    below: int = 0
    accepted: list[float] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)

    def cells(self, splits: int) -> list[str]:
        seen = wilson(self.below, splits)
        return [
            f"{len(self.accepted) / splits:.0%}",
            f"{self.below / splits:.1%} [{seen.low:.1%}, {seen.high:.1%}]",
            f"{np.mean(self.accepted):.0%}" if self.accepted else "–",
            f"{np.mean(self.precision):.1%}" if self.precision else "–",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of ecomfs eval run")
    parser.add_argument("--precision", type=float, default=0.9)
    parser.add_argument("--delta", type=float, default=0.1)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--system", default="ecomfs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table(
        title=f"{options.splits} random halves · precision {options.precision:.0%} guaranteed, may "
        f"fail in {options.delta:.0%} · sets guaranteed to cover {options.coverage:.0%} on average",
        title_justify="left",
    )
    for column in (
        "cell",
        "n",
        "kind",
        "guaranteed",
        "below",
        "accepted",
        "precision",
        "covered",
        "labels per set",
    ):
        table.add_column(column, no_wrap=True)
    below: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for stored in ResultsFolder(options.results).cells():
        found = next((p for p in stored.results.systems if p.name == options.system), None)
        if found is None or found.probabilities is None:
            continue
        p = np.asarray(found.probabilities, dtype=np.float64)
        place = {label: i for i, label in enumerate(found.labels)}
        truth = np.array([place[label] for label in found.gold])
        kept = ~np.isnan(p).any(axis=1)
        name = f"{stored.identity['dataset']} {stored.identity['shots']}/{stored.identity['seed']}"
        kinds, sets = halves(p[kept], truth[kept], options)
        for kind, start, end in zip(
            KINDS, ([name, str(int(kept.sum()))], ["", ""]), (sets, ["", ""]), strict=True
        ):
            table.add_row(*start, kind, *kinds[kind].cells(options.splits), *end)
            below[kind].append(kinds[kind].below / options.splits)
    Console(width=140).print(table)
    for kind, shares in below.items():
        over = sum(share > options.delta for share in shares)
        print(
            f"{kind}: below in {np.mean(shares):.1%} of splits on average, in more than "
            f"{options.delta:.0%} of them on {over} of {len(shares)} cells (most: "
            f"{max(shares):.1%})"
        )


def halves(
    p: np.ndarray, truth: np.ndarray, options: argparse.Namespace
) -> tuple[dict[str, Kept], list[str]]:
    """Outcomes of both kinds of threshold on random halves, and coverage and size of the sets."""
    rng = np.random.default_rng(options.seed)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    kinds = {kind: Kept() for kind in KINDS}
    covered, sizes = [], []
    for _ in range(options.splits):
        order = rng.permutation(len(p))
        fit, held = order[: len(p) // 2], order[len(p) // 2 :]
        for kind, kept in kinds.items():
            found = accept_threshold(
                confidence[fit],
                right[fit],
                options.precision,
                options.delta,
                batch=confidence[held] if kind == "batch" else None,
            )
            if found is None:
                continue
            reached = right[held][confidence[held] >= found.value]
            kept.accepted.append(len(reached) / len(held))
            if len(reached):
                kept.precision.append(float(reached.mean()))
                kept.below += int(reached.sum()) / len(reached) < options.precision
        level = set_threshold(p[fit, truth[fit]], options.coverage)
        sets = [prediction_set(p[i], level) for i in held]
        covered.append(np.mean([truth[i] in s for i, s in zip(held, sets, strict=True)]))
        sizes.append(np.mean([len(s) for s in sets]))
    return kinds, [f"{np.mean(covered):.1%}", f"{np.mean(sizes):.2f}"]


if __name__ == "__main__":
    main()
