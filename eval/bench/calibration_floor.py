"""How much of a calibration error comes only from the small number of rows?

    python eval/bench/calibration_floor.py RESULTS

Prints for every data set, label budget and stage of a suite's results: the adaptive calibration
error (15 bins of equal size) over all seeds together, and its floor, which is the error that the
same probabilities would have if they were perfectly calibrated (mean over 500 draws of correctness
from the stated confidence). The last lines are the means over the data sets.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from ecomfs.suites import ResultsFolder
from ecomfs_eval import Predictions

SYSTEMS = ("ecomfs", "ecomfs:read", "ecomfs:calibrated", "ecomfs:experts", "knn")
DRAWS = 500
BINS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of ecomfs eval run")
    options = parser.parse_args()
    seen: dict[tuple[str, str], dict[str, list[np.ndarray]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for cell in ResultsFolder(options.results).cells():
        who = cell.identity
        for p in cell.results.systems:
            if p.name in SYSTEMS:
                seen[str(who["shots"]), who["dataset"]][p.name].append(confidences(p))
    means: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    print("| labelled | data set | rows | " + " | ".join(SYSTEMS) + " |")
    print("|---" * (3 + len(SYSTEMS)) + "|")
    for (shots, name), systems in seen.items():
        cells = []
        for system in SYSTEMS:
            if system not in systems:
                cells.append("–")
                continue
            table = np.concatenate(systems[system])
            found = float(error(table[:, 0], table[None, :, 1])[0])
            floor = by_chance(table[:, 0])
            means[shots, system].append((found, floor))
            cells.append(f"{found:.3f} (floor {floor:.3f})")
        rows = sum(map(len, systems["ecomfs"]))
        print(f"| {shots} | {name} | {rows} | {' | '.join(cells)} |")
    for shots in dict.fromkeys(s for s, _ in means):
        line = []
        for system in SYSTEMS:
            if not means[shots, system]:  # without a model
                line.append("–")
                continue
            found, floor = np.mean(means[shots, system], axis=0)
            line.append(f"**{found:.3f}** (floor {floor:.3f})")
        print(f"| {shots} | mean | | {' | '.join(line)} |")


def confidences(p: Predictions) -> np.ndarray:
    """For each row the highest probability, and whether its label is right."""
    table = np.asarray(p.probabilities)
    kept = np.isfinite(table).all(axis=1)
    right = table.argmax(axis=1) == p.gold_index
    return np.stack([table.max(axis=1), right], axis=1)[kept]


def error(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The adaptive calibration error for each row of ``right``, shape (draws, rows). Like the
    harness's ``ece_adaptive``, but equal confidences may be split over two bins.
    """
    order = np.argsort(confidence, kind="stable")
    gaps = (confidence - right)[:, order]
    return np.sum(
        [np.abs(b.sum(axis=1)) for b in np.array_split(gaps, BINS, axis=1)], axis=0
    ) / len(confidence)


def by_chance(confidence: np.ndarray) -> float:
    """The mean error if the confidence is exactly the probability of being right."""
    draws = np.random.default_rng(0).random((DRAWS, len(confidence)))
    return float(error(confidence, draws < confidence).mean())


if __name__ == "__main__":
    main()
