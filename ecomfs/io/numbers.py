"""Parses numbers as people write them, with the decimal mark of their column.

A comma or point in a number is the decimal mark, or it groups digits. One cell may not tell which:
``1,234`` may be 1234 or 1.234. Other cells of its column do: ``9,99`` and ``1.234,56`` have a
decimal comma, ``9.99`` and ``1,234.56`` a decimal point. So the mark is decided for the whole
column (:func:`decimal_mark`), and its cells are parsed with it (:func:`read_number`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from ecomfs.errors import RowError

DecimalMark = Literal["", "comma", "point"]
"""The decimal mark of a column; empty when it is not known."""

_IN_WORDS = {"comma": "decimal comma", "point": "decimal point"}
_MARKS: Mapping[str, tuple[str, str]] = {"comma": (",", "."), "point": (".", ",")}
_ALIKE = str.maketrans("−–—‑‐’‘ʼ´`", "-----'''''")
_SHAPE = re.compile(
    r"(?P<before>[^\d٫]*?)(?P<core>[.,٫]?\d(?:[\d.,٫٬' ]*\d)?)(?P<last>[.,]?)"
    r"(?P<exponent>[eE][+-]?\d+)?(?P<after>\D*)"
)
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_POINT = re.compile(r"-?[0-9]+\.(?:[0-9]{1,2}|[0-9]{4,})")  # nearly all cells that have a mark
_THREES = {g: re.compile(rf"[^\D0]\d{{0,2}}([{g} '٬])\d{{3}}(?:\1\d{{3}})*") for g in ",."}
_INDIAN = re.compile(r"[^\D0]\d?(?:,\d\d)+,\d{3}")  # 1,00,000
_ROUND = re.compile(r"\s*-+")  # 5,- and 5.-- are five


class NumberError(ValueError):
    """A text is not a number, or its decimal mark is ambiguous (``unclear``).

    Attributes
    ----------
    unclear : bool
        Whether the text is a number with either decimal mark.

    Examples
    --------
    >>> NumberError("1,234", unclear=True).unclear
    True
    """

    def __init__(self, text: str, unclear: bool = False) -> None:
        super().__init__(text)
        self.unclear = unclear


@dataclass(frozen=True, slots=True)
class Number:
    """A number with its currency or unit.

    Attributes
    ----------
    value : float
        As written: 12 for ``12 %``.
    before, after : str
        A currency, unit or percent sign before or after the number, without outer space.

    Examples
    --------
    >>> Number(9.99, "", "€").value
    9.99
    """

    value: float
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class _Shape:
    """The parts of a number's text; ``readings`` has its plain digits for each possible mark."""

    negative: bool
    before: str
    core: str
    exponent: str
    after: str
    readings: Mapping[str, str]


def read_number(text: str, decimal: DecimalMark = "") -> Number:
    """Parse a number.

    Digits may be full-width; groups are separated by the other mark, spaces or apostrophes. A sign
    may come before or after the number; parentheses mean a negative number; ``5,-`` is five.

    Parameters
    ----------
    text : str
        One cell.
    decimal : DecimalMark
        The decimal mark of the column. If empty, an unambiguous text is parsed, and a single point
        is the decimal mark, as programs write it.

    Raises
    ------
    NumberError
        The text is not a number with that mark, or it is ambiguous.

    Examples
    --------
    >>> [read_number(t).value for t in ("0,043", "1.234,56", "1 234,5", "1'234.5", "(12)", "−5")]
    [0.043, 1234.56, 1234.5, 1234.5, -12.0, -5.0]
    >>> [read_number("1,234", convention).value for convention in ("comma", "point")]
    [1.234, 1234.0]
    >>> read_number("9,99 €"), read_number("$-5")
    (Number(value=9.99, before='', after='€'), Number(value=-5.0, before='$', after=''))
    """
    if decimal != "comma" and _PLAIN.fullmatch(text):
        return Number(float(text), "", "")
    shape = _shape(text)
    if shape is None:
        raise NumberError(text)
    return Number(_value(shape, _digits(shape, decimal, text)), shape.before, shape.after)


def possible_marks(text: str) -> tuple[str, ...]:
    """The decimal marks with which a text is a number.

    Returns
    -------
    tuple[str, ...]
        ``"comma"``, ``"point"`` or both; empty when the mark makes no difference, or the text is
        not a number.

    Examples
    --------
    >>> [possible_marks(text) for text in ("9,99", "1.234,56", "1,234", "1234", "old")]
    [('comma',), ('comma',), ('comma', 'point'), (), ()]
    """
    shape = _shape(text)
    if shape is None or (len(shape.readings) == 2 and len(set(shape.readings.values())) == 1):
        return ()
    return tuple(shape.readings)


