"""The bound on the errors of a batch, compared with all possible splits of the rows."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.calibration.batch_errors import error_bounds


def crossing(bound: tuple[int, ...], n: int, m: int) -> float:
    """Share of all orders of n labelled rows and m rows of a batch in which, before some labelled
    row, more of the batch come than the bound says."""
    crossed = total = 0
    for places in combinations(range(n + m), n):
        total += 1
        crossed += any(p - x > top for x, (p, top) in enumerate(zip(places, bound, strict=False)))
    return crossed / total


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 7), st.integers(0, 7), st.sampled_from([0.05, 0.1, 0.2, 0.5])
)
def test_some_bound_fails_in_no_more_than_delta_of_all_splits(
    n: int, m: int, most: int, delta: float
) -> None:
    bound = error_bounds(n, m, most, delta)
    assert crossing(bound, n, m) <= delta + 1e-9
    assert list(bound) == sorted(bound)
    assert all(top <= most for top in bound)


def test_delta_is_used() -> None:
    assert 0.085 < crossing(error_bounds(6, 12, 8, 0.1), 6, 12) <= 0.1


@pytest.mark.parametrize("n", [9, 19, 99])
def test_a_single_row_is_a_conformal_p_value(n: int) -> None:
    bound = error_bounds(n, 1, 0, 0.1)
    # A wrong new row ranks above the labelled error of rank x + 1 with probability (x + 1)/(n + 1)
    assert len(bound) == round(0.1 * (n + 1))
    assert set(bound) == {0}


def test_too_few_rows_bound_nothing() -> None:
    assert error_bounds(2, 100, 5, 0.1) == ()
