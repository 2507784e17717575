"""What was fitted on a taxonomy, in a file: the profiles of both levels, and the thresholds of the
guarantees over whole labels."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ecomfs.fit import Profile
from ecomfs.fit.profile_file import ProfileFile


class TaxonomyProfile(ProfileFile):
    """What a fit found on a taxonomy; a file of JSON.

    Attributes:
        parents: of level one; ``None`` where there is one parent, or nothing was read.
        children: parent → of its level two.
        accept_from, set_from: see :class:`ecomfs.calibration.DecisionPolicy`, over whole labels.
        found: readings of the guarantees, the threshold of acceptance, notes.

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
        """What a notebook shows: each level with what was fitted there."""
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


__all__ = ["TaxonomyProfile"]
