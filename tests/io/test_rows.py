"""The set of ids."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.io import IdTracker


@settings(deadline=None)
@given(st.lists(st.text(max_size=3)))
def test_it_behaves_like_a_set(identifiers: list[str]) -> None:
    tracker, known = IdTracker(), set()
    for identifier in identifiers:
        assert (identifier in tracker) == (identifier in known)
        assert tracker.add(identifier) == (identifier not in known)
        known.add(identifier)
    assert len(tracker) == len(known)


def test_memory_for_many_ids_is_small() -> None:
    tracemalloc.start()
    try:
        tracker = IdTracker()
        assert all(tracker.add(f"row-{i}") for i in range(50_000))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 50_000 * 33
    assert peak < 50_000 * 60
