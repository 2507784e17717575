"""What identical rows share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.batch.answer import row_key

CELLS = st.one_of(
    st.text(st.characters()), st.integers(), st.floats(), st.none(), st.lists(st.text())
)
ROWS = st.dictionaries(st.text(min_size=1), CELLS, max_size=4)


@given(ROWS, ROWS)
def test_rows_share_a_key_only_when_they_are_identical(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert row_key(one) == row_key(dict(one))
    if list(map(repr, one.items())) != list(map(repr, other.items())):
        assert row_key(one) != row_key(other)


def test_half_a_surrogate_pair_has_a_key_of_its_own() -> None:
    keys = {row_key({"text": text}) for text in ("\ud83d", "\ude00", "\\ud83d", "?", "")}
    assert len(keys) == 5
