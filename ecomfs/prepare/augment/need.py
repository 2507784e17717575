"""Which labels are rare, and how many examples they lack."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs.errors import ConfigError
from ecomfs.task import LabelSpace
from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class Need:
    """A rare label.

    Attributes:
        label: in the pool's spelling.
        present: examples that the pool has, synthetic ones included.
        wanted: examples that it should have.
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
) -> list[Need]:
    """The labels with fewer examples than wanted, in the order of ``space``.

    Args:
        target: examples each label should have.
        share: part of the pool's present size that each label should have, above 0, at most 1.
        only: labels to look at; all by default.

    Raises:
        ConfigError: not exactly one of ``target`` and ``share``, or one out of range; or no label
            is rare.
        UnknownLabelError: one of ``only`` is no label.

    >>> from ecomfs.task import load_task
    >>> pool = [Example(str(i), {"text": "x"}, "positive" if i else "negative") for i in range(5)]
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), [e.label for e in pool])
    >>> rare_labels(pool, space, target=3)
    [Need(label='negative', present=1, wanted=3)]
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
    needs = [Need(name, counts[name], wanted) for name in space.names if name in set(names)]
    rare = [need for need in needs if need.missing > 0]
    if not rare:
        have = ", ".join(f"{need.label} {need.present}" for need in needs[:12])
        raise ConfigError(
            f"no label has fewer than {wanted} examples",
            hint=f"they have: {have}; raise --target or --share",
        )
    return rare
