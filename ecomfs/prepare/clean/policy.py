"""What cleaning may do."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Fate = Literal["remove", "report", "ignore"]
"""Take such a row out, only say so, or do not look for it."""


class CleanPolicy(BaseModel):
    """What to mend in texts, and what to do with rows that cannot serve as examples.

    Attributes:
        mojibake: undo text that was decoded in the wrong encoding.
        html: ``strip`` tags and resolve entities, only resolve entities (``unescape``), or
            ``keep`` both.
        controls: remove control, zero-width and direction-override characters.
        unicode: normal form. NFKC also turns full-width letters into plain ones.
        emoji: ``keep``, ``name`` (as words, in the text's language) or ``drop``.
        spaces: one space for every run of blanks, at most one empty line, none at the ends.
        labels: make spellings of a label that differ in case, width or blanks one.
        max_chars: longer texts are over-long.
        near_threshold: Jaccard similarity of character shingles from which two texts that agree
            in all their numbers and model codes are near duplicates.
        conflict: what to do with texts that carry several labels; ``majority`` keeps the rows of
            a label that has more than half of them.
        Others: the fate of rows that are unreadable, empty, unlabelled, over-long, (near)
        duplicates of an earlier row with the same label, or (nearly) equal to a test row.

    >>> CleanPolicy(emoji="drop").near_duplicate
    'remove'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mojibake: bool = True
    html: Literal["strip", "unescape", "keep"] = "strip"
    controls: bool = True
    unicode: Literal["NFC", "NFKC", "keep"] = "NFC"
    emoji: Literal["keep", "name", "drop"] = "keep"
    spaces: bool = True
    labels: bool = True
    max_chars: int = Field(default=4000, ge=1)
    near_threshold: float = Field(default=0.8, ge=0.5, le=1.0)
    unreadable: Fate = "remove"
    empty: Fate = "remove"
    unlabelled: Fate = "remove"
    over_long: Fate = "report"
    duplicate: Fate = "remove"
    near_duplicate: Fate = "remove"
    conflict: Literal["remove", "majority", "report", "ignore"] = "remove"
    leak: Fate = "remove"
    near_leak: Fate = "remove"
