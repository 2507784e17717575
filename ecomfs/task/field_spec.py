"""What a field of a row is: the part of a task card that rendering needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecomfs.io import DecimalMark
from ecomfs.types import Language, Row

FieldKind = Literal["text", "number", "category", "history", "json", "price", "date", "id"]

NUMBERS = frozenset({"number", "price"})
"""Kinds whose cells are numbers as people write them."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\s]+")


class Words(BaseModel):
    """The same words in both languages; a plain string stands for both.

    >>> Words.model_validate("GB").zh
    'GB'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    zh: str

    @model_validator(mode="before")
    @classmethod
    def _same_in_both(cls, value: object) -> object:
        return {"en": value, "zh": value} if isinstance(value, str) else value

    def get(self, language: Language) -> str:
        """The words in one language."""
        return self.zh if language == "zh" else self.en


class FieldSpec(BaseModel):
    """One field of a row.

    Attributes:
        name: column name.
        kind: how its cells are read. ``history`` is a list, oldest first, in JSON or with
            ``separator``; ``json`` any JSON value; ``id`` is never rendered.
        names: what a reader calls it; made from ``name`` by default.
        aliases: other column names that mean this field, compared without case.
        unit: follows a number; for a price the currency of cells that name none.
        values: category code → what a reader calls it.
        items: the parts of a history's items that are objects, in reading order; all parts by
            default.
        newest_first: the history is stored with its newest item first.
        max_items: how many items of a history are shown, the most recent ones; the rest is
            counted.
        separator: splits a history that is not JSON.
        decimal: the decimal mark of a number or price, ``comma`` or ``point``; found out from the
            column by default.
        date_format: :func:`datetime.strptime` format; common forms are read without.
        missing: whether the text says that the value is missing.
        weight: of the field in :class:`ecomfs.features.GowerSpace`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    kind: FieldKind
    names: Words | None = None
    aliases: tuple[str, ...] = ()
    unit: Words = Words(en="", zh="")
    values: Mapping[str, Words] = Field(default_factory=dict)
    items: tuple[FieldSpec, ...] = ()
    newest_first: bool = False
    max_items: int = Field(default=12, ge=1)
    separator: str = ""
    decimal: DecimalMark = ""
    date_format: str = ""
    missing: Literal["say", "skip"] = "say"
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        only = {"values": "category", "items": "history", "separator": "history"}
        only |= {"newest_first": "history", "date_format": "date"}
        for option, kind in only.items():
            if getattr(self, option) and self.kind != kind:
                raise ValueError(f"field {self.name!r}: {option} is for kind {kind!r} only")
        if self.decimal and self.kind not in NUMBERS:
            raise ValueError(f"field {self.name!r}: decimal is for kinds number and price only")
        if any(part.kind in {"history", "id"} for part in self.items):
            raise ValueError(f"field {self.name!r}: items cannot be of kind history or id")
        return self

    def title(self, language: Language) -> str:
        """What a reader calls the field.

        >>> FieldSpec(name="ProductRelated_Duration", kind="number").title("en")
        'product related duration'
        """
        return self.names.get(language) if self.names else readable(self.name)

    def find(self, row: Row) -> object:
        """The field's value in a row, by name or alias; ``None`` when no column has it.

        >>> FieldSpec(name="price", kind="price", aliases=("Price (USD)",)).find({"price (usd)": 3})
        3
        """
        if self.name in row:
            return row[self.name]
        wanted = {name.casefold() for name in (self.name, *self.aliases)}
        return next((value for key, value in row.items() if key.casefold() in wanted), None)


def readable(name: str) -> str:
    """A column name as words.

    >>> readable("MntWines"), readable("is_switch"), readable("URL"), readable("last_5G_visit")
    ('mnt wines', 'is switch', 'URL', 'last 5G visit')
    """
    words = [word for word in _CAMEL.split(name) if word]
    return " ".join(word if word.isupper() else word.lower() for word in words)
