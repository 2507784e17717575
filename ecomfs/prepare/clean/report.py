"""The policy of cleaning, and its report: every change and every removal, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import pandas as pd


RowPolicy = Literal["remove", "report", "ignore"]
"""What happens to such a row: it is removed, only reported, or ignored."""


class CleanPolicy(BaseModel):
    """The policy of cleaning: repairs of texts, and the treatment of unusable rows.

    Attributes:
        mojibake: undo text that was decoded in the wrong encoding.
        html: ``strip`` tags and resolve entities, only resolve entities (``unescape``), or ``keep``
            both.
        controls: remove control, zero-width and direction-override characters.
        unicode: normal form. NFKC also turns full-width letters into plain ones.
        emoji: ``keep``, ``name`` (as words, in the text's language) or ``drop``.
        spaces: one space for every run of blanks, at most one empty line, none at the ends.
        labels: unify spellings of a label that differ in case, width or blanks.
        max_chars: longer texts are over-long.
        near_threshold: least Jaccard similarity of character shingles of near duplicates, whose
            numbers and model codes must be equal.
        conflict: what to do with texts that have several labels; ``majority`` keeps the rows of a
            label that has more than half of them.
        Others: what to do with rows that are unreadable, empty, unlabelled, over-long, (near)
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
    unreadable: RowPolicy = "remove"
    empty: RowPolicy = "remove"
    unlabelled: RowPolicy = "remove"
    over_long: RowPolicy = "report"
    duplicate: RowPolicy = "remove"
    near_duplicate: RowPolicy = "remove"
    conflict: Literal["remove", "majority", "report", "ignore"] = "remove"
    leak: RowPolicy = "remove"
    near_leak: RowPolicy = "remove"


FindingKind = Literal[
    "encoding",
    "unreadable",
    "mojibake",
    "html",
    "control",
    "unicode",
    "emoji",
    "space",
    "label",
    "unlabelled",
    "empty",
    "over_long",
    "leak",
    "near_leak",
    "conflict",
    "near_conflict",
    "duplicate",
    "near_duplicate",
    "duplicate_id",
]
Action = Literal["changed", "removed", "reported"]

MEANINGS: dict[FindingKind, str] = {
    "encoding": "read in another encoding than the file's",
    "unreadable": "could not be read as a row",
    "mojibake": "text decoded in the wrong encoding",
    "html": "HTML tags or entities",
    "control": "control or invisible characters",
    "unicode": "not in the Unicode normal form",
    "emoji": "emoji",
    "space": "superfluous blanks",
    "label": "label spelt in another way",
    "unlabelled": "no label",
    "empty": "no text",
    "over_long": "longer than the limit",
    "leak": "the same text is in the test set",
    "near_leak": "nearly the same text is in the test set",
    "conflict": "the same text with different labels",
    "near_conflict": "nearly the same text with different labels",
    "duplicate": "the same text as an earlier row",
    "near_duplicate": "nearly the same text as an earlier row",
    "duplicate_id": "an id that an earlier row has",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in one row.

    Attributes:
        kind: kind of finding; see :data:`MEANINGS`.
        row: the row's index in the frame that was cleaned.
        id: its id, when there is an id column.
        column: the column it was found in; empty when it is the whole row.
        action: whether the text was changed, the row removed, or neither.
        detail: details for people, such as the row it duplicates.

    >>> Finding("empty", 7, "r7", "", "removed").action
    'removed'
    """

    kind: FindingKind
    row: Hashable
    id: str
    column: str
    action: Action
    detail: str = ""


@dataclass(slots=True)
class CleanReport:
    """All findings, in the order in which they were made.

    >>> report = CleanReport(rows_in=2, rows_out=1)
    >>> report.findings.append(Finding("duplicate", 3, "r3", "", "removed", "row 1"))
    >>> print(report)
    2 rows in, 1 out, 1 removed, 0 texts changed
      duplicate        1 removed   the same text as an earlier row
    """

    rows_in: int = 0
    rows_out: int = 0
    findings: list[Finding] = field(default_factory=list)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def counts(self) -> dict[tuple[FindingKind, Action], int]:
        """Number of findings by kind and action, in the order of :data:`MEANINGS`."""
        counter = Counter((f.kind, f.action) for f in self.findings)
        order = list(MEANINGS)
        return dict(sorted(counter.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))

    def rows(self, kind: FindingKind, action: Action | None = None) -> list[Hashable]:
        """Rows with a finding of that kind (and action)."""
        chosen = (f for f in self.findings if f.kind == kind and action in (None, f.action))
        return list(dict.fromkeys(f.row for f in chosen))

    def to_frame(self) -> pd.DataFrame:
        """One line per finding."""
        import pandas as pd

        columns = ["kind", "action", "row", "id", "column", "detail"]
        lines = [[getattr(f, name) for name in columns] for f in self.findings]
        return pd.DataFrame(lines, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Counts and all findings, as JSON values."""
        names = ("kind", "action", "id", "column", "detail")
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "counts": [
                {"kind": kind, "action": action, "rows": n, "meaning": MEANINGS[kind]}
                for (kind, action), n in self.counts().items()
            ],
            "findings": [
                {"row": str(f.row), **{n: getattr(f, n) for n in names}} for f in self.findings
            ],
        }

    def __str__(self) -> str:
        changed = len({(f.row, f.column) for f in self.findings if f.action == "changed"})
        removed = self.rows_in - self.rows_out
        head = (
            f"{self.rows_in} rows in, {self.rows_out} out, {removed} removed, "
            f"{changed} text{'s' if changed != 1 else ''} changed"
        )
        lines = [
            f"  {kind:<15}{n:>4} {action:<9} {MEANINGS[kind]}"
            for (kind, action), n in self.counts().items()
        ]
        return "\n".join([head, *lines])


@dataclass(frozen=True, slots=True)
class CleanResult:
    """The result of cleaning.

    Attributes:
        frame: the kept rows, with repaired texts; the original of each text column and of the
            label column is in ``<column>_original``.
        report: every change and every removal.
        removed: the removed rows, unchanged, with ``removed_because`` and ``removed_detail``.

    >>> import pandas as pd
    >>> from ecomfs.prepare.clean import clean
    >>> result = clean(pd.DataFrame({"text": ["fine", ""]}), text_columns=["text"])
    >>> len(result.frame), result.removed["removed_because"].to_list()
    (1, ['empty'])
    """

    frame: pd.DataFrame
    report: CleanReport
    removed: pd.DataFrame
