"""Predictions of ecomfs to :class:`ecomfs_eval.Predictions`, for one label per row, a hierarchy, or
several labels per row.

Errors of the harness are turned into errors of ecomfs here, and only here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EmptyInputError,
    InputError,
    MissingFileError,
    OutputError,
)
from ecomfs.retrieve import Retriever
from ecomfs.task import LabelSpace, TaskCard, label_order
from ecomfs.types import Prediction, Row, Status
from ecomfs_eval import EvalError, Predictions, get_metric
from ecomfs_eval.errors import DataError, EmptyDataError, NoSuchFileError, WriteError
from ecomfs_eval.metrics import USUAL
from ecomfs_eval.structure import NOT_FOR, LabelKind, LabelStructure

ERRORS: tuple[tuple[type[EvalError], type[EcomfsError]], ...] = (
    (NoSuchFileError, MissingFileError),
    (EmptyDataError, EmptyInputError),
    (DataError, InputError),
    (WriteError, OutputError),
    (EvalError, ConfigError),  # options, and libraries that are not installed
)
"""Error of the harness → error of ecomfs; the first match applies."""


@contextmanager
def harness_errors(hints: Mapping[str, str] | None = None) -> Iterator[None]:
    """Raise errors of the harness as errors of ecomfs.

    Args:
        hints: text in the harness's hints → its replacement, such as a command-line option.

    Raises:
        MissingFileError, EmptyInputError, InputError, OutputError, ConfigError: see :data:`ERRORS`.

    >>> from ecomfs_eval import get_metric
    >>> with harness_errors():
    ...     get_metric("acuracy")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: no metric is called 'acuracy' ...
    """
    try:
        yield
    except EvalError as error:
        hint = error.hint
        for text, shown in (hints or {}).items():
            hint = hint.replace(text, shown)
        own = next(own for theirs, own in ERRORS if isinstance(error, theirs))
        raise own(error.message, hint=hint) from error


class SupportsHarness(Protocol):
    """The result for one row: a prediction, or an entry of the traffic log."""

    @property
    def label(self) -> str | None: ...
    @property
    def probabilities(self) -> Mapping[str, float]: ...
    @property
    def status(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...


def to_harness(
    answers: Sequence[SupportsHarness],
    gold: Sequence[str],
    labels: Sequence[str],
    *,
    tokens: bool = True,
    **columns: Any,
) -> Predictions:
    """Convert predictions for the harness.

    Args:
        answers: n predictions. A row without probabilities has no distribution (NaN).
        gold: n true labels.
        labels: the L labels of the run and of ``gold``; a label that a prediction lacks has
            probability 0.
        tokens: keep the token counts; ``False`` for systems that did not read the prompts.
        columns: other attributes of :class:`ecomfs_eval.Predictions`: ``ids``, ``name``,
            ``slices``, …

    Raises:
        EvalError: the harness refuses the rows; see :func:`harness_errors`.

    >>> found = [Prediction("1", "yes", {"no": 0.1, "yes": 0.9}, prompt_tokens=40),
    ...          Prediction("2", None, {}, Status.FAILED, error="timeout")]
    >>> p = to_harness(found, ["yes", "no"], ["no", "yes"], name="ours")
    >>> p.predicted, p.status, p.prompt_tokens.tolist()
    (('yes', None), ('ok', 'failed'), [40.0, nan])
    """
    if tokens:
        # Zero tokens mean that no prompt was read: the number is unknown.
        read = np.array([float(p.prompt_tokens) or np.nan for p in answers])
        cached = np.array([float(p.cached_tokens) for p in answers])
        columns |= {
            "prompt_tokens": read,
            "cached_tokens": np.where(np.isnan(read), np.nan, cached),
        }
    return Predictions.of(
        gold,
        [p.label for p in answers],
        [
            [p.probabilities.get(n, 0.0) if p.probabilities else np.nan for n in labels]
            for p in answers
        ],
        labels=labels,
        status=[str(p.status) for p in answers],
        **columns,
    )


def at_stage(prediction: Prediction, stages: Sequence[str]) -> Prediction:
    """The prediction with the distribution of an earlier stage.

    It never abstains, because abstaining is the last step. A row that has none of the stages keeps
    its final distribution; a row without a distribution is unchanged.

    Args:
        prediction: with :attr:`~ecomfs.types.Prediction.stages`.
        stages: names of stages; the first one that the row has is used.

    >>> p = Prediction("1", "b", {"a": 0.4, "b": 0.6}, stages={"calibrated": (0.7, 0.3)})
    >>> at_stage(p, ["calibrated", "read"]).label
    'a'
    """
    found = next((prediction.stages[s] for s in stages if s in prediction.stages), None)
    values = prediction.probabilities.values() if found is None else found
    if not prediction.probabilities:
        return prediction
    then = dict(zip(prediction.probabilities, values, strict=True))
    label = max(then, key=then.__getitem__)
    return replace(prediction, label=label, probabilities=then, status=Status.OK)


class SupportsBaselines(Protocol):
    """The part of a pipeline that baselines need; a pipeline of any task has it."""

    @property
    def card(self) -> TaskCard: ...
    @property
    def space(self) -> LabelSpace: ...
    @property
    def retriever(self) -> Retriever | None: ...
    def text(self, row: Row, /) -> str: ...


def kind_of(card: TaskCard) -> LabelKind:
    """The kind of a task's labels: one label, a path in a hierarchy, or a set.

    >>> from ecomfs.task import load_task
    >>> kind_of(load_task("review_aspects")), kind_of(load_task("review_sentiment"))
    ('sets', 'flat')
    """
    if card.multi_label:
        return "sets"
    return "flat" if card.hierarchy is None else "hierarchy"


def positive_of(card: TaskCard, space: LabelSpace) -> str | None:
    """The positive class of binary metrics: the card's, in the pool's spelling, if there are two
    labels and it is one of them.

    >>> from ecomfs.task import load_task
    >>> card = load_task("purchase_intent")
    >>> positive_of(card, LabelSpace.resolve(card, ["leave", "Buy"]))
    'Buy'
    """
    if card.positive is None or card.multi_label or len(space) != 2:
        return None
    at = space.index(card.positive)
    return None if at is None else space.names[at]


def structure_of(
    card: TaskCard, labels: Iterable[str], classes: Sequence[str] = ()
) -> LabelStructure | None:
    """The structure of a task's labels; ``None`` for a flat list.

    Args:
        labels: cells of labels, or whole labels of a hierarchy.
        classes: labels that a cell may hold.
    """
    if card.multi_label:
        return LabelStructure.sets({cell: card.labels_of(cell, cell) for cell in labels}, classes)
    if card.hierarchy is not None:
        return LabelStructure.tree(labels, card.hierarchy)
    return None


def as_predictions(
    answers: Sequence[Prediction],
    gold: Sequence[str],
    card: TaskCard,
    names: Sequence[str],
    **columns: Any,
) -> Predictions:
    """Answers of a classifier of any task as predictions of the harness.

    Args:
        gold: true labels; one that is not in ``names`` is kept, and always counts as wrong.
        names: labels that the classifier can predict.
        columns: as in :func:`to_harness`.
    """
    known = list(names)
    if card.multi_label:
        # A set of labels is one class; the probabilities of its labels do not sum to one.
        answers = [replace(p, probabilities={}) for p in answers]
        known = label_order({p.label for p in answers if p.label is not None})
    labels = [*known, *label_order(set(gold) - set(known))]
    made = structure_of(card, labels, names)
    return to_harness(answers, gold, labels, structure=made, **columns)


@harness_errors()
def check_metrics(metrics: Iterable[str], card: TaskCard, where: str) -> None:
    """Refuse metrics that are not defined for the labels of a task.

    Args:
        where: the option that names the metrics, for the message.

    Raises:
        ConfigError: a metric is not defined for these labels, or does not exist.

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
    "ERRORS",
    "SupportsBaselines",
    "SupportsHarness",
    "as_predictions",
    "at_stage",
    "check_metrics",
    "harness_errors",
    "kind_of",
    "positive_of",
    "structure_of",
    "to_harness",
]
