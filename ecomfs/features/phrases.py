"""Writes typed values as phrases in English or Chinese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ecomfs.features.cells import Price, read_cell
from ecomfs.io import squeeze
from ecomfs.task import FieldSpec, readable
from ecomfs.types import Language, is_missing

MAX_LEAVES = 40
"""Most values of a JSON cell that are shown; the others are counted."""
MAX_COUNTS = 6
"""Most kinds of item in a history that are counted by name."""
_EN_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ZH_DAYS = "一二三四五六日"


def number_phrase(number: float) -> str:
    """A number with few digits: whole from 100 on, else three significant digits.

    >>> [number_phrase(x) for x in (1234567.0, 1986.0, 28.449, 0.0312345, 3.0, -0.5, 0.00001)]
    ['1,234,567', '1986', '28.4', '0.0312', '3', '-0.5', '0.00001']
    """
    if isinstance(number, int):  # of any size: as a float it could lose digits
        return f"{number:,}" if abs(number) >= 10_000 else str(number)
    if abs(number) >= 100 or number == int(number):
        # Below ten thousand a comma would garble years and codes.
        return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.0f}"
    text = f"{number:.3g}"
    if "e" in text:
        text = f"{number:.20f}".rstrip("0")[:24]
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_phrase(price: Price) -> str:
    """An amount with its currency: a symbol before it, or a name after it.

    >>> [price_phrase(p) for p in (Price(1299.0, "$"), Price(12.5, "PLN"), Price(3, ""))]
    ['$1,299', '12.50 PLN', '3']
    """
    whole = price.amount == int(price.amount)
    amount = f"{price.amount:,.0f}" if whole else f"{price.amount:,.2f}"
    if not price.currency:
        return amount
    behind = price.currency.isalpha()
    return f"{amount} {price.currency}" if behind else f"{price.currency}{amount}"


def date_phrase(moment: datetime, language: Language) -> str:
    """A day with its day of the week, and the time when there is one.

    >>> date_phrase(datetime(2024, 5, 1, 9, 30), "en"), date_phrase(datetime(2024, 5, 1), "zh")
    ('2024-05-01 (Wed) 09:30', '2024-05-01（周三）')
    """
    day = moment.weekday()
    weekday = f"（周{_ZH_DAYS[day]}）" if language == "zh" else f" ({_EN_DAYS[day]})"
    clock = "" if (moment.hour, moment.minute) == (0, 0) else f"{moment:%H:%M}"
    gap = " " if clock and language == "en" else ""
    return f"{moment:%Y-%m-%d}{weekday}{gap}{clock}"


def category_phrase(spec: FieldSpec, value: str, language: Language) -> str:
    """The card's words for a category, or the category with spaces for underscores.

    >>> category_phrase(FieldSpec(name="v", kind="category"), "Returning_Visitor", "en")
    'Returning Visitor'
    """
    if value in spec.values:
        return spec.values[value].get(language)
    if value.casefold() in {"true", "false"}:
        yes = value.casefold() == "true"
        return ("是" if yes else "否") if language == "zh" else ("yes" if yes else "no")
    return squeeze(value.replace("_", " "))


def value_phrase(spec: FieldSpec, value: Any, language: Language) -> str:
    """A typed value (:func:`read_cell`) as text."""
    if spec.kind in {"number", "price"}:
        price = isinstance(value, Price)
        text = price_phrase(value) if price else number_phrase(value)
        unit = "" if price else spec.unit.get(language)
        gap = "" if not unit or unit.startswith("%") or language == "zh" else " "
        return f"{text}{gap}{unit}"
    if spec.kind == "date":
        return date_phrase(value, language)
    if spec.kind == "category":
        return category_phrase(spec, value, language)
    return json_phrase(value, language) if spec.kind == "json" else squeeze(str(value))


def json_phrase(value: Any, language: Language) -> str:
    """A JSON value as ``path: value`` pairs; empty values are left out.

    >>> json_phrase({"brand": "Acme", "ram_gb": 8, "tags": ["new", "sale"], "dual_sim": True}, "en")
    'brand: Acme, ram gb: 8, tags: new / sale, dual sim: yes'
    """
    colon, comma = ("：", "，") if language == "zh" else (": ", ", ")
    pairs = [(path, text) for path, text in _leaves("", value, language) if text]
    shown = [f"{path}{colon}{text}" if path else text for path, text in pairs[:MAX_LEAVES]]
    if more := len(pairs) - len(shown):
        shown.append(f"另有{more}项" if language == "zh" else f"and {more} more")
    return comma.join(shown)


def _leaves(path: str, value: Any, language: Language) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        keys = ((readable(str(k)), v) for k, v in value.items())  # Python allows other keys
        named = ((f"{path}.{k}" if path else k, v) for k, v in keys)
        return [leaf for key, inner in named for leaf in _leaves(key, inner, language)]
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            parts = ((f"{path}[{i}]", item) for i, item in enumerate(value, 1))
            return [leaf for key, inner in parts for leaf in _leaves(key, inner, language)]
        return [(path, " / ".join(filter(None, (_scalar(item, language) for item in value))))]
    return [(path, _scalar(value, language))]


def _scalar(value: Any, language: Language) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return ("是" if value else "否") if language == "zh" else ("yes" if value else "no")
    return number_phrase(value) if isinstance(value, int | float) else squeeze(str(value))


def history_phrase(spec: FieldSpec, items: Sequence[Any], language: Language) -> str:
    """A history in words: its length, its latest items in order, and counts of its kinds of item.

    Equal items in a row are written once, with a count. The first part of an item is its kind.

    >>> spec = FieldSpec(name="clicks", kind="history", max_items=3)
    >>> history_phrase(spec, ["home", "shoes", "shoes", "shoes", "cart"], "en")
    '5 items, the last 3, most recent last: shoes ×2 → cart; counts: shoes 3, home 1, cart 1'
    >>> history_phrase(spec, ["鞋"], "zh")
    '共1项：鞋'
    """
    zh = language == "zh"
    total = len(items)
    if not total:
        return "无" if zh else "none"
    recent = [item_phrase(spec, item, language) for item in items[-spec.max_items :]]
    head = f"共{total}项" if zh else f"{total} item{'s' if total != 1 else ''}"
    if len(recent) < total:
        head += f"，只列最近{len(recent)}项" if zh else f", the last {len(recent)}"
    if len(recent) > 1:
        head += "，最新在最后" if zh else ", most recent last"
    text = f"{head}{'：' if zh else ': '}{' → '.join(_run_lengths(recent))}"
    return text + _counts(spec, items, language)


def item_phrase(spec: FieldSpec, item: Any, language: Language) -> str:
    """One item of a history.

    >>> item = {"category": "trousers", "price_usd": 28, "sale": True, "gift": False}
    >>> item_phrase(FieldSpec(name="clicks", kind="history"), item, "en")
    'trousers, price usd 28, sale'
    """
    comma = "，" if language == "zh" else ", "
    if not isinstance(item, Mapping):
        return json_phrase(item, language)
    if spec.items:
        parts = [_part(part, item, language) for part in spec.items]
    else:
        parts = [_loose_part(str(key), value, language) for key, value in item.items()]
    return comma.join(part for part in parts if part)


def item_kind(spec: FieldSpec, item: Any, language: Language = "en") -> str:
    """The kind of an item, by which items are counted: its first part.

    >>> item_kind(FieldSpec(name="clicks", kind="history"), {"category": "sale", "price": 3})
    'sale'
    """
    if not isinstance(item, Mapping):
        return json_phrase(item, language)
    if spec.items:
        return _part(spec.items[0], item, language)
    first = next((value for value in item.values() if isinstance(value, str)), None)
    return squeeze(first) if first is not None else item_phrase(spec, item, language)


def _part(part: FieldSpec, item: Mapping[str, Any], language: Language) -> str:
    value = read_cell(part, part.find(item))
    if value is None:
        return ""
    text = value_phrase(part, value, language)
    if part.kind != "number" or part.unit.get(language):
        return text
    return f"{part.title(language)} {text}"


def _loose_part(key: str, value: Any, language: Language) -> str:
    """A part that is not in the card: a text alone, a number with its name, true as its name."""
    if value is False or value == "" or is_missing(value):
        return ""
    if value is True:
        return readable(key)
    if isinstance(value, str):
        return squeeze(value)
    return f"{readable(key)} {json_phrase(value, language)}"


def _run_lengths(texts: Sequence[str]) -> list[str]:
    runs: list[tuple[str, int]] = []
    for text in texts:
        if runs and runs[-1][0] == text:
            runs[-1] = (text, runs[-1][1] + 1)
        else:
            runs.append((text, 1))
    return [f"{text} ×{n}" if n > 1 else text for text, n in runs]


def _counts(spec: FieldSpec, items: Sequence[Any], language: Language) -> str:
    counter = Counter(item_kind(spec, item, language) for item in items)
    if len(items) < 4 or len(counter) == len(items):
        return ""
    zh = language == "zh"
    shown = [f"{kind} {n}" for kind, n in counter.most_common(MAX_COUNTS)]
    if more := len(counter) - len(shown):
        shown.append(f"另有{more}种" if zh else f"{more} other{'s' if more > 1 else ''}")
    return f"；次数：{'，'.join(shown)}" if zh else f"; counts: {', '.join(shown)}"
