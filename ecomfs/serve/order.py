"""Which open review comes next: the row whose label helps most.

At first a pool lacks labels, and the uncertainty of a prediction says little; what helps are rows
that stand for many others and are far from every example. Later the uncertain ones help. Both
count alike, by their ranks (:func:`ecomfs.prepare.suggest.suggest`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.pipeline import Pipeline
from ecomfs.prepare.suggest import suggest
from ecomfs.serve.reviews import Review
from ecomfs.types import Row

CHOSEN = 5
"""One of so many rows is put in order by what it adds; it then stands for about fifteen."""

RowVectors = Callable[[Sequence[Row]], NDArray[np.float32]]


def helpful_first(found: Sequence[Review], pipeline: Pipeline, vectors: RowVectors) -> list[Review]:
    """Open reviews in the order in which they should be decided. Rows that were skipped keep
    their place after the others.

    Args:
        found: the most uncertain first.
        vectors: of rows.
    """
    fewest = min((review.skips for review in found), default=0)
    first = [review for review in found if review.skips == fewest]
    retriever = pipeline.retriever
    if len(first) < 3 or retriever is None:
        return [*found]
    rows = [review.fields for review in first]
    texts = [pipeline.text(row) for row in rows]
    hits = retriever.neighbours(texts, 1, rows=rows)
    nearest = sorted({int(place) for hit in hits for place in hit.positions})
    chosen = suggest(
        texts,
        max(1, len(first) // CHOSEN),
        vectors=vectors(rows),
        pool_vectors=vectors([retriever.examples[place].fields for place in nearest]),
        uncertainty=[review.uncertainty for review in first],
    )
    ahead = [first[each.position] for each in chosen]
    ids = {review.id for review in ahead}
    return [*ahead, *(review for review in found if review.id not in ids)]


__all__ = ["helpful_first"]
