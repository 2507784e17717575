"""The steps that look at one cell at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping

from ecomfs.io import one_width, squeeze
from ecomfs.prepare.clean.ledger import Ledger
from ecomfs.prepare.clean.mend import mend
from ecomfs.prepare.clean.mojibake import is_ruined


def note_reading(
    ledger: Ledger, errors: Mapping[Hashable, str], notes: Mapping[Hashable, str]
) -> None:
    """What the reader had to say."""
    for row, name in enumerate(ledger.index):
        if name in notes:
            ledger.found("encoding", row, "reported", detail=notes[name])
        if name in errors:
            ledger.judge("unreadable", row, ledger.policy.unreadable, detail=errors[name])


def report_doubled_ids(ledger: Ledger) -> None:
    """Ids that two rows share; without an id column there is nothing to see."""
    column = ledger.id_column
    if column is None:
        return
    first: dict[str, int] = {}
    for row, identifier in enumerate(ledger.ids):
        earlier = first.setdefault(identifier, row)
        if earlier != row:
            detail = f"also on row {ledger.index[earlier]}"
            ledger.found("duplicate_id", row, "reported", column, detail)


def mend_texts(ledger: Ledger) -> None:
    """Every text as the policy wants it; texts that are ruined for good are reported."""
    for column, cells in ledger.cells.items():
        for row in ledger.kept():
            cells[row], kinds = mend(cells[row], ledger.policy)
            for kind in kinds:
                ledger.found(kind, row, "changed", column)
            if ledger.policy.mojibake and is_ruined(cells[row]):
                detail = "characters are lost for good"
                ledger.found("mojibake", row, "reported", column, detail)


def unify_labels(ledger: Ledger) -> None:
    """One spelling a label, the most frequent one."""
    if ledger.labels is None or not ledger.policy.labels:
        return
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for label in ledger.labels:
        spellings[_label_key(label)][squeeze(label)] += 1
    chosen = {key: counter.most_common(1)[0][0] for key, counter in spellings.items()}
    for row, label in enumerate(ledger.labels):
        common = chosen[_label_key(label)]
        if label != common:
            detail = f"{label!r} is {common!r}"
            ledger.found("label", row, "changed", ledger.label_column or "", detail)
            ledger.labels[row] = common


def examine_cells(ledger: Ledger) -> None:
    """Rows without text or label, and over-long ones."""
    limit = ledger.policy.max_chars
    for row in ledger.kept():
        longest = max(len(ledger.cells[name][row]) for name in ledger.texts)
        if not longest:
            ledger.judge("empty", row, ledger.policy.empty)
        elif ledger.labels is not None and not ledger.labels[row].strip():
            ledger.judge("unlabelled", row, ledger.policy.unlabelled)
        elif longest > limit:
            detail = f"{longest:,} characters, the limit is {limit:,}"
            ledger.judge("over_long", row, ledger.policy.over_long, detail=detail)


def _label_key(label: str) -> str:
    # Not NFKC, which makes M² and M2 one label.
    return squeeze(one_width(label)).casefold()
