"""Any value becomes plain JSON, and only missing values become null."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core.json import is_missing, plain

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8"))
)
VALUES = st.recursive(
    CELLS, lambda v: st.one_of(st.lists(v), st.tuples(v), st.dictionaries(st.text(), v))
)


@given(VALUES)
def test_every_value_has_a_strict_json_text(value: object) -> None:
    found = plain(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.float32("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (float("-inf"), "-inf"),
        (Path("a/b"), "a/b"),
    ],
)
def test_numpy_and_pandas_values(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_values_without_a_plain_form_go_to_the_fallback() -> None:
    assert plain({"a": [1j]}, fallback=lambda v: type(v).__name__) == {"a": ["complex"]}


@pytest.mark.parametrize("value", ["", "nan", 0, [], False])
def test_empty_is_not_missing(value: object) -> None:
    assert not is_missing(value)
