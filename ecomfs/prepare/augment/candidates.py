"""Rare labels, candidates for them, and the result of the checks."""

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
        present: number of examples in the pool, synthetic ones included.
        wanted: number of examples that it should have.

    >>> RareLabel("negative", present=1, wanted=3).missing
    2
    """

    label: str
    present: int
    wanted: int

    @property
    def missing(self) -> int:
        """Number of missing examples."""
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
        target: number of examples each label should have.
        share: the same as a share of the pool's current size, above 0, at most 1.
        only: labels to check; all by default.

    Returns:
        The rare labels in the order of ``space``.

    Raises:
        ConfigError: not exactly one of ``target`` and ``share``, or one out of range; or no label
            is rare.
        UnknownLabelError: ``only`` has an unknown label.

    >>> from ecomfs.task import load_task
    >>> pool = [Example(str(i), {"text": "x"}, "positive" if i else "negative") for i in range(5)]
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), [e.label for e in pool])
    >>> rare_labels(pool, space, target=3)
    [RareLabel(label='negative', present=1, wanted=3)]
    """
    if (target is None) == (share is None):
        raise ConfigError("one of --target and --share is needed", hint="give exactly one of them")
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
    "no_label": "its label is not mapped to a label of the task",
    "unreadable": "the classifier could not read it",
    "other_label": "the classifier predicts another label",
    "unsure": "the classifier is not sure enough",
    "not_needed": "its label has enough examples already",
}
"""Reason → explanation, in the order of the checks."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate for the pool.

    Attributes:
        example: the example as it would be added, marked synthetic.
        reason: why it was rejected; empty if it was kept.
        detail: details of the reason, for people.
        read_as: the label that the classifier predicts; empty if it was not read.
        confidence: the probability of that label.

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
    """The result of augmentation.

    Attributes:
        candidates: all candidates, in the order in which they were made.
        needs: the labels that were rare; empty if there was no limit.
        about: how the candidates were made (engine, template, settings), as JSON values.
        error: why it ended early; earlier candidates are kept.

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
        """Reason → number of rejected candidates, for every reason in :data:`REASONS`."""
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
