"""Reads the rows to score: finds the columns, selects rows (``--where``, ``--sample``,
``--limit``), and yields the rows without an answer in blocks.
"""

from __future__ import annotations

import math
import operator
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from ecomfs.batch.journal import Journal, row_key
from ecomfs.errors import ConfigError, InputError, RowError
from ecomfs.features import CURRENCIES
from ecomfs.io import (
    ColumnNumbers,
    DecimalMark,
    NumberError,
    Place,
    TableReader,
    TableRow,
    mark_in_words,
    read_number,
)
from ecomfs.task import FieldMap, TaskCard
from ecomfs.types import Prediction, Row


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table with the card's fields, the ids and the true labels."""

    fields: FieldMap
    id: str | None
    gold: str | None


def find_columns(
    source: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
    encoding: str | None = None,
    reader: TableReader | None = None,
) -> Columns:
    """Open a table and find its columns; a quick check before a model is loaded.

    Parameters
    ----------
    source : str or Path
        Any input of :class:`ecomfs.io.TableReader`.
    card : TaskCard
        The task.
    fields : mapping, optional
        Card field → column, where names differ.
    id_column, gold_column : str, optional
        Columns of ids and of true labels; ids are in column ``id`` by default.
    encoding : str, optional
        Encoding of a table that is not UTF-8; detected by default.
    reader : TableReader, optional
        The reader of the table, if it is open already.

    Raises
    ------
    InputError
        The file cannot be read, a column is missing, or rows with true labels are synthetic.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ecomfs.task import load_task
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("Id,text,stars\\n7,fits well,5\\n")
    >>> columns = find_columns(path, load_task("review_sentiment"), gold_column="stars")
    >>> columns.id, dict(columns.fields.columns), columns.gold
    ('Id', {'text': 'text'}, 'stars')
    """
    reader = reader or TableReader(source, encoding=encoding)
    for named in (id_column, gold_column):
        if named is not None:
            reader.require(named)
    mapping = FieldMap.resolve(card, reader.header, fields, reader.name)
    found = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if gold_column is not None:
        _refuse_synthetic(reader, {*mapping.columns.values(), gold_column, found or ""})
    return Columns(mapping, found, gold_column)


def read_marks(mapping: FieldMap, card: TaskCard, reader: TableReader) -> FieldMap:
    """Detect the decimal marks of the number columns of a table.

    Parameters
    ----------
    mapping : FieldMap
        The fields of the table.
    card : TaskCard
        The task; if it has number fields, the table is read once.
    reader : TableReader
        The reader of the table.

    Raises
    ------
    InputError
        See :meth:`ecomfs.task.FieldMap.decided`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ecomfs.task import load_task
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("income;month\\n900,50;May\\n")
    >>> card, reader = load_task("ad_response"), TableReader(path)
    >>> read_marks(FieldMap.resolve(card, reader.header), card, reader).conventions(card)
    {'income': 'decimal comma'}
    """
    delimiter = reader.dialect.delimiter
    return mapping.decided(
        card,
        (row.cells for row in reader.rows() if not row.error),
        where=reader.name,
        likely="comma" if delimiter == ";" else "",
        typed=not delimiter,
    )


_YES = frozenset({"yes", "true", "1", "y"})
_NO = frozenset({"", "no", "false", "0", "n"})


def origin_column(header: Sequence[str], taken: Collection[str]) -> str | None:
    """The column ``synthetic``, unless the task or the user uses it for something else (``taken``).

    >>> origin_column(["text", "Synthetic"], ["text"]), origin_column(["text"], ["text"])
    ('Synthetic', None)
    """
    return next((c for c in header if c.casefold() == "synthetic" and c not in taken), None)


