"""What an example may hold, and that it comes back as it was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import DuplicateIdError, PoolError
from ecomfs.pool import Pool
from ecomfs.types import Example

TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_fields_come_back_as_they_were_given_in_their_order(fields: dict[str, Any]) -> None:
    with Pool.in_memory([Example("r1", fields, "x")]) as pool:
        (found,) = pool.examples()
    assert found.fields == fields
    assert list(found.fields) == list(fields)


def test_half_a_character_survives_and_numbers_of_numpy_become_plain() -> None:
    fields = {"text": "cut \ud83d", "stars": np.int64(5), "price": np.float32(0.5)}
    with Pool.in_memory([Example("r1", fields, "x")]) as pool:
        (found,) = pool.examples()
    assert found.fields == {"text": "cut \ud83d", "stars": 5, "price": 0.5}
    assert type(found.fields["stars"]) is int


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("r1", {"text": "a", "when": object()}, "x"), r"field 'when' \(object\)"),
        (Example("r1", {1: "a"}, "x"), "field name 1 is not text"),  # type: ignore[dict-item]
        (Example(" ", {}, "x"), "an example's id is ' '"),
        (Example("r1", {}, ""), "example 'r1': the label is ''"),
        (Example("r1", {}, "a\0"), "contains a NUL character"),
        (Example("r1", {}, "x", method="rewrite"), "is not synthetic"),
        (Example("r1", {}, "x", True, "s\0", "rewrite"), "source_id contains a NUL character"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(example: Example, message: str) -> None:
    with pytest.raises(PoolError, match=message):
        Pool.in_memory([example])


def test_one_id_for_two_examples_names_both_places() -> None:
    rows = [Example(id_, {}, "x") for id_ in ("a", "b", "a")]
    with pytest.raises(DuplicateIdError, match="examples 1 and 3 have the same id 'a'"):
        Pool.in_memory(rows)
