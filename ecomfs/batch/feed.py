"""The rows that still have to be asked, block by block: read, chosen, and identical ones once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ecomfs.batch.answer import row_key
from ecomfs.batch.journal import Journal
from ecomfs.batch.select import Chosen
from ecomfs.io import Place, TableReader, TableRow
from ecomfs.task import FieldMap, TaskCard
from ecomfs.types import Row

CHUNK_ROWS = 8
_SCANNED = 4096
"""Most rows a block passes over, so that a long stretch of known rows shows as progress."""


class Asked(NamedTuple):
    """One row that has to be asked."""

    position: int
    key: bytes
    values: Row


@dataclass(slots=True)
class Block:
    """Consecutive rows.

    Attributes:
        number: of the block, counted from 0.
        stop: position of the first row after it.
        asked: those of its rows that no earlier one answers.
        rows: how many of its rows are scored, asked or not.
        copied: how many of them are identical to an earlier one.
        progress: share of the input read with it; ``None`` when unknown.
        state: of the selection after it.
        place: where the first row after it begins in the file, if known.
    """

    number: int
    stop: int
    asked: list[Asked] = field(default_factory=list)
    rows: int = 0
    copied: int = 0
    progress: float | None = None
    state: Any = None
    place: Place | None = None


class Feed:
    """Goes over a table once, from the first row that the journal does not know to be done.

    Only one thread may call :meth:`next` at a time; :meth:`forget` may come from any.
    """

    def __init__(
        self,
        reader: TableReader,
        chosen: Chosen,
        mapping: FieldMap,
        card: TaskCard,
        journal: Journal,
    ) -> None:
        at = journal.get("place")
        self._chunks = reader.chunks(journal.through, Place(*at) if at else None)
        self._chosen = chosen
        self._mapping = mapping
        self._card = card
        self._journal = journal
        self._pending: set[bytes] = set()  # asked, and not yet in the journal
        self._number = 0
        self._stop = journal.through

    def next(self, size: int) -> Block | None:
        """A block of at least ``size`` rows to ask, up to a chunk more, where the input has
        them; ``None`` at its end."""
        block = Block(self._number, self._stop)
        scanned = 0
        while len(block.asked) < size and scanned < _SCANNED and not self._chosen.full:
            rows: list[tuple[int, TableRow]] = []
            before = scanned
            while len(rows) < size - len(block.asked) and scanned < _SCANNED:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                scanned += len(chunk)
                rows += self._chosen.of(chunk.rows, chunk.first)
                block.stop, block.progress = chunk.first + len(chunk), chunk.progress
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
        block.state = self._chosen.state
        return block

    def close(self) -> None:
        """Close the input: a query would keep its database locked."""
        with suppress(ValueError):  # a second Ctrl-C does not wait for a thread that is reading
            self._chunks.close()

    def forget(self, keys: Iterable[bytes]) -> None:
        """These are in the journal now."""
        self._pending.difference_update(keys)

    def _new(self, rows: list[tuple[int, TableRow]]) -> list[Asked]:
        first: dict[bytes, Asked] = {}
        for position, row in rows:
            if not row.error:
                values = self._mapping.fields(row.cells, self._card)
                key = row_key(values)
                if key not in self._pending and key not in first:
                    first[key] = Asked(position, key, values)
        # Asked after the check of what is pending: a key leaves that set only once it is stored.
        known = self._journal.known(list(first)) if first else set()
        new = [asked for key, asked in first.items() if key not in known]
        self._pending.update(asked.key for asked in new)
        return new
