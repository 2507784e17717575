"""The congestion window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine.aimd import Window


def test_it_starts_wide_open() -> None:
    assert Window(8).limit == 8
    assert Window(0).limit == 1


def test_one_burst_of_refusals_halves_once() -> None:
    window = Window(16)
    sent = [window.enter() for _ in range(16)]
    for mark in sent:
        window.overloaded(mark)
    assert window.limit == 8
    window.overloaded(window.enter())
    assert window.limit == 4


def test_it_grows_by_one_a_window() -> None:
    window = Window(8)
    window.overloaded(window.enter())
    for expected in (5, 6, 7, 8, 8):
        for _ in range(window.limit):
            window.answered()
        assert window.limit == expected


@given(st.lists(st.sampled_from(["enter", "leave", "answered", "overloaded"])), st.integers(1, 64))
def test_it_stays_between_one_and_the_most(events: list[str], most: int) -> None:
    window = Window(most)
    marks: list[int] = []
    for event in events:
        if event == "enter" and window.open:
            marks.append(window.enter())
        elif event == "leave" and marks:
            marks.pop()
            window.leave()
        elif event == "answered":
            window.answered()
        elif event == "overloaded" and marks:
            window.overloaded(marks[-1])
        assert 1 <= window.limit <= most
        assert window.busy == len(marks)
