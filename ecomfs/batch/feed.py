"""The rows of an input that have no answer yet, in blocks, and how far a run has come."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ecomfs.batch.journal import Journal, row_key
from ecomfs.batch.selection import SelectedRows
from ecomfs.io import (
    Place,
    TableReader,
    TableRow,
)
from ecomfs.task import FieldMap, TaskCard
from ecomfs.types import Prediction, Row

CHUNK_ROWS = 8
_SCANNED = 4096
"""Most rows that one block reads, so that a long stretch of known rows shows as progress."""


class PendingRow(NamedTuple):
    """One row that is put to the model; equal rows have one key."""

    position: int
    key: bytes
    values: Row


@dataclass(slots=True)
class RowBlock:
    """Consecutive rows; a run handles them together, from reading to the journal.

    Attributes:
        number: of the block, counted from 0.
        stop: position of the first row after it.
        asked: those of its rows that have no answer and no earlier copy.
        rows: how many of its rows are scored, with or without the model.
        copied: how many of them are identical to an earlier one.
        progress: share of the input read with it; ``None`` when unknown.
        state: counts of :class:`SelectedRows` after it: met, kept, left out.
        place: where the first row after it begins in the file, if known.
        predictions: one per row of ``asked``, once the model has answered.
    """

    number: int
    stop: int
    asked: list[PendingRow] = field(default_factory=list)
    rows: int = 0
    copied: int = 0
    progress: float | None = None
    state: list[int] | None = None
    place: Place | None = None
    predictions: list[Prediction] = field(default_factory=list)


class Feed:
    """Goes over a table once, from the first row that the journal does not have.

    Only one thread may call :meth:`next` at a time; :meth:`forget` may come from any.
    """

    def __init__(
        self,
        reader: TableReader,
        selected: SelectedRows,
        mapping: FieldMap,
        card: TaskCard,
        journal: Journal,
    ) -> None:
        self._begun = reader, replace(selected), mapping, card, journal
        at = journal.get("place")
        self._chunks = reader.chunks(journal.through, Place(*at) if at else None)
        self._selected = selected
        self._mapping = mapping
        self._card = card
        self._journal = journal
        self._pending: set[bytes] = set()  # given out, and not yet in the journal
        self._number = 0
        self._stop = journal.through

    def again(self) -> Feed:
        """The same rows from where this one began, less those that the journal has by now."""
        reader, selected, mapping, card, journal = self._begun
        return Feed(reader, replace(selected), mapping, card, journal)

    def next(self, size: int) -> RowBlock | None:
        """A block of at least ``size`` rows without an answer, up to a chunk more, where the
        input has them; ``None`` at its end."""
        block = RowBlock(self._number, self._stop)
        scanned = 0
        while len(block.asked) < size and scanned < _SCANNED and not self._selected.full:
            rows: list[tuple[int, TableRow]] = []
            before = scanned
            while len(rows) < size - len(block.asked) and scanned < _SCANNED:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                scanned += len(chunk.rows)
                rows += self._selected.pick(chunk.rows, chunk.first)
                block.stop, block.progress = chunk.first + len(chunk.rows), chunk.progress
                block.place = chunk.place
            if scanned == before:
                break
            new = self._new(rows)
            block.rows += len(rows)
            block.asked += new
            block.copied += sum(not row.error for _, row in rows) - len(new)
        if not scanned:
            self.close()
            return None
        self._stop = block.stop
        self._number += 1
        block.state = [self._selected.met, self._selected.kept, self._selected.left_out]
        return block

    def close(self) -> None:
        """Close the input: a query would keep its database locked."""
        with suppress(ValueError):  # a second Ctrl-C does not wait for a thread that is reading
            self._chunks.close()

    def forget(self, keys: Iterable[bytes]) -> None:
        """The journal has the answers of these keys now."""
        self._pending.difference_update(keys)

    def _new(self, rows: list[tuple[int, TableRow]]) -> list[PendingRow]:
        first: dict[bytes, PendingRow] = {}
        for position, row in rows:
            if not row.error:
                values = self._mapping.fields(row.cells, self._card)
                key = row_key(values)
                if key not in self._pending and key not in first:
                    first[key] = PendingRow(position, key, values)
        # After the check of what is pending: a key leaves that set only once it is stored.
        known = self._journal.known(list(first)) if first else set()
        new = [pending for key, pending in first.items() if key not in known]
        self._pending.update(pending.key for pending in new)
        return new


@dataclass(slots=True)
class Watermark:
    """Up to which row everything is done, when blocks finish in any order.

    >>> mark = Watermark(0)
    >>> for number in (1, 0):
    ...     mark.add(RowBlock(number, stop=10 * (number + 1)))
    ...     print(mark.through)
    0
    20
    """

    through: int
    state: list[int] | None = None
    place: Place | None = None
    _next: int = 0
    _waiting: dict[int, RowBlock] = field(default_factory=dict)

    def add(self, block: RowBlock) -> None:
        """Note that a block is done."""
        self._waiting[block.number] = block
        while self._next in self._waiting:
            done = self._waiting.pop(self._next)
            self.through, self.state, self.place = done.stop, done.state, done.place
            self._next += 1

    def known(self) -> dict[str, Any]:
        """What a journal keeps, to resume from there; nothing before the first block is done."""
        known: dict[str, Any] = {}
        if self.state is not None:
            known["chosen"] = self.state
        if self.place is not None:
            known["place"] = [self.place.row, self.place.byte, self.place.line]
        return known
