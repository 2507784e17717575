"""Users and items: the two tables whose pairs are ranked.

The columns of the two together are the fields of the card. Fields that are histories are the
user's; any other is the item's where the catalogue has a column for it, else the user's.

A table of users comes in two forms. *Wide*: one row a user, with the history in a cell (a JSON
list). *Long*: one row for each thing a user did, oldest first, whose columns are the parts of the
card's history (title, rating, price …); a column names the user, or all rows are one user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecomfs.errors import ColumnError, DuplicateIdError, InputError, RowError
from ecomfs.features import RowText, read_cell, with_decimals
from ecomfs.rank.records import Record, Records, Rows
from ecomfs.rank.seen import ITEM_IDS
from ecomfs.task import CardField, TaskCard, find_column, is_missing
from ecomfs.types import Row

USER_IDS = ("user", "user_id", "userid", "uid", "customer", "customer_id", "用户", "用户id")


@dataclass(frozen=True, slots=True)
class User:
    """A user: an id, and the card's fields that say what is known of them."""

    id: str
    fields: Row


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate.

    Attributes:
        id: unique in its catalogue.
        fields: the card's fields that describe it.
        cells: its row of the catalogue as it came.
        error: why the row cannot be read; empty when it can.
    """

    id: str
    fields: Row
    cells: Row
    error: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The candidates, in the order of their table; ``header`` are its columns."""

    header: tuple[str, ...]
    items: tuple[Item, ...]


def read_parties(
    card: TaskCard,
    users: Rows,
    items: Rows,
    *,
    fields: Mapping[str, str] | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    encoding: str | None = None,
) -> tuple[list[User], Catalogue]:
    """Users and items of two tables.

    Args:
        fields: card field → column (of whichever table has it), where names differ.
        user_column: names the user; one of :data:`USER_IDS` by default.
        item_column: names the item; one of :data:`~ecomfs.rank.seen.ITEM_IDS` or ``id`` by
            default, else items are numbered.
        encoding: of files that are not UTF-8; found out by default.

    Raises:
        InputError: a file; a user's history that cannot be read; an item without an id.
        ColumnError: a field of the card that is needed, or a named column, is not there.
        DuplicateIdError: two items, or two users of a wide table, with one id.

    >>> from ecomfs.task import load_task
    >>> users, catalogue = read_parties(
    ...     load_task("product_preference"),
    ...     [{"user": "u1", "title": "Moka pot", "rating": 5}, {"user": "u1", "title": "Mug"}],
    ...     [{"item_id": "c1", "title": "Grinder"}])
    >>> users[0].fields
    {'history': [{'title': 'Moka pot', 'rating': 5}, {'title': 'Mug'}]}
    >>> catalogue.items[0].fields
    {'item': 'Grinder'}
    """
    people = Records.read(users, "users", encoding)
    things = Records.read(items, "items", encoding)
    explicit = dict(fields or {})
    known = {spec.name for spec in card.fields}
    for name in explicit:
        if name not in known:
            hint = f"fields are: {', '.join(spec.name for spec in card.fields)}"
            raise ColumnError(f"task {card.name!r} has no field {name!r}", hint=hint)
    of_items = {
        spec.name: column
        for spec in card.fields
        if spec.kind != "history" and (column := _column(spec, things.header, explicit)) is not None
    }
    of_users = {
        spec.name: column
        for spec in card.fields
        if spec.name not in of_items
        and (column := _column(spec, people.header, explicit)) is not None
    }
    for name in explicit:
        if name not in of_items and name not in of_users:
            raise ColumnError(
                f"{things.name} and {people.name}: no column {explicit[name]!r} for {name!r}",
                hint=f"columns are: {', '.join((*things.header, *people.header))}",
            )
    for spec in card.fields:
        if spec.required and spec.name not in of_items and spec.name not in of_users:
            raise ColumnError(
                f"{things.name}: no column {spec.name!r}",
                hint=f"columns are: {', '.join(things.header)}; name it with "
                f"--field {spec.name}=COLUMN",
            )
    if not of_items:
        raise ColumnError(
            f"{things.name}: no column that describes an item",
            hint=f"columns are: {', '.join(things.header)}; name one with --field FIELD=COLUMN",
        )
    catalogue = _catalogue(things, of_items, item_column)
    return _users(card, people, of_users, user_column), catalogue


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


