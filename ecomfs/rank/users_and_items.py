"""The tables of users and items whose pairs are ranked.

Together their columns are the fields of the card. Histories belong to the user; any other field
belongs to the item if the catalogue has a column for it, else to the user.

A table of users has one of two forms. *Wide*: one row per user, with the history as a JSON list in
a cell. *Long*: one row per event, oldest first; its columns are the parts of the card's history
(title, rating, price …), and one column may name the user (without it, all rows are of one user).
Other columns describe the user, with the same value in each of the user's rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd

from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
    RowError,
)
from ecomfs.features import RowText, read_cell, with_decimals
from ecomfs.io import TableReader, cell_text, same_text, text_encoding
from ecomfs.task import CardField, TaskCard, find_column, is_missing
from ecomfs.types import Row

TableSource = str | PathLike[str] | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A file, a DataFrame, a mapping, or a sequence of mappings."""
USER_IDS = ("user", "user_id", "userid", "uid", "customer", "customer_id", "用户", "用户id")
ITEM_IDS = ("item_id", "sku", "product_id", "asin", "商品id", "商品编号")
"""Names of columns, or of parts of a history, that hold the id of an item."""


@dataclass(frozen=True, slots=True)
class User:
    """A user: an id, and the card's fields that describe the user.

    >>> User("u1", {"liked": '["Chess"]'}).id
    'u1'
    """

    id: str
    fields: Row


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate.

    Attributes:
        id: unique in its catalogue.
        fields: the card's fields that describe the item.
        cells: its row of the catalogue as read.
        error: why the row cannot be read; empty if it can.

    >>> Item("c1", {"item": "Mug"}, {"item_id": "c1", "title": "Mug"}).error
    ''
    """

    id: str
    fields: Row
    cells: Row
    error: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The candidates, in the order of their table; ``header`` are its columns.

    >>> Catalogue(("title",), (Item("c1", {"item": "Mug"}, {"title": "Mug"}),)).items[0].id
    'c1'
    """

    header: tuple[str, ...]
    items: tuple[Item, ...]


def read_users_and_items(
    card: TaskCard,
    users: TableSource,
    items: TableSource,
    *,
    fields: Mapping[str, str] | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    encoding: str | None = None,
) -> tuple[list[User], Catalogue]:
    """Read users and items from two tables.

    Args:
        fields: card field → column (of either table), where names differ.
        user_column: column with the user's id; by default one of :data:`USER_IDS`.
        item_column: column with the item's id; by default one of :data:`ITEM_IDS` or ``id``, else
            items are numbered.
        encoding: encoding of files that are not UTF-8; detected by default.

    Raises:
        InputError: a file or a user's history cannot be read, or an item has no id.
        ColumnError: a required field of the card, or a named column, is missing.
        DuplicateIdError: two items, or two users of a wide table, have the same id.

    >>> from ecomfs.task import load_task
    >>> users, catalogue = read_users_and_items(
    ...     load_task("product_preference"),
    ...     [{"user": "u1", "title": "Moka pot", "rating": 5}, {"user": "u1", "title": "Mug"}],
    ...     [{"item_id": "c1", "title": "Grinder"}])
    >>> users[0].fields
    {'history': [{'title': 'Moka pot', 'rating': 5}, {'title': 'Mug'}]}
    >>> catalogue.items[0].fields
    {'item': 'Grinder'}
    """
    user_table = _Records.read(users, "users", encoding)
    item_table = _Records.read(items, "items", encoding)
    explicit = dict(fields or {})
    known = {spec.name for spec in card.fields}
    for name in explicit:
        if name not in known:
            hint = f"fields are: {', '.join(spec.name for spec in card.fields)}"
            raise ColumnError(f"task {card.name!r} has no field {name!r}", hint=hint)
    of_items = {
        spec.name: column
        for spec in card.fields
        if spec.kind != "history"
        and spec.name != card.user  # filled with each user's id
        and (column := _column(spec, item_table.header, explicit)) is not None
    }
    of_users = {
        spec.name: column
        for spec in card.fields
        if spec.name not in of_items
        and spec.name != card.user
        and (column := _column(spec, user_table.header, explicit)) is not None
    }
    for name in explicit:
        if name not in of_items and name not in of_users:
            raise ColumnError(
                f"{item_table.name} and {user_table.name}: no column {explicit[name]!r} for "
                f"{name!r}",
                hint=f"columns are: {', '.join((*item_table.header, *user_table.header))}",
            )
    for spec in card.fields:
        if spec.required and spec.name not in of_items and spec.name not in of_users:
            raise ColumnError(
                f"{item_table.name}: no column {spec.name!r}",
                hint=f"columns are: {', '.join(item_table.header)}; name it with "
                f"--field {spec.name}=COLUMN",
            )
    if not of_items:
        raise ColumnError(
            f"{item_table.name}: no column that describes an item",
            hint=f"columns are: {', '.join(item_table.header)}; name one with --field FIELD=COLUMN",
        )
    catalogue = _catalogue(item_table, of_items, item_column)
    return _users(card, user_table, of_users, user_column), catalogue


