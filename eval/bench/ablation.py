"""Paired differences between the variants of a suite and its base variant.

    ecomfs eval run ablation -o results/ablation --data DATA
    python eval/bench/ablation.py results/ablation

Prints for every variant: accuracy and log loss of the fused answer and of the calibrated model
alone on each data set; the mean over the data sets of variant - base on the same rows, with a 95 %
interval from 10,000 resamples of rows within each data set; and the tokens per prompt. If a variant
lacks a data set, the data set is left out of both sides.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecomfs.suites import ResultsFolder
from ecomfs_eval import Predictions

SYSTEMS = ("ecomfs", "ecomfs:calibrated")
Rows = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--base", default="base", help="the variant to compare with")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, Predictions]]] = defaultdict(dict)
    for cell in ResultsFolder(options.results).cells():
        who = cell.identity
        systems = {p.name: p for p in cell.results.systems}
        found[who["variant"]][f"{who['dataset']} n{who['shots']} s{who['seed']}"] = systems
    if options.base not in found:
        parser.error(f"no variant {options.base!r} in {options.results}")
    sets = list(found[options.base])
    heads = ["variant", "system", *sets, "mean Δ accuracy", "mean Δ log loss", "tokens"]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for variant, cells in found.items():
        for system in SYSTEMS:
            line(variant, system, cells, found[options.base], sets, options.seed)


def line(
    variant: str,
    system: str,
    cells: dict[str, dict[str, Predictions]],
    base: dict[str, dict[str, Predictions]],
    sets: list[str],
    seed: int,
) -> None:
    """One variant and system: one column per data set, then the differences."""
    shown, differences, tokens = [], [], []
    for name in sets:
        if name not in cells:
            shown.append("–")
            continue
        # Where only the model spoke, its answer is the calibrated one.
        mine = cells[name].get(system, cells[name]["ecomfs"])
        other = base[name].get(system, base[name]["ecomfs"])
        right, loss = by_row(mine)
        was_right, was_loss = by_row(other)
        shown.append(f"{100 * right.mean():.1f} / {loss.mean():.3f}")
        differences.append(np.stack([right - was_right, loss - was_loss]))
        tokens.append(np.nanmean(np.asarray(cells[name]["ecomfs"].prompt_tokens)))
    (accuracy, low, high), (log_loss, down, up) = mean_difference(differences, seed)
    print(
        f"| {variant} | {system} | {' | '.join(shown)} "
        f"| {100 * accuracy:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] "
        f"| {log_loss:+.3f} [{down:+.3f}, {up:+.3f}] | {np.mean(tokens):.0f} |"
    )


def by_row(predictions: Predictions) -> tuple[Rows, Rows]:
    """Correctness and log loss of every row, in the order of ids."""
    order = np.argsort(np.array(predictions.ids))
    place = {label: i for i, label in enumerate(predictions.labels)}
    gold = np.array([place[label] for label in predictions.gold])
    given = np.asarray(predictions.probabilities)[np.arange(len(gold)), gold]
    right = np.array([p == g for p, g in zip(predictions.predicted, predictions.gold, strict=True)])
    return right[order].astype(float), -np.log(np.clip(given, 1e-12, 1.0))[order]


def mean_difference(differences: list[Rows], seed: int) -> list[tuple[float, float, float]]:
    """Mean over the data sets with its 95 % interval, for accuracy and for log loss."""
    random = np.random.default_rng(seed)
    draws = np.zeros((2, 10_000))
    for rows in differences:
        drawn = random.integers(0, rows.shape[1], (draws.shape[1], rows.shape[1]))
        draws += rows[:, drawn].mean(axis=2)
    draws /= len(differences)
    whole = np.mean([rows.mean(axis=1) for rows in differences], axis=0)
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    return [(float(whole[i]), float(low[i]), float(high[i])) for i in range(2)]


if __name__ == "__main__":
    main()
