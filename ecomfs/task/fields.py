"""Which column of a table is which field of the card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ecomfs.core.words import did_you_mean, listed
from ecomfs.errors import ColumnError, RowError
from ecomfs.io import (
    ColumnNumbers,
    DecimalMark,
    mark_in_words,
    possible_marks,
    rewrite_number,
)
from ecomfs.task.card import NUMBERS, TaskCard
from ecomfs.types import is_missing

_WITH_MARK = re.compile(r"(?P<column>.*):(?P<mark>comma|point)", re.S)


def _find(header: Sequence[str], names: Sequence[str], where: str, option: str) -> str | None:
    by_key: dict[str, list[str]] = {}
    for column in header:
        by_key.setdefault(column.strip().casefold(), []).append(column)
    for name in names:
        same = by_key.get(name.casefold(), [])
        if name in same or len(same) == 1:
            return name if name in same else same[0]
        if same:
            raise ColumnError(
                f"{where}: the columns {', '.join(map(repr, same))} may each be {name!r}",
                hint=f"name one with {option}COLUMN",
            )
    return None


def _missing(where: str, wanted: str, header: Sequence[str], option: str) -> ColumnError:
    near = did_you_mean(wanted, header, fold=True)
    return ColumnError(
        f"{where}: no column {wanted!r}",
        hint=f"{near}columns are: {', '.join(header)}; name it with {option}COLUMN",
    )


def find_column(
    header: Sequence[str], wanted: str | None, names: Sequence[str], where: str, option: str
) -> str:
    """The column a user named, or the first of the conventional ``names`` that is there.

    Parameters
    ----------
    header : Sequence[str]
        The columns of the table.
    wanted : str | None
        The column that the user named.
    names : Sequence[str]
        Conventional names, in order of preference.
    where : str
        What messages call the table.
    option : str
        The command-line option up to the column, such as ``"--label-column "``.

    Returns
    -------
    str
        A name of ``header``.

    Raises
    ------
    ColumnError
        Neither is there, and the hint lists the columns and names ``option``; or several columns
        differ from a conventional name in case only.

    Examples
    --------
    >>> find_column(["id", "Label"], None, ["label", "class"], "pool.csv", "--label-column ")
    'Label'
    """
    if wanted is not None:
        if wanted in header:
            return wanted
        raise _missing(where, wanted, header, option)
    found = _find(header, names, where, option)
    if found is None:
        raise _missing(where, names[0], header, option)
    return found


@dataclass(frozen=True, slots=True)
class FieldMap:
    """Card field → table column, and how the table writes its numbers.

    Attributes
    ----------
    columns : Mapping[str, str]
        Field → column.
    named : Mapping[str, DecimalMark]
        Field → decimal mark, where the user named it.
    marks : Mapping[str, tuple[DecimalMark, DecimalMark]]
        Field → decimal mark of the table and that of the card, where they differ.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> card = load_task("product_category")
    >>> FieldMap.resolve(card, ["id", "Title"]).columns
    {'title': 'Title'}
    """

    columns: Mapping[str, str]
    named: Mapping[str, DecimalMark] = field(default_factory=dict)
    marks: Mapping[str, tuple[DecimalMark, DecimalMark]] = field(default_factory=dict)

    @classmethod
    def resolve(
        cls,
        card: TaskCard,
        header: Sequence[str],
        explicit: Mapping[str, str] | None = None,
        where: str = "table",
    ) -> FieldMap:
        """Match by explicit choice, then name, then alias, ignoring case.

        Args:
            explicit: field → ``COLUMN``, ``COLUMN:comma`` or ``COLUMN:point``, which names the
                decimal mark of a number; ``:comma`` alone leaves the column to its name.

        Raises:
            ColumnError: a required field has no column, an explicit column is not there, or an
                explicit field is not the card's; or no field at all has one.
        """
        explicit = dict(explicit or {})
        names = [f.name for f in card.fields]
        named: dict[str, DecimalMark] = {}
        for name, column in list(explicit.items()):
            match = None if column in header else _WITH_MARK.fullmatch(column)
            if match is not None:
                named[name] = cast("DecimalMark", match["mark"])
                explicit[name] = match["column"]
                if not match["column"]:
                    del explicit[name]
        for name in (*explicit, *named):
            if name not in names:
                raise ColumnError(
                    f"task {card.name!r} has no field {name!r}",
                    hint=f"fields are: {', '.join(names)}",
                )
        for spec in card.fields:
            if spec.name in named and spec.kind not in NUMBERS:
                raise ColumnError(
                    f"field {spec.name!r} is of kind {spec.kind}: it has no decimal mark",
                    hint="name the column alone",
                )
        columns: dict[str, str] = {}
        for spec in card.fields:
            wanted = explicit.get(spec.name)
            option = f"--field {spec.name}="
            if wanted is not None or spec.required:
                known = (spec.name, *spec.aliases)
                columns[spec.name] = find_column(header, wanted, known, where, option)
            else:
                found = _find(header, (spec.name, *spec.aliases), where, option)
                if found is not None:
                    columns[spec.name] = found
        if header and not columns:
            raise ColumnError(
                f"{where}: no column of task {card.name!r}",
                hint=f"its fields are: {listed(names, 6)}; columns are: {', '.join(header)}; "
                "name one with --field FIELD=COLUMN",
            )
        marks: dict[str, tuple[DecimalMark, DecimalMark]] = {}
        marks.update({name: (mark, "") for name, mark in named.items() if name in columns})
        return cls(columns, named, marks)

    def decided(
        self,
        card: TaskCard,
        rows: Iterable[Mapping[str, Any]],
        *,
        where: str = "table",
        likely: DecimalMark = "",
        typed: bool = False,
        strict: bool = True,
    ) -> FieldMap:
        """The same with the decimal marks that the table's own columns have, so that
        :meth:`fields` gives numbers which read the same by the card's.

        Args:
            card: with the marks of the pool, where it has them.
            rows: all rows of the table; not looked at when no field is a number.
            likely: see :class:`ecomfs.io.numbers.ColumnNumbers`.
            typed: the format keeps numbers apart from text, so that a lone point is the mark.
            strict: whether a column that does not say its mark is an error; else its rows fail one
                by one.

        Raises:
            RowError: a column mixes marks, or does not say its own and neither does the card.
        """
        specs = {s.name: s.rendering for s in card.fields if s.kind in NUMBERS}
        specs = {name: spec for name, spec in specs.items() if name in self.columns}
        open_ = {n: ColumnNumbers(self.columns[n], likely) for n in specs if n not in self.named}
        if open_:
            for row in rows:
                for name, column in open_.items():
                    column.add(row.get(self.columns[name], ""))
        marks: dict[str, tuple[DecimalMark, DecimalMark]] = {}
        for name, spec in specs.items():
            try:
                mark = self.named.get(name) or _mark(open_[name], spec.decimal, typed)
            except RowError as error:
                if strict:
                    raise RowError(f"{where}: {error.message}", hint=error.hint) from error
                continue
            if mark and mark != spec.decimal:
                marks[name] = (mark, spec.decimal)
        return replace(self, marks=marks)

    def conventions(self, card: TaskCard) -> dict[str, str]:
        """Column → its decimal mark in words, of numbers whose mark is known."""
        out = {}
        for spec in card.fields:
            mark = self.marks[spec.name][0] if spec.name in self.marks else spec.rendering.decimal
            if spec.name in self.columns and mark:
                out[self.columns[spec.name]] = mark_in_words(mark)
        return out

    def fields(self, cells: Mapping[str, Any], card: TaskCard) -> dict[str, Any]:
        """The card's fields of one row; what is absent or missing is the empty string."""
        out: dict[str, Any] = {}
        for spec in card.fields:
            value = cells.get(self.columns.get(spec.name, ""), "")
            out[spec.name] = "" if is_missing(value) else value
        for name, (mark, wanted) in self.marks.items():
            value = out[name]
            if not isinstance(value, str):
                continue
            # Without a mark of the pool's, a cell that has one reading is read as it stands; so is
            # a lone point.
            unclear = len(possible_marks(value)) > 1 and (mark == "comma" or "," in value)
            if wanted or unclear:
                out[name] = rewrite_number(value, mark, wanted)
        return out


def _mark(column: ColumnNumbers, known: DecimalMark, typed: bool) -> DecimalMark:
    if typed and column.unclear and not column.commas:
        return "point"
    if known and (column.unclear or column.mixed):
        return known  # the rows that contradict it fail one by one
    return column.decided()


def first_empty(row: Mapping[str, Any], card: TaskCard) -> str | None:
    """The first required field of a row that is empty.

    Parameters
    ----------
    row : Mapping[str, Any]
        Field → value.
    card : TaskCard
        The task card.

    Returns
    -------
    str | None
        The name of the first required field without a value; ``None`` when the row can be used.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> first_empty({"text": " "}, load_task("review_sentiment"))
    'text'
    """
    for spec in card.fields:
        if spec.required and not str(row.get(spec.name, "")).strip():
            return spec.name
    return None