def _column(spec: CardField, header: tuple[str, ...], explicit: Mapping[str, str]) -> str | None:
    wanted = explicit.get(spec.name)
    if wanted is not None:
        return wanted if wanted in header else None
    return _first(header, (spec.name, *spec.aliases))


def _first(header: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    try:
        return find_column(header, None, names, "", "")
    except ColumnError:
        return None


def _catalogue(item_table: _Records, columns: Mapping[str, str], wanted: str | None) -> Catalogue:
    if wanted is not None:
        find_column(item_table.header, wanted, (), item_table.name, "--item-column ")
    id_column = wanted or _first(item_table.header, (*ITEM_IDS, "id"))
    ids = item_table.ids(id_column, "item", "make the ids unique")
    items = (
        Item(id_, record.values(columns), record.cells, record.error)
        for id_, record in zip(ids, item_table.rows, strict=True)
    )
    return Catalogue(item_table.header, tuple(items))


def _users(
    card: TaskCard, user_table: _Records, columns: Mapping[str, str], wanted: str | None
) -> list[User]:
    for record in user_table.rows:
        if record.error:
            raise InputError(f"{user_table.name}, {record.error}")
    if wanted is not None:
        find_column(user_table.header, wanted, (), user_table.name, "--user-column ")
    histories = [spec for spec in card.fields if spec.kind == "history"]
    wide = any(spec.name in columns for spec in histories) or (columns and not histories)
    users = (
        _wide(card, user_table, columns, wanted)
        if wide
        else _long(user_table, histories, columns, wanted)
    )
    words = RowText(card)
    for where, user in users:
        if any(not _empty(value) for value in user.fields.values()):
            try:
                words.render(user.fields, "en")
            except RowError as error:
                raise InputError(f"{where}: {error.message}", hint=error.hint) from error
    return [user for _, user in users]


def _wide(
    card: TaskCard, user_table: _Records, columns: Mapping[str, str], wanted: str | None
) -> list[tuple[str, User]]:
    id_column = wanted or _first(user_table.header, (*USER_IDS, "id"))
    ids = user_table.ids(id_column, "user", "one row a user")
    known = [record.values(columns) for record in user_table.rows]
    specs = [
        (spec.name, spec.model_copy(update={"name": columns[spec.name]}))
        for spec in with_decimals([s.rendering for s in card.fields], known, strict=False)
        if spec.name in columns
    ]
    users = []
    for id_, record, values in zip(ids, user_table.rows, known, strict=True):
        for name, spec in specs:
            try:
                read_cell(spec, values[name])
            except RowError as error:
                raise InputError(f"{record.where}: {error.message}", hint=error.hint) from error
        users.append((record.where, User(id_, values)))
    return users


def _long(
    user_table: _Records,
    histories: list[CardField],
    columns: Mapping[str, str],
    wanted: str | None,
) -> list[tuple[str, User]]:
    id_column = wanted or _first(user_table.header, USER_IDS)
    spec = next((spec for spec in histories if spec.rendering.items), None)
    known = [] if spec is None else spec.rendering.items
    found = {p.name: _first(user_table.header, (p.name, *p.aliases)) for p in known}
    parts = {name: c for name, c in found.items() if c is not None and c != id_column}
    if spec is None or not parts:
        names = ", ".join(spec.name for spec in histories) or "user"
        raise ColumnError(
            f"{user_table.name}: no column that describes a user ({names})",
            hint=f"columns are: {', '.join(user_table.header)}; name one with --field FIELD=COLUMN",
        )
    id_part = _first(user_table.header, ITEM_IDS)
    if id_part is not None:
        parts.setdefault("item_id", id_part)  # never shown; for history_keys
    own = {name: column for name, column in columns.items() if column not in parts.values()}
    events_of: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    fields_of: dict[str, dict[str, Any]] = {}
    for record in user_table.rows:
        id_ = record.id(id_column, "1")
        values = record.values(parts)
        entry = {name: value for name, value in values.items() if not _empty(value)}
        if not entry:
            raise InputError(f"{record.where}: nothing in {', '.join(map(repr, parts.values()))}")
        events_of.setdefault(id_, (record.where, []))[1].append(entry)
        fields = fields_of.setdefault(id_, {})
        for name, value in record.values(own).items():
            if not _empty(value) and cell_text(fields.setdefault(name, value)) != cell_text(value):
                raise InputError(
                    f"{record.where}: column {own[name]!r} is {value!r} for user {id_!r}, in an "
                    f"earlier row {fields[name]!r}",
                    hint="give a user one value, or one row",
                )
    return [
        (where, User(id_, {**fields_of[id_], spec.name: events}))
        for id_, (where, events) in events_of.items()
    ]


def _empty(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


@dataclass(frozen=True, slots=True)
class _Record:
    """One row: its location (for messages), its cells, and why it cannot be used."""

    where: str
    cells: Mapping[str, Any]
    error: str = ""

    def id(self, column: str | None, otherwise: str) -> str:
        """The id in a column; ``otherwise`` where there is no column.

        Raises:
            InputError: the cell of a row that can be used is empty.
        """
        # A whole float is its integer: pandas turns ids into floats if some are missing.
        found = otherwise if column is None else cell_text(self._value(column)).strip()
        if not found and not self.error:
            raise InputError(f"{self.where}: column {column!r} is empty")
        return found

    def values(self, columns: Mapping[str, str]) -> dict[str, Any]:
        """Name → the value in its column; empty where it is missing."""
        return {name: self._value(column) for name, column in columns.items()}

    def _value(self, column: str) -> Any:
        value = self.cells.get(column, "")
        return "" if is_missing(value) else value


@dataclass(frozen=True, slots=True)
class _Records:
    """A table in memory; users and items are few compared with their pairs."""

    name: str
    header: tuple[str, ...]
    rows: list[_Record]

    @classmethod
    def read(cls, source: TableSource, name: str, encoding: str | None = None) -> _Records:
        """Read a file, or rows in memory, which ``name`` names in messages."""
        if isinstance(source, str | PathLike):
            reader = TableReader(source, encoding=text_encoding(source, encoding))
            rows = [
                _Record(f"{reader.name}, line {row.line}", row.cells, row.error)
                for row in reader.rows()
            ]
            return cls(reader.name, tuple(reader.header), rows)
        cells = list(_dicts(source, name))
        if not cells:
            raise EmptyInputError(f"{name}: no rows")
        header = tuple(dict.fromkeys(key for row in cells for key in row))
        return cls(name, header, [_Record(f"{name}, row {i}", row) for i, row in enumerate(cells)])

    def ids(self, column: str | None, what: str, fix: str) -> list[str]:
        """The ids of the rows, or row numbers without a column.

        Raises:
            InputError: a row has no id.
            DuplicateIdError: two rows have the same id.
        """
        out: list[str] = []
        seen: dict[str, str] = {}
        for number, record in enumerate(self.rows, 1):
            out.append(record.id(column, str(number)))
            if record.error:
                continue
            if out[-1] in seen:
                raise DuplicateIdError(
                    f"{record.where}: {what} {out[-1]!r} is already at {seen[out[-1]]}",
                    hint=f"{fix}, or name another column with --{what}-column",
                )
            seen[out[-1]] = record.where
        return out


def _dicts(
    source: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]], name: str
) -> Iterable[dict[str, Any]]:
    if isinstance(source, pd.DataFrame):
        header = [str(c) for c in source.columns]
        for values in source.itertuples(index=False, name=None):
            yield dict(zip(header, values, strict=True))
        return
    for row in [source] if isinstance(source, Mapping) else source:
        if not isinstance(row, Mapping):
            raise ConfigError(
                f"{name}: a row is {row!r}", hint="give a file, a DataFrame or a list of dicts"
            )
        yield {str(key): value for key, value in row.items()}