def origin_of(cells: Mapping[str, Any], column: str | None, where: str) -> tuple[bool, str, str]:
    """Whether a row is synthetic, its source, and its method.

    Raises
    ------
    InputError
        The cell is neither yes nor no.

    Examples
    --------
    >>> origin_of({"synthetic": "yes", "source_id": "r1"}, "synthetic", "pool.csv, line 2")
    (True, 'r1', '')
    >>> origin_of({"method": "credit card"}, None, "pool.csv, line 2")
    (False, '', '')
    """
    mark = "" if column is None else str(cells.get(column, "")).strip().casefold()
    if mark in _NO:
        return False, "", ""
    if mark not in _YES:
        raise InputError(
            f"{where}: column {column!r} is {cells[column or '']!r}", hint="write yes or no"
        )
    known = {name.casefold(): str(cells[name]).strip() for name in reversed(list(cells))}
    return True, known.get("source_id", ""), known.get("method", "")


def _refuse_synthetic(reader: TableReader, taken: Collection[str]) -> None:
    """Refuse a table with true labels if rows are synthetic."""
    column = origin_column(reader.header, taken)
    if column is None:
        return
    for row in reader.rows():
        where = f"{reader.name}, line {row.line}"
        if not row.error and origin_of(row.cells, column, where)[0]:
            raise InputError(
                f"{where}: a synthetic example must not be used as a test row",
                hint=f"remove the rows with {column} = {row.cells[column]}",
            )


_CONDITION = re.compile(
    r"^\s*(?P<column>.*?)\s*(?P<op><=|>=|!=|=|<|>|~)\s*(?P<value>.*?)\s*$", re.S
)
_MARKED = re.compile(r"(?P<column>.*):(?P<mark>comma|point)", re.S)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one column.

    ``=`` and ``!=`` compare texts without outer spaces; ``<``, ``<=``, ``>``, ``>=`` compare
    numbers, and a cell that is not a number does not match; ``~`` searches a regular expression in
    the cell. :meth:`Selection.checked` detects the decimal mark of the column, unless
    ``COLUMN:comma`` or ``COLUMN:point`` sets it.

    >>> condition = Condition.parse("price >= 9.5")
    >>> [condition.holds({"price": cell}) for cell in ("10", "9", "free")]
    [True, False, False]
    >>> Condition.parse("shop=A=B").value
    'A=B'
    """

    column: str
    op: str
    value: str
    number: float = math.nan
    mark: DecimalMark = ""
    pattern: re.Pattern[str] | None = None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse ``COLUMN OP VALUE``.

        Raises
        ------
        ConfigError
            The text is not a condition, or its number or regular expression is invalid.
        """
        match = _CONDITION.match(text)
        if match is None or not match["column"]:
            raise ConfigError(
                f"--where {text!r}", hint="write COLUMN OP VALUE with OP one of = != < <= > >= ~"
            )
        column, op, value = match["column"], match["op"], match["value"]
        number, pattern = math.nan, None
        if op in _ORDER:
            try:
                number = _number(value)
            except NumberError:
                pass  # ambiguous: the decimal mark of the column decides
            else:
                if math.isnan(number):
                    raise ConfigError(
                        f"--where {text!r}: {op} compares numbers; {value!r} is not a number"
                    )
        elif op == "~":
            try:
                pattern = re.compile(value)
            except re.error as error:
                raise ConfigError(f"--where {text!r}: not a regular expression: {error}") from error
        return cls(column, op, value, number, pattern=pattern)

    def checked(self, reader: TableReader) -> Condition:
        """The condition with the decimal mark of its column.

        Raises
        ------
        ColumnError
            There is no such column.
        InputError
            The column mixes decimal marks, or its mark cannot be decided.
        """
        column, mark = self.column, self.mark
        named = _MARKED.fullmatch(column)
        if column not in reader.header and named is not None and self.op in _ORDER:
            column, mark = named["column"], cast("DecimalMark", named["mark"])
        reader.require(column)
        if self.op not in _ORDER:
            return self
        if not mark:
            numbers = ColumnNumbers(column, "comma" if reader.dialect.delimiter == ";" else "")
            for row in reader.rows():
                numbers.add(row.cells[column])
            try:
                mark = numbers.decided()
            except RowError as error:
                hint = f"name it: --where '{column}:comma {self.op} {self.value}'"
                hint = error.hint if numbers.mixed else hint
                raise InputError(f"{reader.name}: {error.message}", hint=hint) from error
        number = self.number
        if math.isnan(number):  # ambiguous, such as 1,234: read it like the column
            number = _number(self.value, mark or "point")
        return replace(self, column=column, mark=mark, number=number)

    def holds(self, cells: Mapping[str, str]) -> bool:
        """Whether a row meets the condition."""
        cell = cells[self.column]
        if self.pattern is not None:
            return self.pattern.search(cell) is not None
        if self.op in _ORDER:
            return _ORDER[self.op](_number(cell, self.mark), self.number)
        return (cell.strip() == self.value) is (self.op == "=")