class ColumnNumbers:
    """Decides the decimal mark of a column from its cells.

    Parameters
    ----------
    name : str
        Name of the column in messages.
    likely : DecimalMark
        The mark to use when no cell decides; a table delimited by semicolons makes a decimal comma
        likely.

    Examples
    --------
    >>> column = ColumnNumbers("price")
    >>> for cell in ("1,234", "9,99"):
    ...     column.add(cell)
    >>> column.decided()
    'comma'
    """

    def __init__(self, name: str, likely: DecimalMark = "") -> None:
        self._name = name
        self._likely = likely
        self._sure: dict[str, str] = {}
        self._unclear: dict[str, str] = {}  # mark → the first ambiguous cell

    def add(self, cell: object) -> None:
        """Add one cell; values other than text are ignored."""
        if isinstance(cell, str) and not cell.isdecimal():
            if _POINT.fullmatch(cell):
                self._sure.setdefault("point", cell)
                return
            found = possible_marks(cell)
            if len(found) == 1:
                self._sure.setdefault(found[0], cell)
            elif found:
                self._unclear.setdefault("," if "," in cell else ".", cell)

    def decided(self) -> DecimalMark:
        """The decimal mark; empty when it makes no difference to any cell.

        Raises:
            RowError: cells contradict each other, or some cells are ambiguous and no other cell
                decides; the message names the column and such cells.
        """
        if len(self._sure) > 1:
            comma, point = self._sure["comma"], self._sure["point"]
            raise RowError(
                f"column {self._name!r} mixes decimal marks: {comma!r} has a decimal comma, "
                f"{point!r} a decimal point",
                hint="write its numbers with one decimal mark",
            )
        if self._sure:
            return cast("DecimalMark", next(iter(self._sure)))
        if "," in self._unclear and (self._likely != "comma" or "." in self._unclear):
            raise self._refused(self._unclear[","])
        if "." in self._unclear and self._likely == "comma":
            raise self._refused(self._unclear["."])
        return "comma" if "," in self._unclear else "point" if self._unclear else ""

    @property
    def unclear(self) -> bool:
        """Whether some cells are ambiguous and no cell decides."""
        return not self._sure and bool(self._unclear)

    @property
    def commas(self) -> bool:
        """Whether an ambiguous cell has a comma."""
        return "," in self._unclear

    @property
    def mixed(self) -> bool:
        """Whether cells contradict each other."""
        return len(self._sure) > 1

    def _refused(self, cell: str) -> RowError:
        shape = _shape(cell)
        readings = {} if shape is None else shape.readings
        values = " or ".join(f"{float(readings[c]):.10g}" for c in ("point", "comma"))
        return RowError(
            f"column {self._name!r}: {cell!r} may be {values}, and no cell of the column decides",
            hint=DECIMAL_HINT.format(self._name),
        )


DECIMAL_HINT = (
    "set decimal: comma (or point) for the field in the task card, or --field FIELD={}:comma"
)


def decimal_mark(name: str, cells: Iterable[object], likely: DecimalMark = "") -> DecimalMark:
    """The decimal mark of a column of numbers.

    Parameters
    ----------
    name : str
        Name of the column in messages.
    cells : Iterable[object]
        Its cells; values other than text are ignored.
    likely : DecimalMark
        See :class:`ColumnNumbers`.

    Returns
    -------
    DecimalMark
        ``"comma"``, ``"point"``, or empty when the mark makes no difference to any cell.

    Raises
    ------
    RowError
        See :meth:`ColumnNumbers.decided`.

    Examples
    --------
    >>> decimal_mark("price", ["1,234", "9,99", 5]), decimal_mark("price", ["1,234", "2,345.5"])
    ('comma', 'point')
    >>> decimal_mark("price", ["1,234"])
    Traceback (most recent call last):
    ecomfs.errors.RowError: column 'price': '1,234' may be 1234 or 1.234, and no cell of the ...
    """
    column = ColumnNumbers(name, likely)
    for cell in cells:
        column.add(cell)
    return column.decided()


