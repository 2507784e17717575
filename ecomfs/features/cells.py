"""Converts cells to typed values; a value of the wrong type is an error that names the column."""

from __future__ import annotations

import contextlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np

from ecomfs.errors import RowError
from ecomfs.io import DECIMAL_HINT, Number, NumberError, decimal_mark, mark_in_words, read_number
from ecomfs.task import NUMBERS, FieldSpec
from ecomfs.types import Row, is_missing

_NOTHING = {
    "",
    "nan",
    "nat",
    "null",
    "none",
    "na",
    "n/a",
    "<na>",
    "-",
    "--",
    "?",
    "unknown",
    "未知",
}
CURRENCIES = {
    "$": "$",
    "usd": "$",
    "us$": "$",
    "€": "€",
    "eur": "€",
    "£": "£",
    "gbp": "£",
    "¥": "¥",
    "￥": "¥",
    "cny": "¥",
    "rmb": "¥",
    "元": "¥",
    "块": "¥",
    "人民币": "¥",
    "jpy": "JP¥",
    "円": "JP¥",
    "₹": "₹",
    "inr": "₹",
    "rs": "₹",
    "rs.": "₹",
    "₩": "₩",
    "krw": "₩",
    "hkd": "HK$",
    "hk$": "HK$",
}
_DATE_FORMATS = (
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y年%m月%d日",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%Y",
)
_SLASHED = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:\s+(\S.*))?")
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?(?:\s?(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2}))?",
    re.IGNORECASE,
)
"""A time of day, with or without am or pm, and a time zone."""
_EPOCH = re.compile(r"\d{10}(?:\.\d+)?|\d{13}(?:\.0+)?")
"""Seconds or milliseconds since 1970; pandas writes them as floats if some are missing."""
_MOST_LEVELS = 100
"""Most levels of nested lists and objects in a JSON cell; deeper ones would exceed the stack."""


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money; ``currency`` is a symbol, empty if neither cell nor card gives it."""

    amount: float
    currency: str


def read_cell(spec: FieldSpec, value: object, *, day_first: bool | None = None) -> Any:
    """Convert a cell to the type of its field.

    number → float, price → :class:`Price`, date → datetime, history → list, json → the parsed
    value, others → str.

    Args:
        spec: the field.
        value: the cell.
        day_first: whether 3/7/2024 is in July; ``None``: unknown.

    Returns:
        The typed value; ``None`` when the cell is empty.

    Raises:
        RowError: the cell is not of the field's kind.

    >>> spec = FieldSpec(name="paid", kind="price", unit="€")
    >>> [read_cell(spec, cell) for cell in ("$1,299.00", "12,50", 3, "n/a")]
    [Price(amount=1299.0, currency='$'), Price(amount=12.5, currency='€'),
     Price(amount=3.0, currency='€'), None]
    >>> read_cell(FieldSpec(name="age", kind="number"), "old")
    Traceback (most recent call last):
    ecomfs.errors.RowError: column 'age': 'old' is not a number
    """
    if not isinstance(value, str | list | tuple | Mapping) and is_missing(value):
        return None
    if spec.kind in {"text", "category", "id"}:
        return _read_text(spec, value)
    if spec.kind == "history":
        return _read_history(spec, value)
    if spec.kind == "json":
        return _read_json(spec, value)
    if isinstance(value, str):
        value = unicodedata.normalize("NFKC", value).strip()
        if value.casefold() in _NOTHING:
            return None
    if spec.kind == "date":
        return _read_date(spec, value, day_first)
    return _read_price(spec, value) if spec.kind == "price" else _read_number(spec, value)


def days_first(specs: Sequence[FieldSpec], rows: Sequence[Row]) -> dict[str, bool | None]:
    """Field → whether its dates such as 3/7/2024 have the day first. Unambiguous dates of the field
    decide; ``None`` if there are none, or if they disagree.

    >>> days_first([FieldSpec(name="d", kind="date")], [{"d": "3/7/2024"}, {"d": "25/7/2024"}])
    {'d': True}
    """
    found: dict[str, bool | None] = {}
    for spec in (s for s in specs if s.kind == "date"):
        seen = set()
        for value in (spec.find(row) for row in rows):
            if isinstance(value, str) and (match := _SLASHED.fullmatch(value.strip())):
                first, second = int(match[1]), int(match[2])
                if first > 12 or second > 12:
                    seen.add(first > 12)
        found[spec.name] = seen.pop() if len(seen) == 1 else None
    return found


def with_decimals(
    specs: Sequence[FieldSpec], rows: Sequence[Row], *, strict: bool = True
) -> tuple[FieldSpec, ...]:
    """The specs with the decimal marks found in the rows, also for parts of histories. A mark that
    is set in a spec is kept.

    Args:
        specs: the fields.
        rows: the rows of the pool.
        strict: whether a column that is ambiguous or mixes marks is an error; else its spec is not
            changed.

    Returns:
        One spec per field.

    Raises:
        RowError: see :func:`ecomfs.io.numbers.decimal_mark`.

    >>> spec = FieldSpec(name="price", kind="price")
    >>> with_decimals([spec], [{"price": "1.234"}, {"price": "9,99"}])[0].decimal
    'comma'
    """
    return tuple(_with_decimal(spec, [spec.find(row) for row in rows], strict) for spec in specs)


def _with_decimal(spec: FieldSpec, cells: Sequence[object], strict: bool) -> FieldSpec:
    if spec.kind == "history" and any(part.kind in NUMBERS for part in spec.items):
        items = list(_items(spec, cells))
        parts = [_with_decimal(p, [p.find(item) for item in items], strict) for p in spec.items]
        return spec.model_copy(update={"items": tuple(parts)})
    if spec.kind not in NUMBERS or spec.decimal:
        return spec
    try:
        return spec.model_copy(update={"decimal": decimal_mark(spec.name, cells)})
    except RowError:
        if strict:
            raise
        return spec


def _items(spec: FieldSpec, cells: Sequence[object]) -> Iterator[Mapping[str, Any]]:
    for cell in cells:
        with contextlib.suppress(RowError):  # reported when the row is read
            yield from (i for i in read_cell(spec, cell) or () if isinstance(i, Mapping))


def day_number(moment: datetime) -> float:
    """A moment in days, independent of the time zone of this machine.

    >>> day_number(datetime(2024, 5, 2, 12)) - day_number(datetime(2024, 5, 1))
    1.5
    """
    clock = moment.hour * 3600 + moment.minute * 60 + moment.second
    away = moment.utcoffset() or timedelta(0)
    # Not converted to UTC first: 9999-12-31 and 0001-01-01, which stand for no date, may overflow.
    return (moment.toordinal() * 86400 + clock - int(away.total_seconds())) / 86400


def _wrong(spec: FieldSpec, value: object, what: str, hint: str = "") -> RowError:
    shown = repr(value if len(str(value)) <= 40 else f"{str(value)[:40]}…")
    return RowError(f"column {spec.name!r}: {shown} is not {what}", hint=hint)


def _read_text(spec: FieldSpec, value: object) -> str | None:
    if isinstance(value, Mapping | list | tuple):
        raise _wrong(spec, value, f"a {spec.kind}", "it is a JSON value")
    if isinstance(value, bool | np.bool_):
        value = "true" if value else "false"
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)  # pandas converts integer codes to floats if some are missing
    text = str(value).strip()
    if spec.kind == "category" and text.casefold() in {"true", "false"}:
        # A file has TRUE or True where JSON and a DataFrame have a boolean: one category.
        text = text.casefold()
        text = next((code for code in spec.values if code.casefold() == text), text)
    return text or None


def _read_number(spec: FieldSpec, value: object) -> float | None:
    if isinstance(value, bool | np.bool_):
        raise _wrong(spec, bool(value), "a number", "give the field kind category")
    if isinstance(value, str):
        found = _number(spec, value, "a number")
        unit, behind = spec.unit.en.casefold(), found.after.casefold()
        share = behind.endswith("%") and not unit.startswith("%")
        if found.before or behind.removesuffix("%").strip() not in ("", unit.removesuffix("%")):
            raise _wrong(spec, value, "a number")
        return _finite(spec, found.value / 100 if share else found.value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as problem:
        raise _wrong(spec, value, "a number") from problem
    return _finite(spec, number)


def _number(spec: FieldSpec, value: str, what: str) -> Number:
    try:
        return read_number(value, spec.decimal)
    except NumberError as problem:
        if problem.unclear:
            what, hint = f"{what} with a clear decimal mark", DECIMAL_HINT.format(spec.name)
            raise _wrong(spec, value, what, hint) from problem
        if spec.decimal:
            what += f" with a {mark_in_words(spec.decimal)}, the mark of its column"
        raise _wrong(spec, value, what) from problem


def _finite(spec: FieldSpec, number: float) -> float | None:
    if math.isinf(number):
        raise _wrong(spec, number, "a finite number")
    return None if math.isnan(number) else number


def _read_price(spec: FieldSpec, value: object) -> Price | None:
    default = _currency(spec.unit.en)
    if not isinstance(value, str):
        amount = _read_number(spec, value)
        return None if amount is None else Price(amount, default)
    found = _number(spec, value, "a price")
    if (found.before and found.after) or " " in found.before + found.after:
        raise _wrong(spec, value, "a price")
    named = _currency(found.before or found.after)
    amount = _finite(spec, found.value)
    return None if amount is None else Price(amount, named or default)


def _currency(name: str) -> str:
    return CURRENCIES.get(name.casefold(), name)


def _read_date(spec: FieldSpec, value: object, day_first: bool | None) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    text = str(value)
    if spec.date_format:
        return _strptime(spec, text, (spec.date_format,))
    if _EPOCH.fullmatch(text):
        whole = text.partition(".")[0]
        seconds = int(whole) / 1000 if len(whole) == 13 else float(text)
        return datetime.fromtimestamp(seconds, tz=UTC)
    try:
        if not text.isdigit():
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    match = _SLASHED.fullmatch(text)
    if match and "." not in text[: match.end(3)]:
        day = _slashed_date(spec, text, int(match[1]), int(match[2]), int(match[3]), day_first)
        return day if match[4] is None else datetime.combine(day, _clock(spec, text, match[4]))
    return _strptime(spec, text, _DATE_FORMATS)


def _slashed_date(
    spec: FieldSpec, text: str, first: int, second: int, year: int, day_first: bool | None
) -> datetime:
    if first <= 12 and second <= 12 and first != second and day_first is None:
        hint = "set date_format in the card, %d/%m/%Y or %m/%d/%Y"
        raise _wrong(spec, text, "an unambiguous date", hint)
    first_is_day = day_first if first <= 12 and second <= 12 else first > 12
    day, month = (first, second) if first_is_day else (second, first)
    try:
        return datetime(year, month, day)
    except ValueError as problem:
        raise _wrong(spec, text, "a date") from problem


def _clock(spec: FieldSpec, text: str, after: str) -> time:
    """The time of day after a date."""
    found = _CLOCK.fullmatch(after.strip())
    if found is None:
        raise _wrong(spec, text, "a date")
    hour, half = int(found["hour"]), (found["half"] or "").casefold()
    if half and not 1 <= hour <= 12:
        raise _wrong(spec, text, "a date")
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        second = int(found["second"] or 0)
        return time(hour, int(found["minute"]), second, tzinfo=_zone(found["zone"]))
    except ValueError as problem:
        raise _wrong(spec, text, "a date") from problem


def _zone(name: str | None) -> timezone | None:
    if name is None or name[0] not in "+-":
        return None if name is None else UTC
    digits = name[1:].replace(":", "")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-away if name[0] == "-" else away)


def _strptime(spec: FieldSpec, text: str, formats: tuple[str, ...]) -> datetime:
    for pattern in formats:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    hint = "" if spec.date_format else "set date_format in the card"
    raise _wrong(spec, text, "a date" if not spec.date_format else f"as {formats[0]}", hint)


def _read_json(spec: FieldSpec, value: object) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as problem:  # also a number of thousands of digits
        raise _wrong(spec, value, "JSON") from problem
    if value.count("[") + value.count("{") > _MOST_LEVELS and _levels(found) > _MOST_LEVELS:
        raise _wrong(spec, value, f"JSON of at most {_MOST_LEVELS} levels")
    return found


def _levels(value: Any) -> int:
    """Levels of nested lists and objects."""
    levels, layer = 0, [value]
    while layer := [v for v in layer if isinstance(v, list | dict)]:
        levels += 1
        layer = [inner for v in layer for inner in (v.values() if isinstance(v, dict) else v)]
    return levels


def _read_history(spec: FieldSpec, value: object) -> list[Any] | None:
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, str) and spec.separator:
        items = [part.strip() for part in value.split(spec.separator)]
        found: Any = [part for part in items if part]
    else:
        found = _read_json(spec, value)
    if isinstance(found, tuple):
        found = list(found)
    if not isinstance(found, list):
        hint = 'expected a JSON list such as ["a", "b"], or a separator in the card'
        raise _wrong(spec, value, "a list", hint)
    return found[::-1] if spec.newest_first else found
