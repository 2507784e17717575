"""Label-balanced selection: candidate labels take turns, each with its nearest example.

With at least as many demonstrations as labels, every label is a candidate. With fewer, the
candidates are the labels of the k nearest neighbours: showing one example of every label is not
possible, and which labels are plausible is what the neighbours tell. Who goes first is drawn by
lots that the query's text seeds, so that no label is favoured by its name or place over many
rows, yet the same row is always shown the same examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecomfs.retrieve.strategies.protocol import Candidates, Reach


@dataclass(frozen=True, slots=True)
class Balanced:
    """Round-robin over candidate labels; counts differ by one at most while examples last."""

    def reach(self, k: int, label_count: int) -> Reach:
        """The ``k`` nearest and as many of every candidate label."""
        return Reach(k, per_label=k, far_labels=label_count <= k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Takes turns until ``k`` are chosen or none is left."""
        labels = candidates.labels
        everyone = candidates.label_count <= k
        turns = candidates.lots(seed).permutation(np.unique(labels if everyone else labels[:k]))
        queues = {int(t): iter(candidates.positions[labels == t].tolist()) for t in turns}
        chosen: list[int] = []
        while queues and len(chosen) < k:
            for label in list(queues):
                position = next(queues[label], None)
                if position is None:
                    del queues[label]
                elif len(chosen) < k:
                    chosen.append(position)
        return chosen
