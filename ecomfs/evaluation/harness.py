"""The bridge to the harness: answers of ecomfs in, :class:`ecomfs_eval.Predictions` out.

It is also the only place that turns errors of the harness into errors of ecomfs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from ecomfs.types import Prediction, Status
from ecomfs_eval import EvalError, Predictions
from ecomfs_eval.errors import DataError, EmptyDataError, NoSuchFileError, WriteError

ERRORS: tuple[tuple[type[EvalError], type[EcomfsError]], ...] = (
    (NoSuchFileError, MissingFileError),
    (EmptyDataError, EmptyInputError),
    (DataError, InputError),
    (WriteError, OutputError),
    (EvalError, ConfigError),  # options, and libraries that are not installed
)
"""Error of the harness → error of ecomfs; the first that fits."""


@contextmanager
def harness_errors(hints: Mapping[str, str] | None = None) -> Iterator[None]:
    """Raise errors of the harness as errors of ecomfs.

    Parameters
    ----------
    hints
        Text of the harness's hints → what to write instead, such as a command-line option.

    Raises
    ------
    MissingFileError, EmptyInputError, InputError, OutputError, ConfigError
        See :data:`ERRORS`.

    Examples
    --------
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
    """An answer to one row: a prediction, or a row of the traffic log."""

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
    """Answers as predictions of the harness.

    Parameters
    ----------
    answers
        n answers. A row without probabilities has no distribution (NaN).
    gold
        n true labels.
    labels
        The L labels of the run and of ``gold``; a label that an answer lacks has probability 0.
    tokens
        Keep the token counts. ``False`` for systems that did not read the prompts themselves.
    columns
        Other attributes of :class:`ecomfs_eval.Predictions`: ``ids``, ``name``, ``slices``, …

    Raises
    ------
    EvalError
        The harness refuses the rows; see :func:`harness_errors`.

    Examples
    --------
    >>> found = [Prediction("1", "yes", {"no": 0.1, "yes": 0.9}, prompt_tokens=40),
    ...          Prediction("2", None, {}, Status.FAILED, error="timeout")]
    >>> p = to_harness(found, ["yes", "no"], ["no", "yes"], name="ours")
    >>> p.predicted, p.status, p.prompt_tokens.tolist()
    (('yes', None), ('ok', 'failed'), [40.0, nan])
    """
    if tokens:
        # Zero tokens: no prompt was read, so their number is unknown, not zero.
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
    """The prediction as it was after the first of some stages that it passed.

    It is never abstained: abstaining comes last. A row that passed none of the stages keeps its
    final distribution; a row without one stays as it is.

    Parameters
    ----------
    prediction
        With :attr:`~ecomfs.types.Prediction.stages`.
    stages
        Names, the wanted one first.

    Examples
    --------
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


__all__ = ["ERRORS", "SupportsHarness", "at_stage", "harness_errors", "to_harness"]
