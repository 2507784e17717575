"""Which column of a table is which field of the card."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecomfs.errors import ColumnError
from ecomfs.task.card import TaskCard


def _find(header: Sequence[str], names: Sequence[str]) -> str | None:
    by_key = {column.strip().casefold(): column for column in reversed(header)}
    for name in names:
        if name.casefold() in by_key:
            return by_key[name.casefold()]
    return None


def _missing(where: str, wanted: str, header: Sequence[str], option: str) -> ColumnError:
    folded = {column.strip().casefold(): column for column in reversed(header)}
    close = difflib.get_close_matches(wanted.strip().casefold(), folded, n=1)
    did = f"did you mean {folded[close[0]]!r}? " if close else ""
    return ColumnError(
        f"{where}: no column {wanted!r}",
        hint=f"{did}columns are: {', '.join(header)}; name it with {option}COLUMN",
    )


def find_column(
    header: Sequence[str], wanted: str | None, names: Sequence[str], where: str, option: str
) -> str:
    """The column a user named, or the first of the conventional ``names`` that is there.

    ``option`` is the command-line spelling up to the column, such as ``"--label-column "``.

    Raises:
        ColumnError: neither is there; the hint lists the columns and names ``option``.
    """
    if wanted is not None:
        if wanted in header:
            return wanted
        raise _missing(where, wanted, header, option)
    found = _find(header, names)
    if found is None:
        raise _missing(where, names[0], header, option)
    return found


@dataclass(frozen=True, slots=True)
class FieldMap:
    """Card field → table column.

    >>> from ecomfs.task import load_task
    >>> card = load_task("product_category")
    >>> FieldMap.resolve(card, ["id", "Title"]).columns
    {'title': 'Title'}
    """

    columns: Mapping[str, str]

    @classmethod
    def resolve(
        cls,
        card: TaskCard,
        header: Sequence[str],
        explicit: Mapping[str, str] | None = None,
        where: str = "table",
    ) -> FieldMap:
        """Match by explicit choice, then name, then alias, ignoring case.

        Raises:
            ColumnError: a required field has no column, an explicit column is not there, or an
                explicit field is not the card's; or no field at all has one.
        """
        explicit = dict(explicit or {})
        names = [f.name for f in card.fields]
        for name in explicit:
            if name not in names:
                raise ColumnError(
                    f"task {card.name!r} has no field {name!r}",
                    hint=f"fields are: {', '.join(names)}",
                )
        columns: dict[str, str] = {}
        for spec in card.fields:
            wanted = explicit.get(spec.name)
            option = f"--field {spec.name}="
            if wanted is not None or spec.required:
                known = (spec.name, *spec.aliases)
                columns[spec.name] = find_column(header, wanted, known, where, option)
            else:
                found = _find(header, (spec.name, *spec.aliases))
                if found is not None:
                    columns[spec.name] = found
        if header and not columns:
            shown = ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
            raise ColumnError(
                f"{where}: no column of task {card.name!r}",
                hint=f"its fields are: {shown}; columns are: {', '.join(header)}; name one "
                "with --field FIELD=COLUMN",
            )
        return cls(columns)

    def fields(self, cells: Mapping[str, Any], card: TaskCard) -> dict[str, Any]:
        """The card's fields of one row; what is absent or missing is the empty string."""
        out: dict[str, Any] = {}
        for spec in card.fields:
            value = cells.get(self.columns.get(spec.name, ""), "")
            out[spec.name] = "" if is_missing(value) else value
        return out


def is_missing(value: Any) -> bool:
    """``None``, NaN, NaT or ``pandas.NA``: no value was given.

    >>> [is_missing(v) for v in (None, float("nan"), "", 0)]
    [True, True, False, False]
    """
    if value is None or type(value) is str:
        return value is None
    equal = value == value  # NaN and NaT differ from themselves; pandas.NA compares to NA
    return type(equal).__name__ == "NAType" or equal is False or str(equal) == "False"


def first_empty(row: Mapping[str, Any], card: TaskCard) -> str | None:
    """Name of the first required field that is empty; ``None`` when the row can be used."""
    for spec in card.fields:
        if spec.required and not str(row.get(spec.name, "")).strip():
            return spec.name
    return None
