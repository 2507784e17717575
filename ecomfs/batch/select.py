"""Which rows of a table are scored: ``--where``, ``--sample``, ``--limit``."""

from __future__ import annotations

import math
import operator
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ecomfs.errors import ConfigError, InputError, RowError
from ecomfs.features import CURRENCIES
from ecomfs.io import (
    ColumnNumbers,
    DecimalMark,
    NumberError,
    TableReader,
    TableRow,
    mark_in_words,
    read_number,
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
class Where:
    """A condition on one column.

    ``=`` and ``!=`` compare text, outer space aside; ``<``, ``<=``, ``>``, ``>=`` compare
    numbers, and a cell that is no number does not match; ``~`` is a regular expression found
    anywhere in the cell. Numbers have the decimal mark of their column, which
    :meth:`Selection.over` finds out, or that ``COLUMN:comma`` or ``COLUMN:point`` names.

    >>> where = Where.parse("price >= 9.5")
    >>> [where.holds({"price": cell}) for cell in ("10", "9", "free")]
    [True, False, False]
    >>> Where.parse("shop=A=B").value
    'A=B'
    """

    column: str
    op: str
    value: str
    number: float = math.nan
    mark: DecimalMark = ""
    pattern: re.Pattern[str] | None = None

    @classmethod
    def parse(cls, text: str) -> Where:
        """``column op value``.

        Raises:
            ConfigError: it is no such condition, a number or a regular expression is not one.
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
                pass  # over a table its column says which of two numbers it is
            else:
                if math.isnan(number):
                    raise ConfigError(f"--where {text!r}: {op} compares numbers, {value!r} is none")
        elif op == "~":
            try:
                pattern = re.compile(value)
            except re.error as error:
                raise ConfigError(f"--where {text!r}: not a regular expression: {error}") from error
        return cls(column, op, value, number, pattern=pattern)

    def over(self, reader: TableReader) -> Where:
        """The condition with the decimal mark of its column.

        Raises:
            ColumnError: there is no such column.
            InputError: the column mixes decimal marks, or does not say its own.
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
                hint = f"say it: --where '{column}:comma {self.op} {self.value}'"
                hint = error.hint if numbers.mixed else hint
                raise InputError(f"{reader.name}: {error.message}", hint=hint) from error
        number = self.number
        if math.isnan(number):  # 1,234 is what it would be in the column
            number = _number(self.value, mark or "point")
        return replace(self, column=column, mark=mark, number=number)

    def holds(self, cells: Mapping[str, str]) -> bool:
        """Whether a row is meant."""
        cell = cells[self.column]
        if self.pattern is not None:
            return self.pattern.search(cell) is not None
        if self.op in _ORDER:
            return _ORDER[self.op](_number(cell, self.mark), self.number)
        return (cell.strip() == self.value) is (self.op == "=")


def _number(text: str, mark: DecimalMark = "") -> float:
    """A number, whatever currency or percent sign stands beside it; NaN for anything else, which
    compares false with everything.

    Raises:
        NumberError: it has two readings, and ``mark`` does not say which.
    """
    try:
        try:
            found = read_number(text, mark)
        except NumberError:
            found = read_number(text)  # a mark that was named decides where a cell does not
    except NumberError as error:
        if error.unclear:
            raise
        return math.nan
    beside = {found.before.casefold(), found.after.casefold()} - {"", "%"}
    return math.nan if beside - CURRENCIES.keys() else found.value


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are scored.

    Attributes:
        where: all of these conditions hold.
        sample: this many of the rows left, drawn without replacement.
        limit: of the rows left, the first.
        seed: of the sample.

    Raises:
        ConfigError: a number below 1.
    """

    where: tuple[Where, ...] = ()
    sample: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("--sample", self.sample), ("--limit", self.limit)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value}", hint="1 or more")

    @property
    def everything(self) -> bool:
        """No row is left out."""
        return not self.where and self.sample is None and self.limit is None

    @property
    def numbers(self) -> dict[str, str]:
        """Column → decimal mark in words, of conditions that compare numbers of a table."""
        return {w.column: mark_in_words(w.mark) for w in self.where if w.mark}

    def identity(self) -> dict[str, object] | None:
        """As plain values; ``None`` when every row is meant."""
        if self.everything:
            return None
        return {
            "where": [[w.column, w.op, w.value] for w in self.where],
            "sample": None if self.sample is None else [self.sample, self.seed],
            "limit": self.limit,
        }

    def over(self, reader: TableReader) -> Chosen:
        """The selection on one table; a comparison of numbers reads the table once, a sample
        once more.

        Raises:
            ColumnError: a condition names a column that is not there.
            InputError: see :meth:`Where.over`.
        """
        return self.checked(reader)._drawn(reader)

    def checked(self, reader: TableReader) -> Selection:
        """The selection with the decimal marks of a table's columns.

        Raises:
            ColumnError, InputError: see :meth:`Where.over`.
        """
        return replace(self, where=tuple(w.over(reader) for w in self.where))

    def _drawn(self, reader: TableReader) -> Chosen:
        drawn: frozenset[int] | None = None
        if self.sample is not None:
            count = sum(1 for row in reader.rows() if self._meant(row))
            if self.sample < count:
                drawn = frozenset(random.Random(self.seed).sample(range(count), self.sample))
        return Chosen(self, drawn)

    def _meant(self, row: TableRow) -> bool:
        return all(w.holds(row.cells) for w in self.where)


class Chosen:
    """Goes over a table's rows in order and says which are scored.

    Attributes:
        selection: with the decimal marks of the table.
        left_out: rows passed over so far.
        kept: rows chosen so far.
    """

    def __init__(self, selection: Selection, drawn: frozenset[int] | None) -> None:
        self.selection = selection
        self._drawn = drawn
        self._most = selection.limit if selection.limit is not None else math.inf
        self._meant = 0
        self.left_out = 0
        self.kept = 0

    def fresh(self) -> Chosen:
        """The same choice, from the first row."""
        return Chosen(self.selection, self._drawn)

    @property
    def state(self) -> list[int]:
        """Where it stands, to go on from later."""
        return [self._meant, self.kept, self.left_out]

    @state.setter
    def state(self, state: list[int]) -> None:
        self._meant, self.kept, self.left_out = state

    @property
    def full(self) -> bool:
        """No later row can be chosen."""
        return self.kept >= self._most

    def take(self, row: TableRow) -> bool:
        """Whether this row, the next of the table, is scored."""
        if self.full:
            return False
        if self.selection._meant(row):
            ordinal = self._meant
            self._meant += 1
            if self._drawn is None or ordinal in self._drawn:
                self.kept += 1
                return True
        self.left_out += 1
        return False

    def of(self, rows: list[TableRow], first: int) -> Iterator[tuple[int, TableRow]]:
        """The chosen ones of consecutive rows, with their positions."""
        for position, row in enumerate(rows, first):
            if self.take(row):
                yield position, row
