"""Whole labels as a tree of parents and children; combines both levels into one prediction.

    P(leaf) = P(parent) · P(child | parent)

The probability of a parent whose children were not read is spread over them by their shares in the
pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.task import plain_key
from ecomfs.types import Example, Prediction, Status


@dataclass(frozen=True, slots=True)
class Branch:
    """A parent and its children.

    Attributes:
        name: the parent, as spelt in the pool.
        leaves: whole labels of the children, as spelt in the pool.
        children: names of the children, aligned with ``leaves``.
        shares: share of each child among the parent's examples.
        classifier: classifies the children; ``None`` for an only child, or before the fit.
    """

    name: str
    leaves: tuple[str, ...]
    children: tuple[str, ...]
    shares: tuple[float, ...]
    classifier: FewShotClassifier | None = None


def group_by_parent(
    examples: Sequence[Example], separator: str
) -> list[tuple[Branch, list[Example]]]:
    """The parents in the order of their first example, each with its examples, labelled with the
    child only. Spellings that differ in case, width or outer space are one label; the first
    spelling is kept.

    Raises:
        UnknownLabelError: examples without a parent or without a child; the message names them.
        PoolError: no examples, or all have one label.

    >>> pool = [Example("1", {}, "Home > Lamps"), Example("2", {}, "home>Chairs")]
    >>> [(branch, own)] = group_by_parent(pool, " > ")
    >>> branch.name, branch.leaves, branch.children, [e.label for e in own]
    ('Home', ('Home > Lamps', 'home>Chairs'), ('Lamps', 'Chairs'), ['Lamps', 'Chairs'])
    """
    if not examples:
        raise PoolError(
            "no labelled examples: the labels of a taxonomy come from its examples",
            hint="give at least one example of each label",
        )
    mark = separator.strip()
    wrong: list[Example] = []
    parents: dict[str, str] = {}
    children: dict[str, dict[str, tuple[str, str]]] = {}
    own: dict[str, list[Example]] = {}
    for example in examples:
        parent, _, child = (part.strip() for part in example.label.partition(mark))
        if not parent or not child:
            wrong.append(example)
            continue
        above, below = plain_key(parent), plain_key(child)
        parents.setdefault(above, parent)
        known, _ = children.setdefault(above, {}).setdefault(below, (child, example.label.strip()))
        own.setdefault(above, []).append(replace(example, label=known))
    if wrong:
        raise _not_whole(wrong, separator)
    out = []
    for above, name in parents.items():
        counts = Counter(e.label for e in own[above])
        names = tuple(child for child, _ in children[above].values())
        leaves = tuple(leaf for _, leaf in children[above].values())
        shares = tuple(counts[child] / len(own[above]) for child in names)
        out.append((Branch(name, leaves, names, shares), own[above]))
    if len(out) == 1 and len(out[0][0].leaves) == 1:
        raise PoolError(
            f"all labelled examples have the label {out[0][0].leaves[0]!r}",
            hint="add at least one example of another label",
        )
    return out


def _not_whole(wrong: Sequence[Example], separator: str) -> UnknownLabelError:
    named = ", ".join(f"{e.id!r} ({e.label!r})" for e in wrong[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return UnknownLabelError(
        f"labelled with one level only: example{'s' if len(wrong) > 1 else ''} {named}{more}",
        hint=f"write parent and child, such as 'Electronics{separator}Phones'; for rows that fit "
        f"no child, add one: 'Electronics{separator}Other'",
    )


LEVELS = ("level one", "level two")
"""Names of the stages of a prediction."""


def beam_of(top: Prediction | None, branches: Sequence[Branch], width: int) -> set[int]:
    """The parents whose children are read: positions of the ``width`` likeliest.

    Args:
        top: prediction of level one; ``None`` if there is only one parent.
    """
    p = _parents(top, branches)
    return set(sorted(range(len(p)), key=lambda at: -p[at])[:width])


def combine(
    branches: Sequence[Branch], top: Prediction | None, below: Mapping[int, Prediction]
) -> Prediction:
    """One prediction over whole labels, in the order of the branches and their leaves. If one
    level fails, the row fails.

    Args:
        top: prediction of level one; ``None`` if there is only one parent.
        below: position of a parent → prediction of level two.

    Returns:
        A prediction with the two levels as its stages, and the tokens, demonstrations and notes
        of all readings.
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
    # A row that belongs to no parent abstains at level one; a suspicious row may need review at
    # either level.
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
    """P(parent), aligned with the branches; empty for a row without a prediction."""
    if top is None:
        return [1.0]
    if not top.probabilities:
        return []
    return [top.probabilities[branch.name] for branch in branches]


def _product(masses: Sequence[float | None]) -> float | None:
    """Label mass of both levels multiplied; ``None`` if a read-out does not give it."""
    out = 1.0
    for mass in masses:
        if mass is None:
            return None
        out *= mass
    return out if masses else None


__all__ = ["LEVELS", "Branch", "beam_of", "combine", "group_by_parent"]
