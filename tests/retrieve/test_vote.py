"""The vote of the nearest examples is a distribution in which nearer examples count more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.retrieve import kernel_vote

NEIGHBOURS = st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 3)), max_size=12)


def vote(neighbours: list[tuple[float, int]], labels: int = 4, temperature: float = 0.1) -> object:
    similarities = np.array([s for s, _ in neighbours], dtype=np.float64)
    numbers = np.array([n for _, n in neighbours], dtype=np.int64)
    return kernel_vote(similarities, numbers, labels, temperature)


@given(NEIGHBOURS, st.floats(1e-3, 10))
def test_it_is_a_distribution_in_which_no_label_is_impossible(
    neighbours: list[tuple[float, int]], temperature: float
) -> None:
    p = np.asarray(vote(neighbours, temperature=temperature))
    assert p.sum() == pytest.approx(1)
    assert p.min() >= 1 / 4 / (len(neighbours) + 1) - 1e-12


@given(NEIGHBOURS, st.randoms())
def test_the_order_of_neighbours_does_not_matter(
    neighbours: list[tuple[float, int]], random: object
) -> None:
    other = list(neighbours)
    random.shuffle(other)  # type: ignore[attr-defined]
    np.testing.assert_allclose(vote(neighbours), vote(other))


def test_without_neighbours_nothing_is_known() -> None:
    np.testing.assert_allclose(vote([]), [0.25] * 4)


def test_the_nearer_of_two_counts_more_and_the_more_so_the_lower_the_temperature() -> None:
    pair = [(0.9, 0), (0.7, 1)]
    cold = np.asarray(vote(pair, 2, temperature=0.05))
    warm = np.asarray(vote(pair, 2, temperature=1.0))
    assert cold[0] > warm[0] > 0.5


def test_it_equals_the_formula() -> None:
    weights = np.exp(np.array([0.8, 0.5, 0.5]) / 0.2)
    share = np.array([weights[0], weights[1] + weights[2]]) / weights.sum()
    found = vote([(0.8, 0), (0.5, 1), (0.5, 1)], 2, temperature=0.2)
    np.testing.assert_allclose(found, (3 * share + 1 / 2) / 4)
