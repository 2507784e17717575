"""Demonstrations for several labels: coverage and balance."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.estimators.multilabel.prompts import balanced_lines, cover_labels

SETS = st.lists(st.frozensets(st.integers(0, 4)), min_size=1, max_size=12)


@given(SETS, st.integers(1, 14), st.randoms(use_true_random=False))
def test_labels_are_covered_by_near_examples(
    sets: list[frozenset[int]], k: int, rng: Random
) -> None:
    nearest = list(range(len(sets)))
    rng.shuffle(nearest)
    chosen = cover_labels(nearest, sets, 5, k)
    assert len(chosen) == len(set(chosen)) == min(k, len(sets))
    assert sorted(chosen, key=nearest.index) == chosen
    assert nearest[0] in chosen
    # Ten sides, each shown by one example at most: with room for ten, none is missing.
    if k >= 10:
        for label in range(5):
            for side in (True, False):
                there = any((label in own) == side for own in sets)
                assert any((label in sets[c]) == side for c in chosen) == there


def test_a_far_example_comes_in_when_only_it_shows_a_label() -> None:
    near = [frozenset({0})] * 6
    assert cover_labels(range(8), [*near, frozenset(), frozenset({1})], 2, 3) == [0, 6, 7]
    # With room left, the second round takes turns again, and then the nearest fill up.
    assert cover_labels(range(8), [*near, frozenset(), frozenset({1})], 2, 5) == [
        0,
        1,
        2,
        6,
        7,
    ]


@given(SETS)
def test_as_many_lines_with_yes_as_with_no(sets: list[frozenset[int]]) -> None:
    told = balanced_lines(sets, 5)
    assert len(told) == len(sets)
    for label in range(5):
        lines = [(place, yes) for place, own in enumerate(told) for at, yes in own if at == label]
        assert all((label in sets[place]) == yes for place, yes in lines)
        having = sum(label in own for own in sets)
        assert sum(yes for _, yes in lines) == min(having, len(sets) - having)
        assert len(lines) == 2 * min(having, len(sets) - having)
        # Of each kind the last ones, which are the most similar.
        for kind in (True, False):
            all_of = [place for place, own in enumerate(sets) if (label in own) == kind]
            shown = [place for place, yes in lines if yes == kind]
            assert shown == all_of[len(all_of) - len(shown) :]
