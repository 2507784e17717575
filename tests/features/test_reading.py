"""Rows to typed values: a cell that is not of its field's kind is missing, never an error."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.features.value_reader import ValueReader
from ecomfs.task import FieldSpec

KINDS = ("text", "category", "number", "price", "date", "history", "json", "id")
SPECS = [FieldSpec(name=kind, kind=kind) for kind in KINDS]
CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.lists(st.text(max_size=5) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=5), st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from(KINDS), CELLS))
def test_any_cell_is_a_value_of_its_kind_or_missing(row: dict[str, Any]) -> None:
    (found,) = ValueReader(SPECS).fit([row]).read([row])
    assert list(found) == [k for k in KINDS if k not in ("json", "id")]
    assert found["number"] is None or isinstance(found["number"], float | int)
    assert found["date"] is None or isinstance(found["date"], datetime)
    assert found["history"] is None or isinstance(found["history"], list)
    for kind in found.keys() - row.keys():
        assert found[kind] is None


def test_of_ids_only_the_one_of_the_user_is_read() -> None:
    row = {"id": "u7"}
    assert "id" not in ValueReader(SPECS).read([row])[0]
    assert ValueReader(SPECS, user="id").read([row])[0]["id"] == "u7"


def test_the_pool_decides_whether_the_day_comes_first() -> None:
    spec = FieldSpec(name="date", kind="date")
    cell = {"date": "3/7/2024"}
    for other, month in (("25/12/2024", 7), ("12/25/2024", 3)):
        reader = ValueReader([spec]).fit([cell, {"date": other}])
        assert reader.read([cell])[0]["date"].month == month
