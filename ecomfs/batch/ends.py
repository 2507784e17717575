"""The two ends of a runner: where rows come from, and where answers go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ecomfs.batch.feed import Block
from ecomfs.batch.journal import Entry
from ecomfs.io import Place


class Blocks(Protocol):
    """Rows to ask, block by block; a :class:`ecomfs.batch.feed.Feed` of a table is one."""

    def next(self, size: int) -> Block | None:
        """The next rows; ``None`` at the end."""

    def forget(self, keys: Iterable[bytes]) -> None:
        """The answers of these are stored."""


class Answers(Protocol):
    """Where answers are stored; a :class:`ecomfs.batch.journal.Journal` is one."""

    through: int

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        """Store answers, and that every row before position ``through`` is done."""


@dataclass(slots=True)
class Watermark:
    """Up to which row everything is done, when blocks finish in any order.

    >>> mark = Watermark(0)
    >>> for number in (1, 0):
    ...     mark.add(Block(number, stop=10 * (number + 1)))
    ...     print(mark.through)
    0
    20
    """

    through: int
    state: list[int] | None = None
    place: Place | None = None
    _next: int = 0
    _waiting: dict[int, Block] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        """A block is done."""
        self._waiting[block.number] = block
        while self._next in self._waiting:
            done = self._waiting.pop(self._next)
            self.through, self.state, self.place = done.stop, done.state, done.place
            self._next += 1

    def known(self) -> dict[str, Any]:
        """What a journal keeps, to go on from there."""
        known: dict[str, Any] = {"chosen": self.state}
        if self.place is not None:
            known["place"] = [self.place.row, self.place.byte, self.place.line]
        return known
