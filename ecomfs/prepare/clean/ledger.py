"""The state of one cleaning: texts and labels as they stand, rows removed, findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ecomfs.prepare.clean.policy import CleanPolicy
from ecomfs.prepare.clean.report import Action, CleanReport, Finding, Kind


@dataclass(frozen=True, slots=True)
class CleanResult:
    """What cleaning gives.

    Attributes:
        frame: the rows kept, texts mended; every text column and the label column has its
            original beside it as ``<column>_original``.
        report: every change and every removal.
        removed: the rows taken out, as they came in, with ``removed_because`` and
            ``removed_detail``.
    """

    frame: pd.DataFrame
    report: CleanReport
    removed: pd.DataFrame


class Ledger:
    """What is known of every row; rows are addressed by position."""

    def __init__(
        self,
        frame: pd.DataFrame,
        texts: tuple[str, ...],
        label: str | None,
        id_column: str | None,
        policy: CleanPolicy,
    ) -> None:
        self.frame = frame
        self.texts = texts
        self.policy = policy
        self.cells = {name: as_text(frame[name]) for name in texts}
        self.labels = as_text(frame[label]) if label else None
        self.label_column = label
        self.id_column = id_column
        self.ids = as_text(frame[id_column]) if id_column else [""] * len(frame)
        self.index = frame.index.to_list()
        self.removed: dict[int, tuple[Kind, str]] = {}
        self.report = CleanReport(rows_in=len(frame))

    def kept(self) -> Iterator[int]:
        return (row for row in range(len(self.frame)) if row not in self.removed)

    def named(self, row: int) -> str:
        return f"row {self.ids[row] or self.index[row]}"

    def found(
        self, kind: Kind, row: int, action: Action, column: str = "", detail: str = ""
    ) -> None:
        finding = Finding(kind, self.index[row], self.ids[row], column, action, detail)
        self.report.findings.append(finding)

    def judge(self, kind: Kind, row: int, fate: str, detail: str = "") -> None:
        if fate == "ignore":
            return
        self.found(kind, row, "removed" if fate == "remove" else "reported", detail=detail)
        if fate == "remove":
            self.removed[row] = (kind, detail)

    def label(self, row: int) -> str:
        return self.labels[row] if self.labels is not None else ""

    def text(self, row: int) -> str:
        """The text columns of a row as one text; empty when all are."""
        parts = [self.cells[name][row] for name in self.texts]
        return "\n".join(parts) if any(parts) else ""

    def result(self) -> CleanResult:
        kept, out = list(self.kept()), sorted(self.removed)
        cleaned = self.frame.iloc[kept].copy()
        changed: list[tuple[str, list[str]]] = list(self.cells.items())
        if self.label_column and self.labels is not None:
            changed.append((self.label_column, self.labels))
        for column, cells in changed:
            place = int(cleaned.columns.get_indexer(pd.Index([column]))[0])
            cleaned.insert(place + 1, f"{column}_original", cleaned[column].to_list())
            cleaned[column] = pd.Series([cells[r] for r in kept], cleaned.index, dtype="str")
        removed = self.frame.iloc[out].copy()
        removed["removed_because"] = [self.removed[row][0] for row in out]
        removed["removed_detail"] = [self.removed[row][1] for row in out]
        self.report.rows_out = len(kept)
        return CleanResult(cleaned, self.report, removed)


def as_text(column: pd.Series) -> list[str]:
    """Cells as text, missing ones empty, whole floats as the integers they were before pandas
    found a gap in their column."""
    missing = column.isna().to_list()
    return ["" if gone else _text(value) for value, gone in zip(column, missing, strict=True)]


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