def _number(text: str, mark: DecimalMark = "") -> float:
    """A number, ignoring a currency or percent sign; NaN for other texts, so that every comparison
    is false.

    Raises
    ------
    NumberError
        The number is ambiguous, and ``mark`` is not given.
    """
    try:
        try:
            found = read_number(text, mark)
        except NumberError:
            found = read_number(text)  # a given mark is used only for ambiguous cells
    except NumberError as error:
        if error.unclear:
            raise
        return math.nan
    beside = {found.before.casefold(), found.after.casefold()} - {"", "%"}
    return math.nan if beside - CURRENCIES.keys() else found.value


@dataclass(frozen=True, slots=True)
class Selection:
    """The selection of rows to score.

    Attributes
    ----------
    where : tuple of Condition
        Conditions that a row must meet.
    sample : int, optional
        Size of a sample of the remaining rows, drawn without replacement.
    limit : int, optional
        Most rows; the first ones are taken.
    seed : int
        Seed of the sample.

    Raises
    ------
    ConfigError
        A number below 1.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("text,price\\nmug,9\\nlamp,20\\nrug,40\\n")
    >>> reader = TableReader(path)
    >>> rows = Selection((Condition.parse("price>10"),), limit=1).over(reader)
    >>> [(at, row.cells["text"]) for at, row in rows.pick(list(reader.rows()), 0)], rows.left_out
    ([(1, 'lamp')], 1)
    """

    where: tuple[Condition, ...] = ()
    sample: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("--sample", self.sample), ("--limit", self.limit)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value}", hint="use 1 or more")

    @property
    def numbers(self) -> dict[str, str]:
        """Column → decimal mark in words, for conditions that compare numbers."""
        return {w.column: mark_in_words(w.mark) for w in self.where if w.mark}

    def identity(self) -> dict[str, object] | None:
        """The selection as plain values; ``None`` if every row is selected."""
        if not (self.where or self.sample or self.limit):
            return None
        return {
            "where": [[w.column, w.op, w.value] for w in self.where],
            "sample": None if self.sample is None else [self.sample, self.seed],
            "limit": self.limit,
        }

    def checked(self, reader: TableReader) -> Selection:
        """The selection with the decimal marks of a table's columns.

        Raises
        ------
        ColumnError, InputError
            See :meth:`Condition.checked`.
        """
        return replace(self, where=tuple(w.checked(reader) for w in self.where))

    def over(self, reader: TableReader) -> SelectedRows:
        """Apply the selection to a table. A comparison of numbers reads the table once, a sample
        once more. Raises the errors of :meth:`checked`."""
        known = self.checked(reader)
        drawn: frozenset[int] | None = None
        if self.sample is not None:
            count = sum(all(w.holds(row.cells) for w in known.where) for row in reader.rows())
            if self.sample < count:
                drawn = frozenset(random.Random(self.seed).sample(range(count), self.sample))
        return SelectedRows(known, drawn)


