"""The frequent values of a category."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.features.scalars import frequent


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference(values: list[str], random: object) -> None:
    found = frequent(values, len(values))
    random.shuffle(values)  # type: ignore[attr-defined]
    assert frequent(values, len(values)) == found
    counts = [values.count(value) for value in found]
    assert counts == sorted(counts, reverse=True)
    assert all(count >= 2 for count in counts)


def test_rare_values_and_those_beyond_twenty_have_no_level() -> None:
    assert frequent(["a", "a", "b"], rows=3) == ("a",)
    assert frequent(["a", "a"], rows=101) == ()  # below 2 % of the rows
    names = [f"v{n:02d}" for n in range(30)]
    assert frequent([*names, *names], rows=60) == tuple(names[:20])
