"""The steps that compare rows: leakage, conflicts, duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

import pandas as pd

from ecomfs.prepare.clean.ledger import Ledger, as_text
from ecomfs.prepare.clean.mend import mend
from ecomfs.prepare.clean.near import NearIndex, Print, fingerprint


class Comparison:
    """Compares the rows of a ledger with each other and with a test table."""

    def __init__(self, ledger: Ledger, test: pd.DataFrame | None) -> None:
        self._ledger = ledger
        texts = ((row, ledger.text(row)) for row in ledger.kept())
        self._prints = {row: fingerprint(text) for row, text in texts if text}
        self._test = self._test_prints(test) if test is not None else {}

    def examine_equality(self) -> None:
        """Leaks, conflicts and duplicates among texts that are equal."""
        ledger = self._ledger
        groups: dict[str, list[int]] = defaultdict(list)
        for row in self._left():
            key = self._prints[row].key
            if key in self._test:
                detail = f"test row {self._test[key][0]}"
                ledger.judge("leak", row, ledger.policy.leak, detail=detail)
            if row not in ledger.removed:
                groups[key].append(row)
        for rows in groups.values():
            self._conflicts(rows)
            self._duplicates([row for row in rows if row not in ledger.removed])

    def examine_nearness(self) -> None:
        """The same for texts that are nearly equal."""
        policy = self._ledger.policy
        if policy.near_leak != "ignore" and self._test:
            self._near_leaks()
        if policy.near_duplicate != "ignore":
            self._near_duplicates()

    def _near_leaks(self) -> None:
        ledger = self._ledger
        index = NearIndex(ledger.policy.near_threshold)
        for name, item in self._test.values():
            index.add(name, item)
        for row in self._left():
            if near := index.matches(self._prints[row]):
                detail = f"test row {near[0][0]}, similarity {near[0][1]:.2f}"
                ledger.judge("near_leak", row, ledger.policy.near_leak, detail=detail)

    def _near_duplicates(self) -> None:
        ledger = self._ledger
        seen = NearIndex(ledger.policy.near_threshold)
        for row in self._left():
            for earlier, score in self._nearest(seen, row):
                detail = f"{ledger.named(earlier)}, similarity {score:.2f}"
                if ledger.label(earlier) == ledger.label(row):
                    fate = ledger.policy.near_duplicate
                    ledger.judge("near_duplicate", row, fate, detail=detail)
                else:
                    detail += f", label {ledger.label(earlier)!r}"
                    ledger.found("near_conflict", row, "reported", detail=detail)
            if row not in ledger.removed:
                seen.add(row, self._prints[row])

    def _nearest(self, index: NearIndex, row: int) -> Iterable[tuple[int, float]]:
        """The most similar earlier row with the same label, and with another one."""
        label = self._ledger.label
        best: dict[bool, tuple[int, float]] = {}
        for earlier, score in index.matches(self._prints[row]):
            best.setdefault(label(earlier) == label(row), (earlier, score))
        return best.values()

    def _conflicts(self, rows: list[int]) -> None:
        ledger = self._ledger
        votes = Counter(ledger.label(row) for row in rows)
        fate = ledger.policy.conflict
        if len(votes) < 2 or fate == "ignore":
            return
        winner, most = votes.most_common(1)[0]
        said = ", ".join(f"{label!r} × {n}" for label, n in votes.most_common())
        for row in rows:
            wins = fate == "majority" and 2 * most > len(rows) and ledger.label(row) == winner
            stays = fate == "report" or wins
            ledger.judge("conflict", row, "report" if stays else "remove", detail=said)

    def _duplicates(self, rows: list[int]) -> None:
        ledger = self._ledger
        first: dict[str, int] = {}
        for row in rows:
            earlier = first.setdefault(ledger.label(row), row)
            if earlier != row:
                detail = ledger.named(earlier)
                ledger.judge("duplicate", row, ledger.policy.duplicate, detail=detail)

    def _left(self) -> list[int]:
        return [row for row in self._prints if row not in self._ledger.removed]

    def _test_prints(self, test: pd.DataFrame) -> dict[str, tuple[Hashable, Print]]:
        """Key → name and print of the first test row with that text, mended as the pool is."""
        prints: dict[str, tuple[Hashable, Print]] = {}
        columns = [as_text(test[name]) for name in self._ledger.texts]
        for name, parts in zip(test.index.to_list(), zip(*columns, strict=True), strict=True):
            mended = [mend(part, self._ledger.policy)[0] for part in parts]
            if any(mended):
                item = fingerprint("\n".join(mended))
                prints.setdefault(item.key, (name, item))
        return prints
