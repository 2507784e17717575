"""The values that flow through the pipeline, one frozen dataclass per stage.

    row ─▶ Example / fields ─▶ Demonstration ─▶ Prompt ─▶ Reading ─▶ Prediction

Plain values: what computes them is in the rooms above.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time
from enum import StrEnum
from typing import Any, Literal, NamedTuple

Language = Literal["en", "zh"]
Row = Mapping[str, Any]
"""One row as it was read: field name → value (text, number, JSON)."""


class InfiniteText(str):
    """The text of a cell that holds an infinite number. It is not a label; the text ``inf`` may
    be one."""

    __slots__ = ()


class NestedText(str):
    """The JSON text of a cell that holds a list or an object. It is neither a label nor plain
    text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled example of the pool.

    Attributes
    ----------
    id : str
        Unique within its pool.
    fields : Row
        The row, field name → value, as the task card names the fields.
    label : str
        The label in the pool's own spelling.
    synthetic : bool
        Made by augmentation; never allowed in a test set.
    source_id : str
        Where a synthetic example comes from: the id of an example of the same pool, or the source
        it was borrowed from; empty when it has no source.
    method : str
        How a synthetic example was made, such as ``rewrite`` or ``borrow``.

    Examples
    --------
    >>> example = Example("r1", {"text": "fits well"}, "positive")
    >>> example.fields["text"], example.label, example.synthetic
    ('fits well', 'positive', False)
    """

    id: str
    fields: Row
    label: str
    synthetic: bool = False
    source_id: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A labelled example chosen for a prompt.

    Attributes:
        example: the example itself.
        text: the example's fields rendered as text.
        similarity: similarity to the query in the retriever's own measure (cosine for the
            dense retriever); ``nan`` for demonstrations that were not retrieved.
    """

    example: Example
    text: str
    similarity: float = math.nan


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """The template that made a prompt: its name, such as ``review_sentiment/en.v1``, and the
    first 12 hex digits of the SHA-256 of its source."""

    name: str
    sha: str

    def __str__(self) -> str:
        return f"{self.name}@{self.sha}"


class Turn(NamedTuple):
    """One turn of a prompt in chat format: who speaks (``system``, ``user``, ``assistant``), and
    its text.

    >>> Turn("user", "Review: works well").role
    'user'
    """

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt, ready for any engine.

    Attributes:
        text: the whole prompt; ends with the answer cue, without trailing white space. In chat
            format: with the frame of the model's chat template, up to the header of the answer.
        token_ids: ``text`` in the engine's tokens (with BOS if the model needs one); empty for
            engines without a tokenizer. In chat format only the frame becomes control tokens.
        template: which template rendered it.
        turns: in chat format, the turns in the frame; empty for a completion.
        demonstrations: the demonstrations in the prompt, in prompt order.
        dropped: how many retrieved demonstrations the token budget left out.
        cut: how many characters of the row's own text the budget left out.
    """

    text: str
    template: TemplateRef
    token_ids: tuple[int, ...] = ()
    demonstrations: tuple[Demonstration, ...] = ()
    dropped: int = 0
    cut: int = 0
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A request for next-token log-probabilities: of each of ``codes`` after ``prompt + suffix``.

    Attributes:
        suffix: token ids appended to the prompt; usually empty.
        codes: the token ids whose log-probabilities are requested.
    """

    codes: tuple[int, ...]
    suffix: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine answers to one prompt.

    Attributes:
        logprobs: one tuple per question, aligned with its codes: natural-log probabilities under
            the model's *unmasked* next-token distribution. After ``exp`` they sum to at most
            one; the sum is the label mass.
        prompt_tokens: number of tokens of the prompt.
        cached_tokens: how many of them came from the engine's cache.
    """

    logprobs: tuple[tuple[float, ...], ...]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """Text that an engine generated after one prompt; used when the engine gives no
    log-probabilities."""

    text: str
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Posterior:
    """A distribution over the label space, read for one row.

    Attributes:
        probabilities: aligned with the label space; sums to one. Empty when the answer could
            not be parsed (then ``raw`` holds it).
        label_mass: probability that the model gives to *any* valid answer, before normalising. A
            small mass means that the model would answer with something that is not a label.
            ``None`` when the read-out does not give it.
        raw: the generated text, for text read-outs.
    """

    probabilities: tuple[float, ...]
    label_mass: float | None = None
    raw: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the experts, classifiers without a language model, give for one row.

    Attributes:
        scores: expert → unnormalised log-probabilities, aligned with the label space.
        similarity: similarity of the nearest example, in the retriever's measure; ``nan`` when
            the row has none.
    """

    scores: Mapping[str, tuple[float, ...]]
    similarity: float = math.nan


