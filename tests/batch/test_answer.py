"""What identical rows share, and the collector's pace."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.batch.garbage import patient_collector
from ecomfs.batch.journal import row_key

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


def test_the_collector_gets_its_pace_back() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)
        with patient_collector():
            assert gc.get_threshold()[0] > 700
        assert gc.get_threshold() == (700, 10, 10)
        gc.set_threshold(0)
        with patient_collector():
            assert gc.get_threshold()[0] == 0  # switched off by the program: it stays off
    finally:
        gc.set_threshold(*before)
