"""Accuracy of a run that reads only a share of its rows, by the order of reading.

    python eval/bench/spending.py RESULTS

RESULTS is the folder of ``ecomfs eval run`` with the system ``stages``: every row was read, and the
answer of the experts alone is stored too. So the answers for every share are known: the first rows
in the order get the answer of model and experts, the others that of the experts, as in a run with
``--budget-tokens``. Two orders are compared: ``doubtful``, least confident experts first; and
``table``, given as the mean over all orders that ignore the row. Prints accuracy over all rows of
all cells, the difference of the two orders with a 95 % interval (bootstrap over rows within cells),
and per cell the smallest share from which on ``doubtful`` is never worse than reading every row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecomfs.suites import ResultsFolder
from ecomfs_eval import Predictions

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of ecomfs eval run")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cells, names, engines = [], [], set()
    for stored in ResultsFolder(options.results).cells():
        systems = {system.name: system for system in stored.results.systems}
        if {"ecomfs", "ecomfs:experts"} <= systems.keys():
            cells.append(outcomes(systems["ecomfs:experts"], systems["ecomfs"]))
            names.append(f"{stored.identity['dataset']} {stored.identity['shots']}")
            engines.add(stored.identity["engine"])
    if not cells:
        parser.error(f"{options.results}: no cell has the systems ecomfs and ecomfs:experts")
    rng = np.random.default_rng(options.seed)
    rows = sum(len(cell) for cell in cells)
    print(f"{len(cells)} cells, {rows} rows, engine {', '.join(sorted(engines))}\n")
    print("| rows read | doubtful first | table order | difference |")
    print("|---|---|---|---|")
    draws = [
        [cell[np.sort(rng.integers(len(cell), size=len(cell)))] for cell in cells]
        for _ in range(options.resamples)
    ]
    for share in SHARES:
        first, plain = accuracy_at(cells, share)
        ends = np.percentile([np.subtract(*accuracy_at(d, share)) for d in draws], [2.5, 97.5])
        print(
            f"| {share:.0%} | {first:.1%} | {plain:.1%} "
            f"| {100 * (first - plain):+.1f} [{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}] |"
        )
    print("\n| cell | rows | experts | every row read | as good from |")
    print("|---|---|---|---|---|")
    for name, cell in zip(names, cells, strict=True):
        print(
            f"| {name} | {len(cell)} | {cell[:, 0].mean():.1%} | {cell[:, 1].mean():.1%} "
            f"| {smallest_share(cell):.0%} |"
        )


def outcomes(experts: Predictions, together: Predictions) -> NDArray[np.float64]:
    """For each row, least confident first: whether the experts are right, and whether model and
    experts are.
    """
    sure = np.nanmax(np.asarray(experts.probabilities, dtype=np.float64), axis=1)
    right = [
        np.array([a == t for a, t in zip(system.predicted, system.gold, strict=True)], dtype=float)
        for system in (experts, together)
    ]
    return np.stack(right, axis=1)[np.argsort(sure, kind="stable")]


def accuracy_at(cells: list[NDArray[np.float64]], share: float) -> tuple[float, float]:
    """Accuracy over all rows, least confident first and in an order that ignores the row."""
    first = plain = 0.0
    for cell in cells:
        count = round(share * len(cell))
        first += cell[:count, 1].sum() + cell[count:, 0].sum()
        plain += share * cell[:, 1].sum() + (1 - share) * cell[:, 0].sum()
    rows = sum(len(cell) for cell in cells)
    return first / rows, plain / rows


def smallest_share(cell: NDArray[np.float64]) -> float:
    """The smallest share from which on the accuracy is never below that of reading every row."""
    gains = np.concatenate([[0.0], np.cumsum(cell[:, 1] - cell[:, 0])])
    worse = np.flatnonzero(gains < gains[-1])
    return float(worse[-1] + 1 if len(worse) else 0) / len(cell)


if __name__ == "__main__":
    main()