@dataclass(slots=True)
class SelectedRows:
    """Picks the selected rows of a table, in order.

    Attributes:
        selection: the selection with the decimal marks of the table.
        drawn: which of the rows that meet the conditions are in the sample; ``None``: all.
        met, kept, left_out: number of rows so far that meet the conditions, were picked, and were
            left out.
    """

    selection: Selection
    drawn: frozenset[int] | None
    met: int = 0
    kept: int = 0
    left_out: int = 0

    @property
    def full(self) -> bool:
        """Whether no further row can be picked."""
        return self.selection.limit is not None and self.kept >= self.selection.limit

    def pick(self, rows: Iterable[TableRow], first: int) -> Iterator[tuple[int, TableRow]]:
        """The selected rows among the next ones, with their positions; ``first`` is the first
        position."""
        for position, row in enumerate(rows, first):
            if self.full:
                return
            met = all(w.holds(row.cells) for w in self.selection.where)
            self.met += met
            if met and (self.drawn is None or self.met - 1 in self.drawn):
                self.kept += 1
                yield position, row
            else:
                self.left_out += 1


CHUNK_ROWS = 8
_SCANNED = 4096
"""Most rows read for one block, so that many rows with known answers still show progress."""


class PendingRow(NamedTuple):
    """One row that needs an answer; equal rows have the same key."""

    position: int
    key: bytes
    values: Row


@dataclass(slots=True)
class RowBlock:
    """Consecutive rows that pass through a run together.

    Attributes:
        number: number of the block, from 0.
        stop: position of the first row after the block.
        asked: its rows without an answer and without an earlier copy.
        rows: number of rows to score in the block.
        copied: number of rows identical to an earlier one.
        progress: share of the input read after this block; ``None`` if unknown.
        state: counts of :class:`SelectedRows` after the block: met, kept, left out.
        place: offset in the file of the first row after the block, if known.
        predictions: one per row of ``asked``, when available.
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
    """Reads a table once, from the first row that is not in the journal.

    Only one thread may call :meth:`next` at a time; :meth:`forget` is thread-safe.
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
        self._pending: set[bytes] = set()  # returned by next(), not yet in the journal
        self._number = 0
        self._stop = journal.through

    def again(self) -> Feed:
        """A new feed from the same start, without the rows that are in the journal by now."""
        reader, selected, mapping, card, journal = self._begun
        return Feed(reader, replace(selected), mapping, card, journal)

    def next(self, size: int) -> RowBlock | None:
        """A block of at least ``size`` rows without an answer, if the input has them, and up to a
        chunk more; ``None`` at the end."""
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
        """Close the input; an open query would keep its database locked."""
        with suppress(ValueError):  # after a second Ctrl-C another thread may still be reading
            self._chunks.close()

    def forget(self, keys: Iterable[bytes]) -> None:
        """Note that the journal has the answers of these keys."""
        self._pending.difference_update(keys)

    def _new(self, rows: list[tuple[int, TableRow]]) -> list[PendingRow]:
        first: dict[bytes, PendingRow] = {}
        for position, row in rows:
            if not row.error:
                values = self._mapping.fields(row.cells, self._card)
                key = row_key(values)
                if key not in self._pending and key not in first:
                    first[key] = PendingRow(position, key, values)
        # After the check of pending keys: a key leaves that set only when its answer is stored.
        known = self._journal.known(list(first)) if first else set()
        new = [pending for key, pending in first.items() if key not in known]
        self._pending.update(pending.key for pending in new)
        return new


@dataclass(slots=True)
class Watermark:
    """The position up to which all rows are done, while blocks finish in any order.

    >>> mark = Watermark(0)
    >>> for number in (1, 0):
    ...     mark.add(RowBlock(number, stop=10 * (number + 1)))
    ...     print(mark.through)
    0
    20
    """

    through: int
    known: dict[str, Any] = field(default_factory=dict)
    """The values stored in the journal to resume; empty before the first block is done."""
    _next: int = 0
    _waiting: dict[int, RowBlock] = field(default_factory=dict)

    def add(self, block: RowBlock) -> None:
        """Note that a block is done."""
        self._waiting[block.number] = block
        while self._next in self._waiting:
            done = self._waiting.pop(self._next)
            self.through, place = done.stop, done.place
            if done.state is not None:
                self.known["chosen"] = done.state
            if place is not None:
                self.known["place"] = [place.row, place.byte, place.line]
            else:
                self.known.pop("place", None)
            self._next += 1
