"""Notes of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from ecomfs.fit.notes import model_adds, rare


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ({"a": 10, "b": 10}, []),
        ({"a": 17, "b": 4}, []),  # 4 of 21 are more than a third of an even share
        ({"a": 18, "b": 3}, ["'b' (3, 14 %)"]),
        ({"a": 30, "b": 2, "c": 0}, ["'c' (0, 0 %), 'b' (2, 6 %)"]),
    ],
)
def test_labels_below_a_third_of_an_even_share_are_named(
    counts: dict[str, int], named: list[str]
) -> None:
    note = rare([name for name, n in counts.items() for _ in range(n)], [*counts])
    assert bool(note) == bool(named)
    for words in named:
        assert words in note


def test_only_some_of_many_rare_labels_are_named() -> None:
    names = [f"label {n}" for n in range(10)]
    assert "and 3 more" in rare([names[0]] * 50, names)


def test_with_few_readings_there_is_no_remark_on_the_model() -> None:
    p = np.full((4, 2), 0.5)
    assert model_adds(p, p, np.zeros(4, dtype=np.int64)) == ""


def test_a_model_that_makes_the_experts_worse_is_reported() -> None:
    truth = np.tile([0, 1], 20)
    right = np.where(np.eye(2)[truth] > 0, 0.9, 0.1)
    said = model_adds(right, right[:, ::-1], truth)
    assert said.startswith("Does the model add anything? No")
