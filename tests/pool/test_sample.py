"""Samples of a pool: seeded, in the pool's order, without excluded examples."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import InputError
from ecomfs.pool import (
    random_examples,
    real_examples,
    refuse_synthetic,
    sample_examples,
    sample_queries,
)
from ecomfs.types import Example

POOLS = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40).map(
    lambda drawn: [
        Example(f"e{i}", {"text": f"row {i}"}, label, synthetic=made)
        for i, (label, made) in enumerate(drawn)
    ]
)


def in_order(sample: list[Example], pool: list[Example]) -> bool:
    """Whether a sample has examples of the pool, each once, in its order."""
    places = [pool.index(example) for example in sample]
    return places == sorted(set(places))


@given(POOLS, st.integers(0, 45), st.integers(0, 3))
def test_an_even_sample_gives_every_label_its_turn(pool: list[Example], n: int, seed: int) -> None:
    if n > len(pool):
        with pytest.raises(InputError, match=f"{n} examples wanted, the pool has {len(pool)}"):
            sample_examples(pool, n, seed)
        return
    sample = sample_examples(pool, n, seed)
    assert len(sample) == n
    assert in_order(sample, pool)
    assert sample == sample_examples(pool, n, seed)
    given_, there = Counter(e.label for e in sample), Counter(e.label for e in pool)
    most = max(given_.values(), default=0)
    for label, count in there.items():  # a label has less than the others only where it has no more
        assert given_[label] >= min(count, most - 1)


@given(POOLS, st.integers(0, 45), st.integers(0, 3))
def test_a_random_sample_is_of_the_size_wanted(pool: list[Example], n: int, seed: int) -> None:
    if n > len(pool):
        with pytest.raises(InputError, match="lower --shots"):
            random_examples(pool, n, seed)
        return
    sample = random_examples(pool, n, seed)
    assert len(sample) == n
    assert in_order(sample, pool)
    assert sample == random_examples(pool, n, seed)


@given(POOLS, st.integers(0, 45))
def test_a_synthetic_example_is_never_a_test_row(pool: list[Example], most: int) -> None:
    sample = sample_queries(pool, most, seed=0)
    real = real_examples(pool)
    assert not any(e.synthetic for e in sample)
    assert len(sample) == min(most, len(real))
    assert in_order(sample, real)


def test_another_seed_is_another_sample() -> None:
    pool = [Example(str(i), {}, "ab"[i % 2]) for i in range(100)]
    for draw in (sample_examples, random_examples):
        assert len({tuple(e.id for e in draw(pool, 10, seed)) for seed in range(20)}) == 20


def test_a_rare_label_is_in_an_even_sample() -> None:
    pool = [Example(str(i), {}, "common") for i in range(99)] + [Example("r", {}, "rare")]
    assert Counter(e.label for e in sample_examples(pool, 4, 0)) == {"common": 3, "rare": 1}


def test_a_synthetic_test_row_is_named() -> None:
    rows = [Example("a", {}, "x"), Example("b", {}, "x", synthetic=True)]
    refuse_synthetic(rows[:1], "test.csv")
    with pytest.raises(InputError, match=r"test\.csv: example 'b' is synthetic"):
        refuse_synthetic(rows, "test.csv")