def _catalogue(things: Records, columns: Mapping[str, str], wanted: str | None) -> Catalogue:
    if wanted is not None:
        find_column(things.header, wanted, (), things.name, "--item-column ")
    id_column = wanted or _first(things.header, (*ITEM_IDS, "id"))
    items: list[Item] = []
    lines: dict[str, str] = {}
    for number, record in enumerate(things.rows, 1):
        id_ = _text(record.cells.get(id_column)) if id_column else str(number)
        if not record.error:
            if not id_:
                raise InputError(f"{record.where}: column {id_column!r} is empty")
            if id_ in lines:
                raise DuplicateIdError(
                    f"{record.where}: item {id_!r} is already at {lines[id_]}",
                    hint="make the ids unique, or name another column with --item-column",
                )
            lines[id_] = record.where
        values = {name: _value(record, column) for name, column in columns.items()}
        items.append(Item(id_, values, record.cells, record.error))
    return Catalogue(things.header, tuple(items))


def _users(
    card: TaskCard, people: Records, columns: Mapping[str, str], wanted: str | None
) -> list[User]:
    for record in people.rows:
        if record.error:
            raise InputError(f"{people.name}, {record.error}")
    if wanted is not None:
        find_column(people.header, wanted, (), people.name, "--user-column ")
    histories = [spec for spec in card.fields if spec.kind == "history"]
    wide = any(spec.name in columns for spec in histories) or (columns and not histories)
    users = _wide(card, people, columns, wanted) if wide else _long(people, histories, wanted)
    words = RowText(card)
    for where, user in users:
        if any(not _empty(value) for value in user.fields.values()):
            try:
                words.render(user.fields, "en")
            except RowError as error:
                raise InputError(f"{where}: {error.message}", hint=error.hint) from error
    return [user for _, user in users]


def _wide(
    card: TaskCard, people: Records, columns: Mapping[str, str], wanted: str | None
) -> list[tuple[str, User]]:
    id_column = wanted or _first(people.header, (*USER_IDS, "id"))
    users: list[tuple[str, User]] = []
    seen: dict[str, str] = {}
    known = [{n: _value(record, c) for n, c in columns.items()} for record in people.rows]
    specs = with_decimals([spec.rendering for spec in card.fields], known, strict=False)
    for number, record in enumerate(people.rows, 1):
        id_ = _text(record.cells.get(id_column)) if id_column else str(number)
        if not id_:
            raise InputError(f"{record.where}: column {id_column!r} is empty")
        if id_ in seen:
            raise DuplicateIdError(
                f"{record.where}: user {id_!r} is already at {seen[id_]}",
                hint="one row a user, or name another column with --user-column",
            )
        seen[id_] = record.where
        values = {name: _value(record, column) for name, column in columns.items()}
        for spec in specs:
            if spec.name in columns:
                named = spec.model_copy(update={"name": columns[spec.name]})
                try:
                    read_cell(named, values[spec.name])
                except RowError as error:
                    raise InputError(f"{record.where}: {error.message}", hint=error.hint) from error
        users.append((record.where, User(id_, values)))
    return users


def _long(
    people: Records, histories: list[CardField], wanted: str | None
) -> list[tuple[str, User]]:
    id_column = wanted or _first(people.header, USER_IDS)
    spec = next((spec for spec in histories if spec.rendering.items), None)
    parts = {} if spec is None else {
        part.name: column
        for part in spec.rendering.items
        if (column := _first(people.header, (part.name, *part.aliases))) not in (None, id_column)
    }  # fmt: skip
    if spec is None or not parts:
        names = ", ".join(spec.name for spec in histories) or "user"
        raise ColumnError(
            f"{people.name}: no column that tells of a user ({names})",
            hint=f"columns are: {', '.join(people.header)}; name one with --field FIELD=COLUMN",
        )
    id_part = _first(people.header, ITEM_IDS)
    if id_part is not None:
        parts.setdefault("item_id", id_part)  # never shown; an item in it is known by its id
    told: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for record in people.rows:
        id_ = _text(record.cells.get(id_column)) if id_column else "1"
        if not id_:
            raise InputError(f"{record.where}: column {id_column!r} is empty")
        values = {name: _value(record, column) for name, column in parts.items() if column}
        entry = {name: value for name, value in values.items() if not _empty(value)}
        if not entry:
            raise InputError(f"{record.where}: nothing in {', '.join(map(repr, parts.values()))}")
        told.setdefault(id_, (record.where, []))[1].append(entry)
    return [(where, User(id_, {spec.name: events})) for id_, (where, events) in told.items()]


def _value(record: Record, column: str) -> Any:
    value = record.cells.get(column, "")
    return "" if is_missing(value) else value


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value).strip()


def _empty(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()
