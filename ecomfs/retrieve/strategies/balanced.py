"""Label-balanced selection: candidate labels take turns, each with its nearest example.

With at least as many demonstrations as labels, every label is a candidate. With fewer, the
candidates are the labels of the k nearest neighbours: showing one example of every label is not
possible, and which labels are plausible is what the neighbours tell. Who goes first is drawn by
lots that the query's text seeds, so that no label is favoured by its name or place over many
rows, yet the same row is always shown the same examples.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ecomfs.retrieve.strategies.protocol import Candidates, Reach


@dataclass(frozen=True, slots=True)
class Balanced:
    """Round-robin over candidate labels; counts differ by one at most while examples last."""

    def reach(self, k: int, label_count: int) -> Reach:
        """The ``k`` nearest and as many of every candidate label."""
        return Reach(k, per_label=k, far_labels=label_count <= k)

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Takes turns until ``k`` are chosen or none is left."""
        labels = candidates.labels.tolist()
        everyone = candidates.label_count <= k
        plausible = sorted(set(labels if everyone else labels[:k]))
        queues: dict[int, list[int]] = {
            label: [] for label in candidates.lots(seed).permutation(plausible).tolist()
        }
        for position, label in zip(candidates.positions.tolist(), labels, strict=True):
            if label in queues:
                queues[label].append(position)
        turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
        return list(itertools.islice((p for p in turns if p is not None), k))