def rewrite_number(text: str, decimal: DecimalMark, to: DecimalMark) -> str:
    """Rewrite a number with another decimal mark, so that the result is unambiguous.

    Parameters
    ----------
    text : str
        One cell.
    decimal : DecimalMark
        Its decimal mark.
    to : DecimalMark
        The decimal mark of the result; empty keeps the mark.

    Returns
    -------
    str
        The number as text; a text that is not a number is returned unchanged.

    Examples
    --------
    >>> rewrite_number("1.234,5 €", "comma", "point"), rewrite_number("1,234", "comma", "point")
    ('1234.5 €', '1.2340')
    >>> rewrite_number("1,234", "point", "comma"), rewrite_number("12", "point", "comma")
    ('1234', '12')
    """
    shape = _shape(text)
    if shape is None or decimal not in shape.readings:
        return text
    whole, _, part = shape.readings[decimal].partition(".")
    if part:
        # Three digits after a mark could be a group; a further zero rules that out.
        whole += _MARKS[to or decimal][0] + part + ("0" if len(part) == 3 else "")
    sign = "-" if shape.negative else ""
    amount = f"{sign}{whole}{shape.exponent}"
    return " ".join(p for p in (shape.before, amount, shape.after) if p)


def mark_in_words(decimal: DecimalMark) -> str:
    """A decimal mark in words.

    Examples
    --------
    >>> mark_in_words("comma"), mark_in_words("")
    ('decimal comma', 'no mark')
    """
    return _IN_WORDS.get(decimal, "no mark")


def _digits(shape: _Shape, decimal: DecimalMark, text: str) -> str:
    readings = shape.readings
    if decimal:
        if decimal not in readings:
            raise NumberError(text)
        return readings[decimal]
    if len(set(readings.values())) > 1:
        if "," in shape.core:
            raise NumberError(text, unclear=True)
        return readings["point"]
    return next(iter(readings.values()))


def _value(shape: _Shape, digits: str) -> float:
    value = float(digits + shape.exponent)
    return -value if shape.negative else value


def _shape(text: str) -> _Shape | None:
    text = _compatible(text.translate(_ALIKE)).strip()
    negative = text.startswith("(") and text.endswith(")")
    match = _SHAPE.fullmatch(text[1:-1].strip() if negative else text)
    if match is None:
        return None
    before, core, exponent, after = match.group("before", "core", "exponent", "after")
    if after and _is_raised(after[0]):
        return None  # 5² is not 52, nor 5
    if before and before[-1].isalpha() and core[0] == ".":
        before, core = f"{before}.", core[1:]  # Rs.500
    before, after = before.strip(), after.strip()
    signs = re.findall(r"[+-]", before)
    before = re.sub(r"^[+-]\s*|\s*[+-]$", "", before)
    if match["last"] and (whole := _ROUND.match(after)):
        after = after[whole.end() :].strip()
    elif after[:1] == "-" or after[-1:] == "-":
        signs += ["-"]
        after = after.strip("-").strip()
    elif match["last"] == ",":
        return None
    if len(signs) + negative > 1 or re.search(r"[+-]", before):
        return None
    readings = {
        name: digits for name in _MARKS if (digits := _plain(core, name, exponent)) is not None
    }
    if not readings:
        return None
    return _Shape(negative or "-" in signs, before, core, exponent or "", after, readings)


def _compatible(text: str) -> str:
    """The text in NFKC, but with raised and lowered digits as they are: m² is not m2."""
    if not any(map(_is_raised, text)):
        return unicodedata.normalize("NFKC", text)
    return "".join(c if _is_raised(c) else unicodedata.normalize("NFKC", c) for c in text)


def _is_raised(char: str) -> bool:
    return char > "\x7f" and unicodedata.decomposition(char).startswith(("<super>", "<sub>"))


def _plain(core: str, decimal: str, exponent: str | None) -> str | None:
    """The digits with a decimal point, if they are a number with that mark."""
    mark, group = _MARKS[decimal]
    whole, *parts = re.split(rf"[{re.escape(mark)}٫]", core)
    if len(parts) > 1 or (parts and not parts[0].isdecimal()):
        return None
    if whole and not whole.isdecimal():
        indian = group == "," and _INDIAN.fullmatch(whole)
        if exponent or not (indian or _THREES[group].fullmatch(whole)):
            return None
        whole = re.sub(r"\D", "", whole)
    digits = f"{whole or '0'}.{parts[0]}" if parts else whole
    return "".join(c if c == "." else str(unicodedata.decimal(c)) for c in digits)
