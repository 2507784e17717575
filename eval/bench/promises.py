"""Do the promises hold on real predictions?

    python eval/bench/promises.py RESULTS

For every cell of a suite's results the test rows are split in two at random, many times: on one
half a threshold is chosen, on the other it is kept to. Printed: how often the realised precision
(or coverage) fell below the promised one, beside how often it may, and what it cost.

A finite half is itself a draw, so that even a threshold with exactly the promised precision would
fall below it in about half of the splits: what is counted against the promise is a shortfall that
the size of the half does not explain (one-sided exact binomial test, 5 %).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import binom

from ecomfs.read.conformal import accept_threshold, prediction_set, set_threshold
from ecomfs.suites import ResultsFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of ecomfs eval run")
    parser.add_argument("--precision", type=float, default=0.9)
    parser.add_argument("--delta", type=float, default=0.1)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--system", default="ecomfs")
    options = parser.parse_args()
    table = Table(
        title=f"{options.splits} random halves · precision {options.precision:.0%} promised, may "
        f"fail in {options.delta:.0%} · sets promised to cover {options.coverage:.0%}",
        title_justify="left",
    )
    for column in (
        "cell", "n", "promised", "broken", "below", "accepted", "precision", "covered",
        "labels a set",
    ):  # fmt: skip
        table.add_column(column)
    for stored in ResultsFolder(options.results).cells():
        found = next((p for p in stored.results.systems if p.name == options.system), None)
        if found is None or found.probabilities is None:
            continue
        p = np.asarray(found.probabilities, dtype=np.float64)
        place = {label: i for i, label in enumerate(found.labels)}
        truth = np.array([place[label] for label in found.gold])
        kept = ~np.isnan(p).any(axis=1)
        name = f"{stored.identity['dataset']} {stored.identity['shots']}/{stored.identity['seed']}"
        table.add_row(name, *row(p[kept], truth[kept], options))
    Console().print(table)


def row(p: np.ndarray, truth: np.ndarray, options: argparse.Namespace) -> list[str]:
    """The cells of one line."""
    rng = np.random.default_rng(0)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    promised = broken = below = 0
    accepted, precision, covered, sizes = [], [], [], []
    for _ in range(options.splits):
        order = rng.permutation(len(p))
        fit, held = order[: len(p) // 2], order[len(p) // 2 :]
        found = accept_threshold(confidence[fit], right[fit], options.precision, options.delta)
        if found is not None:
            reached = confidence[held] >= found.value
            promised += 1
            n, good = int(reached.sum()), int(right[held][reached].sum())
            accepted.append(n / len(held))
            if n:
                precision.append(good / n)
                below += good / n < options.precision
                broken += binom.cdf(good, n, options.precision) < 0.05
        level = set_threshold(p[fit, truth[fit]], options.coverage)
        sets = [prediction_set(p[i], level) for i in held]
        covered.append(np.mean([truth[i] in s for i, s in zip(held, sets, strict=True)]))
        sizes.append(np.mean([len(s) for s in sets]))
    share = options.splits
    return [
        str(len(p)),
        f"{promised / share:.0%}",
        f"{broken / share:.1%}",
        f"{below / share:.1%}",
        f"{np.mean(accepted):.0%}" if accepted else "–",
        f"{np.mean(precision):.1%}" if precision else "–",
        f"{np.mean(covered):.1%}",
        f"{np.mean(sizes):.2f}",
    ]


if __name__ == "__main__":
    main()
