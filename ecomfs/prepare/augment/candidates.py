"""Rare labels, the candidates that are made for them, and the result of the checks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ecomfs.errors import ConfigError, EngineError
from ecomfs.task import LabelSpace
from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class RareLabel:
    """A rare label.

    Attributes:
        label: in the pool's spelling.
        present: examples that the pool has, synthetic ones included.
        wanted: examples that it should have.

    >>> RareLabel("negative", present=1, wanted=3).missing
    2
    """

    label: str
    present: int
    wanted: int

    @property
    def missing(self) -> int:
        """How many more are wanted."""
        return self.wanted - self.present


def rare_labels(
    examples: Sequence[Example],
    space: LabelSpace,
    *,
    target: int | None = None,
    share: float | None = None,
    only: Sequence[str] = (),
) -> list[RareLabel]:
    """The labels with fewer examples than wanted, in the order of ``space``.

    Args:
        examples: the pool.
        space: its label space.
        target: examples each label should have.
        share: part of the pool's present size that each label should have, above 0, at most 1.
        only: labels to look at; all by default.

    Returns:
        The rare labels in the order of ``space``.

    Raises:
        ConfigError: not exactly one of ``target`` and ``share``, or one out of range; or no label
            is rare.
        UnknownLabelError: one of ``only`` is no label.

    >>> from ecomfs.task import load_task
    >>> pool = [Example(str(i), {"text": "x"}, "positive" if i else "negative") for i in range(5)]
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), [e.label for e in pool])
    >>> rare_labels(pool, space, target=3)
    [RareLabel(label='negative', present=1, wanted=3)]
    """
    if (target is None) == (share is None):
        raise ConfigError("what is a rare label?", hint="give either --target or --share")
    if target is not None:
        if target < 1:
            raise ConfigError(f"--target {target}", hint="use 1 or more")
        wanted = target
    else:
        if share is None or not 0 < share <= 1:
            raise ConfigError(f"--share {share}", hint="use a share above 0, at most 1")
        wanted = math.ceil(share * len(examples))
    names = [space.names[space.require(name, "--label")] for name in only] or space.names
    counts = Counter(space.names[space.require(e.label, e.id)] for e in examples)
    needs = [RareLabel(name, counts[name], wanted) for name in space.names if name in set(names)]
    rare = [need for need in needs if need.missing > 0]
    if not rare:
        have = ", ".join(f"{need.label} {need.present}" for need in needs[:12])
        raise ConfigError(
            f"no label has fewer than {wanted} examples",
            hint=f"they have: {have}; raise --target or --share",
        )
    return rare


RejectReason = Literal[
    "engine_error",
    "empty",
    "unfinished",
    "wrong_language",
    "length",
    "leaks_label",
    "copies_prompt",
    "near_copy",
    "no_label",
    "unreadable",
    "other_label",
    "unsure",
    "not_needed",
]

REASONS: Mapping[RejectReason, str] = {
    "engine_error": "the model gave no text",
    "empty": "no letters or digits",
    "unfinished": "the text was cut at the token limit",
    "wrong_language": "not in the language of its source",
    "length": "much shorter or longer than its source (borrowed: than the pool's texts)",
    "leaks_label": "names a label that its source does not name",
    "copies_prompt": "repeats a line of the prompt, such as its source",
    "near_copy": "nearly the same as an example or another candidate",
    "no_label": "its label means none of the task's",
    "unreadable": "the classifier could not read it",
    "other_label": "the classifier reads another label",
    "unsure": "the classifier is not sure enough",
    "not_needed": "its label has enough examples already",
}
"""What each reason means, in the order in which a candidate is checked."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text on its way into the pool.

    Attributes:
        example: as it would stand in the pool, marked synthetic.
        reason: why it was rejected; empty when it was kept.
        detail: what exactly, for a person.
        read_as: the label that the classifier read; empty when it was not asked.
        confidence: that label's probability.

    >>> Candidate(Example("a", {"text": ""}, "x", synthetic=True), "empty").reason
    'empty'
    """

    example: Example
    reason: RejectReason | Literal[""] = ""
    detail: str = ""
    read_as: str = ""
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Augmented:
    """What augmentation found.

    Attributes:
        candidates: all, in the order in which they were made.
        needs: the labels that were rare; empty when everything fitting was borrowed.
        about: how they were made (engine, template, settings), as JSON values.
        error: why it ended early; what was found before is here.

    >>> made = Example("a", {"text": "so soft"}, "x", synthetic=True)
    >>> found = Augmented([Candidate(made), Candidate(made, "near_copy")])
    >>> len(found.kept), found.counts()["near_copy"]
    (1, 1)
    """

    candidates: Sequence[Candidate]
    needs: Sequence[RareLabel] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    error: EngineError | None = None

    @property
    def kept(self) -> list[Example]:
        """The examples to add to the pool."""
        return [c.example for c in self.candidates if not c.reason]

    @property
    def rejected(self) -> list[Candidate]:
        """The other candidates, each with its reason."""
        return [c for c in self.candidates if c.reason]

    def counts(self) -> dict[str, int]:
        """RejectReason → rejected candidates, in the order of :data:`REASONS`; none left out."""
        found = Counter(c.reason for c in self.rejected)
        return {reason: found[reason] for reason in REASONS}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        added = Counter(e.label for e in self.kept)
        labels = {
            need.label: {
                "present": need.present,
                "wanted": need.wanted,
                "added": added[need.label],
                "still_missing": max(0, need.missing - added[need.label]),
            }
            for need in self.needs
        } or {label: {"added": count} for label, count in sorted(added.items())}
        return {
            "candidates": len(self.candidates),
            "kept": len(self.kept),
            "rejected": self.counts(),
            "labels": labels,
            "about": dict(self.about),
            "error": None if self.error is None else str(self.error),
        }