def history_keys(fields: Row, card: TaskCard) -> frozenset[str]:
    """The keys by which a history is compared: titles of its items, and their ids if given.

    >>> from ecomfs.task import load_task
    >>> card = load_task("product_preference")
    >>> cell = '[{"title": "Moka pot, 3 cups", "item_id": "c7"}]'
    >>> sorted(history_keys({"liked": '["Chess set"]', "history": cell}, card))
    ['chess set', 'id:c7', 'moka pot, 3 cups']
    """
    keys: set[str] = set()
    for spec in card.fields:
        if spec.kind != "history":
            continue
        titles = {
            spelling.casefold()
            for part in spec.rendering.items
            if part.kind == "text"
            for spelling in (part.name, *part.aliases)
        }
        try:
            entries = read_cell(spec.rendering, fields.get(spec.name, "")) or []
        except RowError:
            continue  # such a row fails when it is read
        for entry in entries:
            keys.update(_history_keys(entry, titles))
    return frozenset(keys)


def item_keys(id_: str, texts: Iterable[str]) -> frozenset[str]:
    """The keys by which an item is compared: its titles and its id.

    >>> sorted(item_keys("c7", ["Moka Pot, 3 cups"]))
    ['id:c7', 'moka pot, 3 cups']
    """
    return frozenset({_id_key(id_), *(same_text(text) for text in texts if text.strip())})


_WHOLE_FLOAT = re.compile(r"(-?\d+)\.0+")


def _id_key(value: Any) -> str:
    """The key of an id; ``7.0``, into which pandas turns 7 in a column with a gap, is ``7``."""
    text = cell_text(value).strip()
    found = _WHOLE_FLOAT.fullmatch(text)
    return f"id:{found[1] if found else text}"


def _history_keys(entry: Any, titles: set[str]) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        if entry not in (None, ""):
            yield same_text(str(entry))
        return
    for name, value in entry.items():
        if value in (None, ""):
            continue
        key = str(name).casefold()
        if key in titles:
            yield same_text(str(value))
        elif key in ITEM_IDS:
            yield _id_key(value)
