"""Label-balanced selection: candidate labels take turns, each with its nearest example.

Where every label can have two examples or more, all are candidates; so are two labels, as soon as
both can be shown. Otherwise the candidates are the labels of the k nearest neighbours: one example
of every label would hide which labels are near, and that is most of what demonstrations tell a
small model (BANKING77 in ``docs/retrieval.md``). Who goes first is drawn by lots that the query's
text seeds, so that no label is favoured by its name or place over many rows, yet the same row is
always shown the same examples.
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
        return Reach(k, per_label=k, far_labels=_all_are_shown(k, label_count))

    def select(self, candidates: Candidates, k: int, seed: int) -> list[int]:
        """Takes turns until ``k`` are chosen or none is left."""
        labels = candidates.labels.tolist()
        everyone = _all_are_shown(k, candidates.label_count)
        plausible = sorted(set(labels if everyone else labels[:k]))
        queues: dict[int, list[int]] = {
            label: [] for label in candidates.lots(seed).permutation(plausible).tolist()
        }
        for position, label in zip(candidates.positions.tolist(), labels, strict=True):
            if label in queues:
                queues[label].append(position)
        turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
        return list(itertools.islice((p for p in turns if p is not None), k))


def _all_are_shown(k: int, label_count: int) -> bool:
    return 2 * label_count <= k or label_count == 2 <= k
