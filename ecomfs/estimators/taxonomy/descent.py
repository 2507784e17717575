"""From the readings of both levels to one answer over whole labels.

    P(leaf) = P(parent) · P(child | parent)

A parent whose children were not read keeps its probability and spreads it over them by their
shares in the pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ecomfs.estimators.taxonomy.tree import Branch
from ecomfs.pipeline import Explanation
from ecomfs.types import Prediction, Status


@dataclass(frozen=True, slots=True)
class TaxonomyExplanation:
    """What led to the whole label of one row. ``print`` it, or take :meth:`to_dict`.

    Attributes:
        prediction: the answer over whole labels.
        parents: the explanation of level one; ``None`` where there is one parent only.
        children: parent → the explanation of level two, for the parents in the beam that have
            several children.
    """

    prediction: Prediction
    parents: Explanation | None
    children: Mapping[str, Explanation]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        p = self.prediction
        return {
            "label": p.label,
            "status": str(p.status),
            "error": p.error,
            "note": p.note,
            "confidence": p.confidence,
            "probabilities": dict(p.probabilities),
            "label_mass": p.label_mass,
            "prompt_tokens": p.prompt_tokens,
            "cached_tokens": p.cached_tokens,
            "parents": None if self.parents is None else self.parents.to_dict(),
            "children": {name: found.to_dict() for name, found in self.children.items()},
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the whole labels, then the explanation of each level."""
        from ecomfs_eval.html_view import bars, paragraph, view

        p = self.prediction
        levels = [] if self.parents is None else [("level one: parents", self.parents)]
        levels += [(f"level two: children of {n!r}", found) for n, found in self.children.items()]
        parts = [
            part for title, found in levels for part in (paragraph(title), found._repr_html_())
        ]
        top = bars(p.probabilities, p.suggestion) if p.probabilities else ""
        return view(f"label: {p.label} ({p.status})", paragraph(p.error), top, *parts)

    def __str__(self) -> str:
        p = self.prediction
        lines = [f"label: {p.label}  ({p.status}{': ' + p.error if p.error else ''})"]
        ranked = sorted(p.probabilities.items(), key=lambda item: -item[1])[:8]
        lines += [f"  {value:6.3f}  {name}" for name, value in ranked]
        if self.parents is not None:
            lines += ["", "level one: parents", str(self.parents)]
        for name, found in self.children.items():
            lines += ["", f"level two: children of {name!r}", str(found)]
        return "\n".join(lines)


LEVELS = ("level one", "level two")
"""Steps of a prediction."""


def beam_of(top: Prediction | None, branches: Sequence[Branch], width: int) -> set[int]:
    """The parents whose children are read: positions of the ``width`` likeliest.

    Args:
        top: what level one read; ``None`` where there is one parent only.
    """
    p = _parents(top, branches)
    return set(sorted(range(len(p)), key=lambda at: -p[at])[:width])


def combine(
    branches: Sequence[Branch], top: Prediction | None, below: Mapping[int, Prediction]
) -> Prediction:
    """One prediction over whole labels, in the order of the branches and their leaves. Where a
    level could not be read, neither is the row: no part of it is guessed.

    Args:
        top: what level one read; ``None`` where there is one parent only.
        below: what level two read, by the position of the parent.

    Returns:
        A prediction with the two levels as its stages, and the tokens, demonstrations and notes
        of all that was read.
    """
    if top is not None and not top.probabilities:
        return top
    parts = [*([top] if top is not None else []), *below.values()]
    base = replace(
        parts[0],
        prompt_tokens=sum(p.prompt_tokens for p in parts),
        cached_tokens=sum(p.cached_tokens for p in parts),
        demonstration_ids=tuple(i for p in parts for i in p.demonstration_ids),
        note="; ".join(dict.fromkeys(p.note for p in parts if p.note)),
        source="fused" if any(p.source == "fused" for p in parts) else parts[0].source,
    )
    for at, part in below.items():
        if not part.probabilities:
            error = f"children of {branches[at].name!r}: {part.error}"
            return replace(
                base, label=None, probabilities={}, stages={}, status=part.status, error=error
            )
    leaves: list[str] = []
    first: list[float] = []
    last: list[float] = []
    owner: list[int] = []
    for at, (branch, p) in enumerate(zip(branches, _parents(top, branches), strict=True)):
        read = below.get(at)
        within = [read.probabilities[c] for c in branch.children] if read else branch.shares
        leaves += branch.leaves
        first += [p * share for share in branch.shares]
        last += [p * share for share in within]
        owner += [at] * len(branch.leaves)
    best = max(range(len(last)), key=last.__getitem__)
    suspicious = tuple(dict.fromkeys(reason for p in parts for reason in p.suspicious))
    # A row that belongs to no parent is refused at level one; one that waits for a person because
    # it is suspicious, at either.
    refused = any(p.status is Status.ABSTAINED and (p is top or p.suspicious) for p in parts)
    masses = [p.label_mass for p in (top, below.get(owner[best])) if p is not None]
    return replace(
        base,
        label=None if refused else leaves[best],
        suspicious=suspicious,
        status=Status.ABSTAINED if refused else Status.OK,
        novelty=None if top is None else top.novelty,
        probabilities=dict(zip(leaves, last, strict=True)),
        stages=dict(zip(LEVELS, (tuple(first), tuple(last)), strict=True)),
        label_mass=_product(masses),
    )


def _parents(top: Prediction | None, branches: Sequence[Branch]) -> list[float]:
    """P(parent), aligned with the branches; empty for a row without an answer."""
    if top is None:
        return [1.0]
    if not top.probabilities:
        return []
    return [top.probabilities[branch.name] for branch in branches]


def _product(masses: Sequence[float | None]) -> float | None:
    """Mass on valid answers at both levels; ``None`` where a read-out cannot know it."""
    out = 1.0
    for mass in masses:
        if mass is None:
            return None
        out *= mass
    return out if masses else None


__all__ = ["TaxonomyExplanation", "beam_of", "combine"]
