"""The structure of labels that are not a flat list: the levels of a hierarchy, or the labels of a
set.

Predictions have one text per row. The structure gives the parts of each text, so that metrics,
intervals and comparisons work for such tasks as for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from ecomfs_eval._labels import label_order
from ecomfs_eval.errors import RowsDifferError

LabelKind = Literal["flat", "hierarchy", "sets"]
NOT_FOR: dict[LabelKind, str] = {
    "flat": "not defined where labels have no parents and a row has one label",
    "hierarchy": "not defined where a row has one label",
    "sets": "not defined where a row has several labels",
}
"""Why a metric has no value, by the kind of the labels."""


@dataclass(frozen=True, slots=True)
class LabelStructure:
    """The parts of each label.

    Attributes:
        kind: ``hierarchy`` or ``sets``.
        parts: label → its levels, from the top down; or the labels of the set that it stands for.
        classes: all labels that a set may contain, in a fixed order; empty for a hierarchy.

    >>> LabelStructure.tree(["Home > Lamps", "Toys > Games"], ">").parts["Home > Lamps"]
    ('Home', 'Lamps')
    >>> LabelStructure.sets({"late|broken": ["late", "broken"], "[]": []}).classes
    ('broken', 'late')
    """

    kind: LabelKind
    parts: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...] = ()

    @classmethod
    def tree(cls, labels: Iterable[str], separator: str) -> Self:
        """Structure of labels such as ``Home > Lamps``; spaces around the separator are ignored."""
        mark = separator.strip()
        parts = {x: tuple(part.strip() for part in x.split(mark)) for x in dict.fromkeys(labels)}
        return cls("hierarchy", parts)

    @classmethod
    def sets(cls, cells: Mapping[str, Sequence[str]], classes: Sequence[str] = ()) -> Self:
        """Structure of sets of labels.

        Args:
            cells: the text of each set → its labels.
            classes: further labels that a set may contain.
        """
        parts = {cell: tuple(own) for cell, own in cells.items()}
        seen = {label for own in parts.values() for label in own}
        return cls("sets", parts, (*classes, *label_order(seen - set(classes))))

    def merged(self, other: Self) -> Self:
        """The union of two structures.

        Raises:
            RowsDifferError: the kinds differ, or a label has different parts.
        """
        both = set(self.parts) & set(other.parts)
        odd = next((x for x in both if set(self.parts[x]) != set(other.parts[x])), None)
        if self.kind != other.kind or odd is not None:
            what = f"label {odd!r} has" if self.kind == other.kind else "labels have"
            raise RowsDifferError(
                f"{what} different parts in the two systems", hint="read both with the same task"
            )
        classes = (*self.classes, *(c for c in other.classes if c not in self.classes))
        return type(self)(self.kind, {**other.parts, **self.parts}, classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Restore a structure from :meth:`to_dict`.

        >>> made = LabelStructure.tree(["a > b"], ">")
        >>> LabelStructure.from_dict(made.to_dict()) == made
        True
        """
        parts = {label: tuple(own) for label, own in data["parts"].items()}
        return cls(data["kind"], parts, tuple(data["classes"]))


__all__ = ["NOT_FOR", "LabelKind", "LabelStructure"]
