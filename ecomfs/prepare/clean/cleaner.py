"""Clean a table of examples: repair texts, then remove unusable rows with a reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import pandas as pd

from ecomfs.errors import ColumnError, ConfigError
from ecomfs.io import squeeze
from ecomfs.prepare.clean.near import Fingerprint, NearIndex, fingerprint
from ecomfs.prepare.clean.report import (
    Action,
    CleanPolicy,
    CleanReport,
    CleanResult,
    Finding,
    FindingKind,
)
from ecomfs.prepare.clean.text import clean_text, has_lost_characters
from ecomfs.task import plain_key


def clean(
    frame: pd.DataFrame,
    *,
    text_columns: Sequence[str],
    label_column: str | None = None,
    id_column: str | None = None,
    test: pd.DataFrame | None = None,
    policy: CleanPolicy | None = None,
    errors: Mapping[Hashable, str] | None = None,
    notes: Mapping[Hashable, str] | None = None,
) -> CleanResult:
    """Clean labelled examples, or unlabelled texts.

    Texts are repaired first. Then rows are examined in order; a row is removed for the first of
    these reasons that applies: unreadable, empty, unlabelled, over-long, leak, conflict,
    duplicate, near leak, near duplicate. Of duplicates the earliest stays. Near duplicates with
    *different* labels are only reported ("works" and "does not work" are near, too).

    Args:
        frame: one row per example; cells are read as text, missing ones as empty.
        text_columns: the columns to repair; together they are compared for duplicates.
        label_column: column of labels; without it labels are not checked.
        id_column: column of ids for the report; repeated ids are reported.
        test: test rows; the pool must not contain their texts. They are not changed or returned.
        policy: what to repair and what to remove.
        errors, notes: row index → why the row could not be read, or how (:class:`ecomfs.io.Frame`).

    Returns:
        The kept rows, the removed rows, and the report.

    Raises:
        ColumnError: a column is missing, or ``<column>_original`` exists already.
        ConfigError: no text column, a text column that is the label too, or a package that the
            policy needs is not installed.

    >>> data = pd.DataFrame({
    ...     "text": ["Works <b>well</b>!", "works well", "", "Broke at once"],
    ...     "label": ["good", "Good ", "bad", "bad"],
    ... })
    >>> result = clean(data, text_columns=["text"], label_column="label")
    >>> result.frame["text"].to_list()
    ['Works well!', 'Broke at once']
    >>> print(result.report)
    4 rows in, 2 out, 2 removed, 2 texts changed
      html              1 changed   HTML tags or entities
      label             1 changed   label spelt in another way
      empty             1 removed   no text
      duplicate         1 removed   the same text as an earlier row
    """
    if not text_columns:
        raise ConfigError("cleaning needs at least one text column")
    if label_column in text_columns:
        raise ConfigError(
            f"column {label_column!r} is named both as a text and as the label",
            hint="name two columns",
        )
    _check_columns(frame, [*text_columns, label_column, id_column], "the table")
    if test is not None:
        _check_columns(test, text_columns, "the test table")
    table = _Cleaning(frame, tuple(text_columns), label_column, id_column, policy or CleanPolicy())
    table.report_reading(errors or {}, notes or {})
    table.report_repeated_ids()
    table.clean_texts()
    table.unify_labels()
    table.examine_cells()
    table.compare(test)
    return table.result()


class _Cleaning:
    """The current texts and labels, the rows removed so far, and the report. Rows are addressed by
    position."""

    def __init__(
        self,
        frame: pd.DataFrame,
        texts: tuple[str, ...],
        label: str | None,
        id_column: str | None,
        policy: CleanPolicy,
    ) -> None:
        self.frame = frame
        self.policy = policy
        self.cells = {name: _as_text(frame[name]) for name in texts}
        self.labels = _as_text(frame[label]) if label else None
        self.label_column = label
        self.id_column = id_column
        self.ids = _as_text(frame[id_column]) if id_column else [""] * len(frame)
        self.index = frame.index.to_list()
        self.removed: dict[int, tuple[FindingKind, str]] = {}
        self.report = CleanReport(rows_in=len(frame))
        self.prints: dict[int, Fingerprint] = {}

    def report_reading(self, errors: Mapping[Hashable, str], notes: Mapping[Hashable, str]) -> None:
        """Report rows that could not be read, or only in another encoding."""
        for row, name in enumerate(self.index):
            if name in notes:
                self._found("encoding", row, "reported", detail=notes[name])
            if name in errors:
                self._apply("unreadable", row, self.policy.unreadable, errors[name])

    def report_repeated_ids(self) -> None:
        """Report ids that occur more than once."""
        first: dict[str, int] = {}
        for row, identifier in enumerate(self.ids if self.id_column else ()):
            earlier = first.setdefault(identifier, row)
            if earlier != row:
                detail = f"also on row {self.index[earlier]}"
                self._found("duplicate_id", row, "reported", self.id_column or "", detail)

    def clean_texts(self) -> None:
        """Repair every text; texts with lost characters are reported."""
        for column, cells in self.cells.items():
            for row in self._kept():
                cells[row], kinds = clean_text(cells[row], self.policy)
                for kind in kinds:
                    self._found(kind, row, "changed", column)
                if self.policy.mojibake and has_lost_characters(cells[row]):
                    detail = "characters are lost and cannot be restored"
                    self._found("mojibake", row, "reported", column, detail)

    def unify_labels(self) -> None:
        """Replace the spellings of a label by the most frequent one."""
        if self.labels is None or not self.policy.labels:
            return
        keys = [plain_key(squeeze(label)) for label in self.labels]
        spellings: dict[str, Counter[str]] = defaultdict(Counter)
        for key, label in zip(keys, self.labels, strict=True):
            spellings[key][squeeze(label)] += 1
        common = {key: counter.most_common(1)[0][0] for key, counter in spellings.items()}
        for row, (key, label) in enumerate(zip(keys, self.labels, strict=True)):
            if label != common[key]:
                detail = f"{label!r} is {common[key]!r}"
                self._found("label", row, "changed", self.label_column or "", detail)
                self.labels[row] = common[key]

    def examine_cells(self) -> None:
        """Find rows without text or label, and over-long ones."""
        limit = self.policy.max_chars
        for row in self._kept():
            longest = max(len(cells[row]) for cells in self.cells.values())
            if not longest:
                self._apply("empty", row, self.policy.empty)
            elif self.labels is not None and not self.labels[row].strip():
                self._apply("unlabelled", row, self.policy.unlabelled)
            elif longest > limit:
                detail = f"{longest:,} characters, the limit is {limit:,}"
                self._apply("over_long", row, self.policy.over_long, detail)

    def compare(self, test: pd.DataFrame | None) -> None:
        """Find leaks from the test table, conflicts and duplicates: equal texts first, then near
        duplicates."""
        texts = (
            (row, _joined([cells[row] for cells in self.cells.values()])) for row in self._kept()
        )
        self.prints = {row: fingerprint(text) for row, text in texts if text}
        seen = {} if test is None else self._test_prints(test)
        groups: dict[str, list[int]] = defaultdict(list)
        for row in self._left():
            key = self.prints[row].key
            if key in seen:
                self._apply("leak", row, self.policy.leak, f"test row {seen[key][0]}")
            if row not in self.removed:
                groups[key].append(row)
        for rows in groups.values():
            self._conflicts(rows)
            self._duplicates([row for row in rows if row not in self.removed])
        if self.policy.near_leak != "ignore" and seen:
            self._near_leaks(seen.values())
        if self.policy.near_duplicate != "ignore":
            self._near_duplicates()

    def result(self) -> CleanResult:
        kept, out = list(self._kept()), sorted(self.removed)
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

    def _conflicts(self, rows: list[int]) -> None:
        rows = [row for row in rows if self._label(row).strip()]  # no label contradicts none
        votes = Counter(self._label(row) for row in rows)
        policy = self.policy.conflict
        if len(votes) < 2 or policy == "ignore":
            return
        winner, most = votes.most_common(1)[0]
        counts = ", ".join(f"{label!r} × {n}" for label, n in votes.most_common())
        for row in rows:
            wins = policy == "majority" and 2 * most > len(rows) and self._label(row) == winner
            stays = policy == "report" or wins
            self._apply("conflict", row, "report" if stays else "remove", counts)

    def _duplicates(self, rows: list[int]) -> None:
        first: dict[str, int] = {}
        for row in rows:
            earlier = first.setdefault(self._label(row), row)
            if earlier != row:
                self._apply("duplicate", row, self.policy.duplicate, self._named(earlier))

    def _near_leaks(self, test: Iterable[tuple[Hashable, Fingerprint]]) -> None:
        index = NearIndex(self.policy.near_threshold)
        for name, item in test:
            index.add(name, item)
        for row in self._left():
            if near := index.matches(self.prints[row]):
                detail = f"test row {near[0][0]}, similarity {near[0][1]:.2f}"
                self._apply("near_leak", row, self.policy.near_leak, detail)

    def _near_duplicates(self) -> None:
        seen = NearIndex(self.policy.near_threshold)
        for row in self._left():
            # The most similar earlier row with the same label, and with another one.
            best: dict[bool, tuple[int, float]] = {}
            for earlier, score in seen.matches(self.prints[row]):
                best.setdefault(self._label(earlier) == self._label(row), (earlier, score))
            for same, (earlier, score) in best.items():
                detail = f"{self._named(earlier)}, similarity {score:.2f}"
                if not same and not (self._label(row).strip() and self._label(earlier).strip()):
                    continue
                if same:
                    self._apply("near_duplicate", row, self.policy.near_duplicate, detail)
                else:
                    detail += f", label {self._label(earlier)!r}"
                    self._found("near_conflict", row, "reported", detail=detail)
            if row not in self.removed:
                seen.add(row, self.prints[row])

    def _test_prints(self, test: pd.DataFrame) -> dict[str, tuple[Hashable, Fingerprint]]:
        """Key → name and fingerprint of the first test row with that text, after the same
        cleaning."""
        prints: dict[str, tuple[Hashable, Fingerprint]] = {}
        columns = [_as_text(test[name]) for name in self.cells]
        for name, parts in zip(test.index.to_list(), zip(*columns, strict=True), strict=True):
            if text := _joined([clean_text(part, self.policy)[0] for part in parts]):
                item = fingerprint(text)
                prints.setdefault(item.key, (name, item))
        return prints

    def _kept(self) -> Iterator[int]:
        return (row for row in range(len(self.frame)) if row not in self.removed)

    def _left(self) -> list[int]:
        return [row for row in self.prints if row not in self.removed]

    def _label(self, row: int) -> str:
        return self.labels[row] if self.labels is not None else ""

    def _named(self, row: int) -> str:
        return f"row {self.ids[row] or self.index[row]}"

    def _found(
        self, kind: FindingKind, row: int, action: Action, column: str = "", detail: str = ""
    ) -> None:
        finding = Finding(kind, self.index[row], self.ids[row], column, action, detail)
        self.report.findings.append(finding)

    def _apply(self, kind: FindingKind, row: int, policy: str, detail: str = "") -> None:
        """Remove a row, report it, or ignore what was found, as the policy says."""
        if policy == "ignore":
            return
        self._found(kind, row, "removed" if policy == "remove" else "reported", detail=detail)
        if policy == "remove":
            self.removed[row] = (kind, detail)


def _check_columns(frame: pd.DataFrame, names: Sequence[str | None], what: str) -> None:
    for name in names:
        if name is None:
            continue
        if name not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise ColumnError(f"{what} has no column {name!r}", hint=f"columns are: {there}")
        if what == "the table" and f"{name}_original" in frame.columns:
            hint = "rename it; originals are kept under that name"
            raise ColumnError(f"{what} already has a column '{name}_original'", hint=hint)


def _joined(parts: Sequence[str]) -> str:
    """The text columns of a row as one text; empty if all are empty."""
    return "\n".join(parts) if any(parts) else ""


def _as_text(column: pd.Series) -> list[str]:
    """Cells as text, missing ones empty. Whole floats become integers again: pandas converts an
    integer column with missing values to float."""
    missing = column.isna().to_list()
    return ["" if gone else _text(value) for value, gone in zip(column, missing, strict=True)]


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
