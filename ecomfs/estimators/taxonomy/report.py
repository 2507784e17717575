"""The profile of a taxonomy, and the explanation of one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from ecomfs.fit import Profile
from ecomfs.fit.profile_file import ProfileFile
from ecomfs.pipeline import Explanation
from ecomfs.types import Prediction


class TaxonomyProfile(ProfileFile):
    """The result of a fit of a taxonomy; saved as JSON.

    Attributes:
        parents: profile of level one; ``None`` if there is one parent, or nothing was read.
        children: parent → profile of its level two.
        accept_from, set_from: see :class:`ecomfs.calibration.DecisionPolicy`; for whole labels.
        found: number of readings for the guarantees, the acceptance threshold, notes.

    >>> TaxonomyProfile(task="product_category", separator=" > ").accept_from is None
    True
    """

    format: Literal[1] = 1
    kind: Literal["taxonomy"] = "taxonomy"
    task: str
    separator: str
    parents: Profile | None = None
    children: dict[str, Profile] = Field(default_factory=dict)
    accept_from: float | None = None
    set_from: float | None = None
    guarantees: dict[str, Any] = Field(default_factory=dict)
    found: dict[str, Any] = Field(default_factory=dict)

    def _repr_html_(self) -> str:
        """HTML for notebooks: the profile of each level."""
        from ecomfs_eval.html_view import paragraph, table, view

        levels = {"parents": self.parents, **self.children}
        rows = [
            [name, found.fitted_on.examples, found.k, found.found["readings"]]
            for name, found in levels.items()
            if found is not None
        ]
        wanted = {name: value for name, value in self.guarantees.items() if value is not None}
        return view(
            f"profile of {self.task}, a taxonomy",
            table(["level", "examples", "k", "read"], rows) if rows else "",
            paragraph("; ".join(f"{name} {value}" for name, value in wanted.items())),
            *(paragraph(note, note=True) for note in self.found.get("notes", ())),
        )


@dataclass(frozen=True, slots=True)
class TaxonomyExplanation:
    """How the whole label of one row was found. ``print`` it, or use :meth:`to_dict`.

    Attributes:
        prediction: the prediction over whole labels.
        parents: the explanation of level one; ``None`` if there is only one parent.
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
        """HTML for notebooks: the whole labels, then the explanation of each level."""
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


__all__ = ["TaxonomyExplanation", "TaxonomyProfile"]
