"""Which rows of an input are scored: ``--where``, ``--sample``, ``--limit``."""

from __future__ import annotations

import math
import operator
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
class Condition:
    """A condition on one column.

    ``=`` and ``!=`` compare text, outer space aside; ``<``, ``<=``, ``>``, ``>=`` compare
    numbers, and a cell that is no number does not match; ``~`` is a regular expression found
    anywhere in the cell. Numbers have the decimal mark of their column, which
    :meth:`Selection.checked` detects, or that ``COLUMN:comma`` or ``COLUMN:point`` names.

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
        """Read ``column op value``.

        Raises
        ------
        ConfigError
            It is no such condition, a number or a regular expression is not one.
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
                pass  # the column of a table decides which of two numbers it is
            else:
                if math.isnan(number):
                    raise ConfigError(f"--where {text!r}: {op} compares numbers, {value!r} is none")
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
                hint = f"say it: --where '{column}:comma {self.op} {self.value}'"
                hint = error.hint if numbers.mixed else hint
                raise InputError(f"{reader.name}: {error.message}", hint=hint) from error
        number = self.number
        if math.isnan(number):  # 1,234 is what it would be in the column
            number = _number(self.value, mark or "point")
        return replace(self, column=column, mark=mark, number=number)

    def holds(self, cells: Mapping[str, str]) -> bool:
        """Whether a row matches."""
        cell = cells[self.column]
        if self.pattern is not None:
            return self.pattern.search(cell) is not None
        if self.op in _ORDER:
            return _ORDER[self.op](_number(cell, self.mark), self.number)
        return (cell.strip() == self.value) is (self.op == "=")


def _number(text: str, mark: DecimalMark = "") -> float:
    """A number, whatever currency or percent sign stands beside it; NaN for anything else, which
    compares false with everything.

    Raises
    ------
    NumberError
        It has two readings, and ``mark`` does not say which.
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

    Attributes
    ----------
    where : tuple of Condition
        All of these conditions hold.
    sample : int, optional
        This many of the rows left, drawn without replacement.
    limit : int, optional
        The first so many of the rows left.
    seed : int
        Of the sample.

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
                raise ConfigError(f"{name} {value}", hint="1 or more")

    @property
    def numbers(self) -> dict[str, str]:
        """Column → decimal mark in words, of conditions that compare numbers of a table."""
        return {w.column: mark_in_words(w.mark) for w in self.where if w.mark}

    def identity(self) -> dict[str, object] | None:
        """As plain values; ``None`` when every row is selected."""
        if self == Selection(seed=self.seed):
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
        """The selection on one table; a comparison of numbers reads the table once, a sample
        once more. Errors are those of :meth:`checked`."""
        known = self.checked(reader)
        drawn: frozenset[int] | None = None
        if self.sample is not None:
            count = sum(all(w.holds(row.cells) for w in known.where) for row in reader.rows())
            if self.sample < count:
                drawn = frozenset(random.Random(self.seed).sample(range(count), self.sample))
        return SelectedRows(known, drawn)


@dataclass(slots=True)
class SelectedRows:
    """Goes over a table's rows in order and picks those that are scored.

    Attributes:
        selection: with the decimal marks of the table.
        drawn: of the rows that meet the conditions, which are in the sample; ``None``: all.
        met, kept, left_out: rows so far that meet the conditions, were picked, were passed over.
    """

    selection: Selection
    drawn: frozenset[int] | None
    met: int = 0
    kept: int = 0
    left_out: int = 0

    @property
    def full(self) -> bool:
        """No later row can be picked."""
        return self.selection.limit is not None and self.kept >= self.selection.limit

    def pick(self, rows: Iterable[TableRow], first: int) -> Iterator[tuple[int, TableRow]]:
        """The selected ones of the table's next rows, with their positions from ``first`` on."""
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
