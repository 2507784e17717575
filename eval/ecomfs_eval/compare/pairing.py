"""The same rows in the same order for two systems, or a typed error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecomfs_eval._check import some
from ecomfs_eval._labels import label_order
from ecomfs_eval.errors import OptionError, RowsDifferError
from ecomfs_eval.predictions import Predictions


def pair(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """``a``, and ``b`` in the order of ``a``, over one label space.

    A label that only one system knows is added to the other with probability zero. Groups,
    queries and slices named in one only hold for both.

    Raises:
        RowsDifferError: ids, gold labels, groups or queries differ.
        OptionError: both have the same name.

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y"], ["x", "x"], ids=["1", "2"], name="A")
    >>> b = Predictions.of(["y", "x"], ["y", "x"], ids=["2", "1"], name="B")
    >>> pair(a, b)[1].predicted
    ('x', 'y')
    """
    if a.name == b.name:
        raise OptionError(
            f"both systems are called {a.name!r}", hint="give each Predictions its own name="
        )
    only_a = [i for i in a.ids if i not in set(b.ids)]
    only_b = [i for i in b.ids if i not in set(a.ids)]
    if only_a or only_b:
        lines = [
            f"{len(ids)} rows are in {name} only: {some(ids, 3)}"
            for name, ids in ((a.name, only_a), (b.name, only_b))
            if ids
        ]
        raise RowsDifferError("; ".join(lines), hint="both systems must answer the same rows")
    at = {i: k for k, i in enumerate(b.ids)}
    b = b.take(at[i] for i in a.ids)
    for k, (x, y) in enumerate(zip(a.gold, b.gold, strict=True)):
        if x != y:
            raise RowsDifferError(
                f"row {a.ids[k]!r} has gold label {x!r} in {a.name} and {y!r} in {b.name}",
                hint="score both against the same labels",
            )
    for what in ("groups", "queries"):
        x, y = getattr(a, what), getattr(b, what)
        if x is not None and y is not None and x != y:
            raise RowsDifferError(
                f"{a.name} and {b.name} name different {what} for the same rows",
                hint="use one column for both",
            )
    slices = {**b.slices, **a.slices}
    groups = a.groups if a.groups is not None else b.groups
    queries = a.queries if a.queries is not None else b.queries
    a = replace(a, groups=groups, queries=queries, slices=slices)
    b = replace(b, groups=groups, queries=queries, slices=slices)
    space = (*a.labels, *label_order(set(b.labels) - set(a.labels)))
    positive = a.positive if a.positive == b.positive else None
    return over(a, space, positive), over(b, space, positive)


def over(p: Predictions, space: tuple[str, ...], positive: str | None) -> Predictions:
    """The predictions over a label space that holds their own; new labels have probability 0."""
    if p.labels == space:
        return p
    table = p.probabilities
    if table is not None:
        wide = np.zeros((len(p), len(space)))
        wide[:, [space.index(label) for label in p.labels]] = table
        wide[np.isnan(table[:, 0])] = np.nan
        table = wide
    return replace(p, labels=space, probabilities=table, positive=positive)