class Status(StrEnum):
    """How a row ended.

    Examples
    --------
    >>> Status("ok") is Status.OK, [str(status) for status in Status]
    (True, ['ok', 'abstained', 'invalid', 'failed'])
    """

    OK = "ok"
    ABSTAINED = "abstained"
    INVALID = "invalid"  # the model answered, with something that is not a label
    FAILED = "failed"  # the row or the engine failed; see ``error``


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one row.

    Attributes:
        id: the row's id.
        label: the predicted label in the pool's spelling; ``None`` unless ``status`` is ok.
        probabilities: label → probability over the whole label space; empty when there is none.
        status: ok, abstained, invalid or failed.
        error: the error message, one line; empty when ok.
        note: one line about what the user should know of this row (text cut to the token
            budget, demonstrations left out); usually empty.
        label_mass: see :class:`Posterior`.
        stages: the distribution after each step ("read", "calibrated", "fused") and that of the
            experts alone ("experts"), each aligned with ``probabilities``.
        source: what gave the answer: ``model``, ``fused`` (model and experts) or ``experts``
            (the model was not asked); empty without an answer.
        prediction_set: the labels that may be true, most likely first; empty unless sets were
            fitted.
        novelty: p-value of the hypothesis that the row belongs to one of the labels; ``None``
            unless fitted.
        demonstration_ids: ids of the demonstrations in prompt order.
        template: the template that made the prompt.
        engine: fingerprint of the engine that read it.
        pool_version: version of the pool the demonstrations came from.
        labels: in a multi-label task, the labels of the row, possibly none; ``label`` is then
            the cell that holds them, and each label has its own probability. ``None`` for other
            tasks, and without an answer.
        suspicious: why the row looks like an attack on the model, one word per reason
            (:data:`ecomfs.screen.REASONS`). Empty when nothing was found, which is no proof that
            the row is harmless.
    """

    id: str
    label: str | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    status: Status = Status.OK
    error: str = ""
    note: str = ""
    label_mass: float | None = None
    stages: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    source: str = ""
    prediction_set: tuple[str, ...] = ()
    novelty: float | None = None
    demonstration_ids: tuple[str, ...] = ()
    template: TemplateRef | None = None
    engine: str = ""
    pool_version: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    labels: tuple[str, ...] | None = None
    suspicious: tuple[str, ...] = ()

    @property
    def confidence(self) -> float | None:
        """Probability of the :attr:`suggestion`, which is the label if one was given; ``None``
        without a distribution.

        >>> Prediction("r1", "yes", {"yes": 0.9, "no": 0.1}).confidence
        0.9
        >>> Prediction("r1", None, {"yes": 0.6, "no": 0.4}, Status.ABSTAINED).confidence
        0.6

        In a multi-label task: the probability of the least certain of the decisions, one for
        each label:

        >>> Prediction("r1", "a", {"a": 0.9, "b": 0.2}, labels=("a",)).confidence
        0.8
        """
        if self.labels is not None:
            given = {*self.labels}
            sure = (p if name in given else 1 - p for name, p in self.probabilities.items())
            return min(sure, default=None)
        suggestion = self.label if self.label is not None else self.suggestion
        return None if suggestion is None else self.probabilities.get(suggestion)

    @property
    def suggestion(self) -> str | None:
        """The likeliest label, also when the row abstained; ``None`` without a distribution.

        >>> Prediction("r1", None, {"yes": 0.6, "no": 0.4}, Status.ABSTAINED).suggestion
        'yes'
        """
        if not self.probabilities or self.labels is not None:
            return self.label
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def abstained(self, why: str = "abstained") -> Prediction:
        """A copy without a label, for a person to review.

        >>> Prediction("r1", "yes", {"yes": 0.6, "no": 0.4}).abstained().note
        'abstained: needs review'
        """
        note = "; ".join(filter(None, [self.note, f"{why}: needs review"]))
        return replace(self, label=None, status=Status.ABSTAINED, note=note)

    def _repr_html_(self) -> str:
        """HTML for notebooks."""
        from ecomfs_eval.html_view import bars, paragraph, table, view

        shown = bars(self.probabilities, self.suggestion)
        if self.labels is not None:  # multi-label: each label has its own probability
            ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])
            given = [at for at, (name, _) in enumerate(ranked) if name in self.labels]
            shown = table(["label", "probability"], ranked, chosen=given)
        parts = [paragraph(self.error), shown]
        if self.prediction_set:
            parts.append(paragraph(f"may be: {', '.join(self.prediction_set)}"))
        how = [f"answered by: {self.source}"] if self.source else []
        if self.label_mass is not None:
            how.append(f"label mass {self.label_mass:.3f}")
        if self.novelty is not None:
            how.append(f"novelty {self.novelty:.3f}")
        if self.suspicious:
            how.append(f"suspicious: {', '.join(self.suspicious)}")
        if self.demonstration_ids:
            how.append(f"demonstrations: {', '.join(self.demonstration_ids)}")
        parts += [paragraph(self.note, note=True), paragraph(" · ".join(how), note=True)]
        label = "no label" if self.label is None else self.label
        if self.label is not None and self.labels is not None:
            label = ", ".join(self.labels) or "no label"
        return view(f"{self.id}: {label} ({self.status})", *parts)


def is_missing(value: Any) -> bool:
    """Whether a value is ``None``, NaN, NaT or ``pandas.NA``.

    Parameters
    ----------
    value : object
        A Python, NumPy or pandas value.

    Returns
    -------
    bool
        True when no value was given.

    Examples
    --------
    >>> [is_missing(v) for v in (None, float("nan"), "", 0)]
    [True, True, False, False]
    """
    if value is None or type(value) is str:
        return value is None
    equal = value == value  # NaN and NaT differ from themselves; pandas.NA compares to NA
    return type(equal).__name__ == "NAType" or equal is False or str(equal) == "False"


def is_scalar(value: Any) -> bool:
    """Whether a value is one text, number, boolean, date or time, or missing.

    Parameters
    ----------
    value : object
        One value, of Python, NumPy or pandas, or any other object.

    Returns
    -------
    bool
        True for one text, number, boolean, date or time, and for a missing value.

    Examples
    --------
    >>> import numpy as np
    >>> [is_scalar(v) for v in ("a", 1, np.float32(1), None, b"a", ["a"], object())]
    [True, True, True, True, False, False, False]
    """
    import numpy as np

    if isinstance(value, np.generic):
        return not isinstance(value, np.void | np.bytes_)
    return isinstance(value, str | numbers.Number | date | time) or is_missing(value)


def floats(values: Iterable[Any]) -> tuple[float, ...]:
    """The values as plain Python floats, since NumPy scalars cannot be written as JSON."""
    return tuple(float(v) for v in values)
