"""Tasks of every kind in the harness: one label a row, a hierarchy, or several labels a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ecomfs.errors import ConfigError
from ecomfs.evaluation.harness import harness_errors, to_harness
from ecomfs.retrieve import Retriever
from ecomfs.task import CellSpace, LabelSpace, LeafSpace, TaskCard, label_order
from ecomfs.types import Example, Prediction, Row
from ecomfs_eval import Predictions, get_metric
from ecomfs_eval.metrics import USUAL
from ecomfs_eval.structure import NOT_FOR, LabelKind, LabelStructure


class SupportsBaselines(Protocol):
    """What baselines need of what answers rows: the pipeline of any task."""

    @property
    def card(self) -> TaskCard: ...
    @property
    def space(self) -> LabelSpace: ...
    @property
    def retriever(self) -> Retriever | None: ...
    def text(self, row: Row, /) -> str: ...


def kind_of(card: TaskCard) -> LabelKind:
    """What the labels of a task are.

    >>> from ecomfs.task import load_task
    >>> kind_of(load_task("review_aspects")), kind_of(load_task("review_sentiment"))
    ('sets', 'flat')
    """
    if card.several_labels:
        return "sets"
    return "flat" if card.hierarchy is None else "hierarchy"


def structure_of(
    card: TaskCard, labels: Iterable[str], classes: Sequence[str] = ()
) -> LabelStructure | None:
    """What labels of a task are made of; ``None`` for a flat list.

    Args:
        labels: cells of labels, or whole labels of a hierarchy.
        classes: labels that a cell may hold.
    """
    if card.several_labels:
        return LabelStructure.sets({cell: card.labels_of(cell, cell) for cell in labels}, classes)
    if card.hierarchy is not None:
        return LabelStructure.tree(labels, card.hierarchy)
    return None


def space_of(card: TaskCard, examples: Iterable[Example], where: str = "examples") -> LabelSpace:
    """The label space of labelled examples; it spells true labels as they do.

    Raises:
        InputError, PoolError: the examples do not fit the task.

    >>> from ecomfs.task import load_task
    >>> pool = [Example("1", {}, "quality_bad|price_good")]
    >>> space_of(load_task("review_aspects"), pool).true_label("price_good | quality_bad")
    'quality_bad|price_good'
    """
    labels = [name for e in examples for name in card.labels_of(e.label, f"example {e.id!r}")]
    space = LabelSpace.resolve(card, labels, where)
    if card.label_separator:
        return CellSpace(space.labels, card.label_separator)
    return space if card.hierarchy is None else LeafSpace(space.names, card.hierarchy)


def as_predictions(
    answers: Sequence[Prediction],
    gold: Sequence[str],
    card: TaskCard,
    names: Sequence[str],
    **columns: Any,
) -> Predictions:
    """Answers of a classifier of any task as predictions of the harness.

    Args:
        gold: true labels; one that is none of the names stays, and is always wrong.
        names: labels that the classifier can give.
        columns: as of :func:`ecomfs.evaluation.harness.to_harness`.
    """
    known = list(names)
    if card.several_labels:
        # A set of labels is one answer; the probabilities of its labels are no distribution.
        answers = [replace(p, probabilities={}) for p in answers]
        known = label_order({p.label for p in answers if p.label is not None})
    labels = [*known, *label_order(set(gold) - set(known))]
    made = structure_of(card, labels, names)
    return to_harness(answers, gold, labels, structure=made, **columns)


@harness_errors()
def check_metrics(metrics: Iterable[str], card: TaskCard, where: str) -> None:
    """Refuse metrics that are not defined for the labels of a task.

    Args:
        where: what names them, for the message.

    Raises:
        ConfigError: one that is not defined, or that does not exist.

    >>> from ecomfs.task import load_task
    >>> check_metrics(["roc_auc"], load_task("review_aspects"), "--metric")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: --metric: roc_auc with task 'review_aspects' is not defined where ...
    """
    kind = kind_of(card)
    for name in metrics:
        if not get_metric(name).applies(kind):
            raise ConfigError(
                f"{where}: {name} with task {card.name!r} is {NOT_FOR[kind]}",
                hint=f"leave it out, or take one of: {', '.join(USUAL[kind])}",
            )


__all__ = [
    "SupportsBaselines",
    "as_predictions",
    "check_metrics",
    "kind_of",
    "space_of",
    "structure_of",
]
