"""Examples with several labels, from whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ecomfs.data import Examples, as_examples
from ecomfs.errors import ConfigError, PoolError
from ecomfs.multilabel.cells import read_labels, write_labels
from ecomfs.pool import Pool
from ecomfs.task import LabelSpace, TaskCard, find_column
from ecomfs.types import Example


def as_labelled(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    fields: Mapping[str, str] | None = None,
) -> tuple[int, list[Example], list[tuple[str, ...]]]:
    """The pool's version (0 without one); the examples, each with its labels as one cell; and
    the labels of each.

    Raises:
        InputError: see :func:`ecomfs.data.as_examples` and
            :func:`ecomfs.multilabel.cells.read_labels`.
    """
    if isinstance(X, pd.DataFrame) and y is None:
        header = [str(c) for c in X.columns]
        column = find_column(header, None, card.label_column, "DataFrame", "label_column=")
        y = X.iloc[:, header.index(column)].tolist()
    if y is not None:
        cells = [read_labels(cell, f"example {at}") for at, cell in enumerate(y)]
        return 0, as_examples(X, [write_labels(own) for own in cells], card, fields=fields), cells
    version = 0
    if isinstance(X, Pool):
        version, found = X.snapshot()
    else:
        found = as_examples(X, None, card)
    cells = [read_labels(e.label, f"example {e.id!r}") for e in found]
    named = [replace(e, label=write_labels(own)) for e, own in zip(found, cells, strict=True)]
    return version, named, cells


def label_space(
    card: TaskCard, examples: Sequence[Example], cells: Sequence[Sequence[str]]
) -> tuple[LabelSpace, list[frozenset[int]]]:
    """The labels of a run, and the positions of each example's.

    Raises:
        UnknownLabelError: a closed card does not know a label.
        ConfigError: there is only one label.
        PoolError: no example has any label, and the card names none.
    """
    seen = list(dict.fromkeys(label for cell in cells for label in cell))
    if examples and not seen and card.label_space == "open":
        raise PoolError("no example has any label", hint="give at least one example of each label")
    if len(seen) == 1:
        raise ConfigError(
            f"the only label is {seen[0]!r}",
            hint="for one label use FewShotClassifier with examples of yes and of no",
        )
    space = LabelSpace.resolve(card, seen, "examples")
    return space, [
        frozenset(space.require(label, f"example {e.id!r}") for label in cell)
        for e, cell in zip(examples, cells, strict=True)
    ]


__all__ = ["as_labelled", "label_space"]
