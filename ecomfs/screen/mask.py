"""Masks personal data in a row with placeholders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from ecomfs.io import detect_language
from ecomfs.screen.personal import PersonalKind, check_installed, personal_spans
from ecomfs.task import CardField, TaskCard
from ecomfs.types import Example, Language, Row

MaskChoice = Literal["none", "patterns"]
WORDS: Mapping[PersonalKind, Mapping[Language, str]] = {
    "email": {"en": "EMAIL", "zh": "邮箱"},
    "id": {"en": "ID", "zh": "证件号"},
    "card": {"en": "CARD", "zh": "卡号"},
    "account": {"en": "ACCOUNT", "zh": "账号"},
    "order": {"en": "ORDER", "zh": "订单号"},
    "phone": {"en": "PHONE", "zh": "电话"},
    "address": {"en": "ADDRESS", "zh": "地址"},
    "name": {"en": "NAME", "zh": "姓名"},
}
"""Kind of personal data → its placeholder, by the language of the cell."""
_PLACEHOLDER = re.compile(
    rf"(\[(?:{'|'.join(word for words in WORDS.values() for word in words.values())})(?: \d+)?\])"
)
_PLAIN_VALUE = re.compile(r"[\s\d.,:/+%$€£¥￥年月日时分秒TZ-]*")
"""Numbers, prices and dates: they are parsed as values, and not shown as text."""
_ROUNDS = 20
_LATIN = "\u2fff"
"""The last character before the Chinese ones; two Chinese characters can be a name."""


@dataclass(slots=True)
class _Placeholders:
    """The placeholders of one row: equal values have the same one, different ones are numbered."""

    taken: set[str]
    of: dict[str, str] = field(default_factory=dict)

    def place(self, value: str, kind: PersonalKind, language: Language) -> str:
        """The placeholder of a value."""
        if value not in self.of:
            word, number = WORDS[kind][language], 1
            while (name := f"[{word}]" if number == 1 else f"[{word} {number}]") in self.taken:
                number += 1
            self.taken.add(name)
            self.of[value] = name
        return self.of[value]

    def again(self, text: str) -> str:
        """A text with all known values masked: an order number is masked also without the words
        that tell what it is."""
        values = [value for value in self.of if len(value) >= (2 if value[0] > _LATIN else 4)]
        if not any(value in text for value in values):
            return text
        longest = "|".join(map(re.escape, sorted(values, key=len, reverse=True)))
        known = re.compile(rf"(?<![0-9A-Za-z])(?:{longest})(?![0-9A-Za-z])")
        return "".join(
            piece
            if _PLACEHOLDER.fullmatch(piece)
            else known.sub(lambda found: self.of[found[0]], piece)
            for piece in _PLACEHOLDER.split(text)
        )


@dataclass(frozen=True, slots=True)
class Mask:
    """Replaces personal data by placeholders: ``[PHONE]``, ``[EMAIL]``, ``[ORDER 2]``. A value that
    is found once is masked everywhere in its row.

    Masked values are not stored. Masking a masked text changes nothing.

    Attributes:
        choice: value of the option ``mask``.

    >>> mask = Mask.of("patterns")
    >>> mask.text("Order no 88231907 is late. Call 138 0013 8000 or 13900139000!")
    'Order no [ORDER] is late. Call [PHONE] or [PHONE 2]!'
    >>> mask.text("快递单号SF1020304050，收件人：王小明，电话13800138000")
    '快递单号[订单号]，收件人：[姓名]，电话[电话]'
    """

    choice: MaskChoice

    @classmethod
    def of(cls, choice: MaskChoice) -> Self | None:
        """The mask of an option; ``None``: nothing is masked.

        Raises:
            ConfigError: a required package is not installed.
        """
        if choice == "none":
            return None
        check_installed()
        return cls(choice)

    def text(self, text: str) -> str:
        """One text with placeholders."""
        return _masked(text, _Placeholders(set(_PLACEHOLDER.findall(text))))

    def row(self, row: Row, card: TaskCard) -> Row:
        """Mask all cells of a row except ids. Cells that are only a number, price or date are
        kept."""
        specs = {spec.name: spec for spec in card.fields}
        known = _Placeholders({p for cell in row.values() for p in _placeholders(cell)})
        changed: dict[str, Any] = {}
        for _ in ("find", "find again in the other cells"):
            for name, cell in {**row, **changed}.items():
                masked = _cell(cell, specs.get(name), known)
                if masked is not cell:
                    changed[name] = masked
            if not known.of:
                break
        return {**row, **changed} if changed else row

    def examples(self, examples: Iterable[Example], card: TaskCard) -> list[Example]:
        """Mask labelled examples; ids and labels are kept."""
        out = []
        for example in examples:
            fields = self.row(example.fields, card)
            out.append(example if fields is example.fields else replace(example, fields=fields))
        return out


def _masked(text: str, known: _Placeholders) -> str:
    for _ in range(_ROUNDS):  # masking one value can reveal another next to it
        pieces, changed = [], False
        for piece in _PLACEHOLDER.split(text):
            spans = () if _PLACEHOLDER.fullmatch(piece) else personal_spans(piece)
            if not spans:
                pieces.append(piece)
                continue
            language, last, changed = detect_language(text), 0, True
            for start, end, kind in spans:
                value = piece[start:end]
                pieces += [piece[last:start], known.place(value, kind, language)]
                last = end
            pieces.append(piece[last:])
        if not changed:
            break
        text = "".join(pieces)
    return known.again(text) if known.of else text


def _cell(cell: Any, spec: CardField | None, known: _Placeholders) -> Any:
    """The masked cell; the same object if there is nothing to mask."""
    kind = "text" if spec is None else spec.kind
    if kind == "id" or cell is None or isinstance(cell, bool | float):
        return cell
    if kind in {"number", "price", "date"}:
        if not isinstance(cell, str) or _PLAIN_VALUE.fullmatch(cell):
            return cell
    elif kind in {"history", "json"} and isinstance(cell, str):
        return _json_text(cell, known)
    return _value(cell, known)


def _json_text(cell: str, known: _Placeholders) -> str:
    """The masked text; JSON stays JSON."""
    if cell.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(cell)
            masked = _value(value, known)
            return cell if masked is value else json.dumps(masked, ensure_ascii=False)
        except (ValueError, RecursionError):  # not JSON, or too deep: reading the cell reports it
            return _leaf(cell, known)
    return _leaf(cell, known)


def _value(value: Any, known: _Placeholders) -> Any:
    """The masked JSON value; the same object if there is nothing to mask."""
    if isinstance(value, str):
        return _leaf(value, known)
    if isinstance(value, int) and not isinstance(value, bool):
        masked = _masked(str(value), known)
        return value if masked == str(value) else masked
    if isinstance(value, Mapping):
        made = {_value(k, known): _value(v, known) for k, v in value.items()}
        return made if [*made.items()] != [*value.items()] else value
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        items = [_value(item, known) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    return value


def _leaf(text: str, known: _Placeholders) -> str:
    """The masked text; the same object and type if there is nothing to mask."""
    masked = _masked(text, known)
    return text if masked == text else type(text)(masked)


def _placeholders(cell: Any) -> list[str]:
    text = cell if isinstance(cell, str) else "" if cell is None else str(cell)
    return _PLACEHOLDER.findall(text) if "[" in text else []


__all__ = ["WORDS", "Mask", "MaskChoice"]
