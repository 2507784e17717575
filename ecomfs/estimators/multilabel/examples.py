"""Examples with several labels, from whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ecomfs.errors import ConfigError, InputError, PoolError
from ecomfs.estimators.inputs import Examples, as_examples, columns
from ecomfs.pool import Pool
from ecomfs.task import (
    GivenLabels,
    LabelSpace,
    TaskCard,
    as_table,
    find_column,
    given_labels,
    read_labels,
    write_labels,
)
from ecomfs.task.cells import SEPARATOR
from ecomfs.types import Example


def as_labelled(
    X: Examples,  # noqa: N803
    y: Iterable[Any] | None,
    card: TaskCard,
    fields: Mapping[str, str] | None = None,
) -> tuple[int, list[Example], list[tuple[str, ...]], GivenLabels]:
    """The pool's version (0 without one); the examples, each with its labels as one cell; the
    labels of each; and all labels as they were given.

    Raises:
        InputError: see :func:`ecomfs.estimators.inputs.as_examples` and
            :func:`ecomfs.task.read_labels`.
    """
    mark = card.label_separator or SEPARATOR
    if y is None and (header := columns(X)) is not None:
        column = find_column(header, None, card.label_column, "DataFrame", "label_column=")
        table = as_table(X, "DataFrame")
        y = [row[header.index(column)] for row in table[1]] if table else []
    if y is not None:
        given = as_sets(y, "example", mark)
        cells = [read_labels(own, f"example {at}") for at, own in enumerate(given)]
        flat = GivenLabels.of([label for own in given for label in own], "y")
        named = as_examples(X, [write_labels(own) for own in cells], card, fields=fields)
        return 0, named, cells, flat
    version = 0
    if isinstance(X, Pool):
        version, found = X.snapshot()
    else:
        found = as_examples(X, None, card)
    cells = [read_labels(e.label, f"example {e.id!r}", mark) for e in found]
    named = [replace(e, label=write_labels(own)) for e, own in zip(found, cells, strict=True)]
    return version, named, cells, GivenLabels()


def as_sets(y: Iterable[Any], where: str, separator: str = SEPARATOR) -> list[list[Any]]:
    """The labels of each row as they were given.

    Raises:
        InputError: one text, or a matrix of 0 and 1, which does not name the labels; a cell that
            is none.

    >>> as_sets(["a|b", {2}], "row")
    [['a', 'b'], [2]]
    """
    matrix = hasattr(y, "shape") and getattr(y, "ndim", 1) != 1
    if not matrix and not isinstance(y, str | bytes | Mapping):
        given = [given_labels(cell, f"{where} {at}", separator) for at, cell in enumerate(y)]
        # [1, 0, 1] is no set: it says which columns of a matrix hold.
        marks = all(label in (0, 1) for own in given for label in own)
        if not marks or all(len(set(own)) == len(own) for own in given):
            return given
    raise InputError(
        f"y of type {type(y).__name__} is not one set of labels a row",
        hint="give sets of labels; MultiLabelBinarizer.inverse_transform makes them of a matrix",
    )


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


__all__ = ["as_labelled", "as_sets", "label_space"]
