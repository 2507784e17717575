"""Whole labels as a tree: parents, and the children of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.task import plain_key
from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class Branch:
    """A parent and its children.

    Attributes:
        name: the parent, as the pool spells it.
        leaves: whole labels of its children, as the pool spells them.
        children: names of the children, aligned with ``leaves``.
        shares: of the parent's examples, the share of each child.
        classifier: tells the children apart; ``None`` for an only child, or before it is fitted.
    """

    name: str
    leaves: tuple[str, ...]
    children: tuple[str, ...]
    shares: tuple[float, ...]
    classifier: FewShotClassifier | None = None


def grow(examples: Sequence[Example], separator: str) -> list[tuple[Branch, list[Example]]]:
    """The parents in the order of their first example, each with its examples, whose label is the
    child alone. Spellings that differ in case, width or outer space are one label, spelt as it
    was first.

    Raises:
        UnknownLabelError: examples without a parent or without a child, naming them.
        PoolError: no examples, or all of one label.

    >>> pool = [Example("1", {}, "Home > Lamps"), Example("2", {}, "home>Chairs")]
    >>> [(branch, own)] = grow(pool, " > ")
    >>> branch.name, branch.leaves, branch.children, [e.label for e in own]
    ('Home', ('Home > Lamps', 'home>Chairs'), ('Lamps', 'Chairs'), ['Lamps', 'Chairs'])
    """
    if not examples:
        raise PoolError(
            "no labelled examples, and a taxonomy takes its labels from them",
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
        hint=f"write parent and child, such as 'Electronics{separator}Phones'; for what fits no "
        f"child, make one: 'Electronics{separator}Other'",
    )


__all__ = ["Branch", "grow"]
