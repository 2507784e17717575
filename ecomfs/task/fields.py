"""Maps the columns of a table to the fields of a task card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ecomfs.core.messages import did_you_mean, listed
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
                f"{where}: several columns match {name!r}: {', '.join(map(repr, same))}",
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
    """The column that the user named, else the first of the usual ``names`` in the header.

    Parameters
    ----------
    header : Sequence[str]
        The columns of the table.
    wanted : str | None
        The column that the user named.
    names : Sequence[str]
        Usual names, in order of preference.
    where : str
        Name of the table in messages.
    option : str
        Command-line option for the column, such as ``"--label-column "``, for the hint.

    Returns
    -------
    str
        A name of ``header``.

    Raises
    ------
    ColumnError
        No such column (the hint lists the columns and ``option``), or several columns differ from a
        usual name in case only.

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
    """Maps the fields of a card to the columns of a table, with the decimal marks of the table.

    Attributes
    ----------
    columns : Mapping[str, str]
        Field → column.
    named : Mapping[str, DecimalMark]
        Field → decimal mark, if the user named it.
    marks : Mapping[str, tuple[DecimalMark, DecimalMark]]
        Field → decimal marks of the table and of the card, for fields where they differ.

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
        """Match columns by explicit choice, then name, then alias, ignoring case.

        Args:
            explicit: field → ``COLUMN``, or ``COLUMN:comma`` or ``COLUMN:point`` to set the
                decimal mark of a number; with ``:comma`` alone the column is matched by name.

        Raises:
            ColumnError: a required field or all fields have no column, or an explicit column or
                field does not exist.
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
                    hint="give the column without a decimal mark",
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
                f"{where}: no column for any field of task {card.name!r}",
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
        """A copy with the decimal marks of the table, decided from its rows; :meth:`fields` then
        rewrites numbers with the decimal marks of the card.

        Args:
            card: the card, with the decimal marks of the pool where they are known.
            rows: all rows of the table; not read when no field is a number.
            likely: see :class:`ecomfs.io.numbers.ColumnNumbers`.
            typed: the format distinguishes numbers from text, so that a single point is the mark.
            strict: whether an ambiguous column is an error; else its ambiguous rows fail one by
                one.

        Raises:
            RowError: a column mixes marks, or is ambiguous and the card does not decide.
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
        """Column → its decimal mark in words, for columns whose mark is known."""
        out = {}
        for spec in card.fields:
            mark = self.marks[spec.name][0] if spec.name in self.marks else spec.rendering.decimal
            if spec.name in self.columns and mark:
                out[self.columns[spec.name]] = mark_in_words(mark)
        return out

    def fields(self, cells: Mapping[str, Any], card: TaskCard) -> dict[str, Any]:
        """The fields of one row by name; missing values are the empty string."""
        out: dict[str, Any] = {}
        for spec in card.fields:
            value = cells.get(self.columns.get(spec.name, ""), "")
            out[spec.name] = "" if is_missing(value) else value
        for name, (mark, wanted) in self.marks.items():
            value = out[name]
            if not isinstance(value, str):
                continue
            # If the pool's mark is unknown, an unambiguous cell and a single point are kept.
            unclear = len(possible_marks(value)) > 1 and (mark == "comma" or "," in value)
            if wanted or unclear:
                out[name] = rewrite_number(value, mark, wanted)
        return out


def _mark(column: ColumnNumbers, known: DecimalMark, typed: bool) -> DecimalMark:
    if typed and column.unclear and not column.commas:
        return "point"
    if known and (column.unclear or column.mixed):
        return known  # rows that contradict it fail one by one
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
