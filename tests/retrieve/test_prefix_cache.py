"""The tokens that a prefix cache saves, counted without a server."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import ConfigError
from ecomfs.retrieve import simulate_prefix_cache


def common(one: list[int], other: list[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


prompts = st.lists(st.lists(st.integers(0, 1), max_size=20), max_size=12)


@settings(max_examples=150, deadline=None)
@given(prompts, st.integers(1, 5))
def test_without_a_limit_the_longest_known_beginning_is_found(
    played: list[list[int]], block: int
) -> None:
    report = simulate_prefix_cache(played, block_size=block)
    expected = 0
    for number, prompt in enumerate(played):
        longest = max((common(prompt, p) for p in played[:number]), default=0)
        expected += min(longest, max(0, len(prompt) - 1)) // block * block
    assert report.cached_tokens == expected
    assert report.tokens == sum(map(len, played))


def test_equal_beginnings_count_in_whole_blocks_only() -> None:
    first, second = list(range(40)), [*range(30), 99, 98]
    assert simulate_prefix_cache([first, second], block_size=16).cached_tokens == 16
    assert simulate_prefix_cache([first, second], block_size=128).cached_tokens == 0


def test_the_same_block_after_another_beginning_is_another_block() -> None:
    assert (
        simulate_prefix_cache([[1, 2, 3, 4, 0], [9, 9, 3, 4, 0]], block_size=2).cached_tokens == 0
    )


def test_a_repeated_prompt_computes_its_last_token_again() -> None:
    prompt = list(range(32))
    assert simulate_prefix_cache([prompt, prompt], block_size=16).cached_tokens == 16


def test_rates_of_nothing_are_undefined() -> None:
    report = simulate_prefix_cache([])
    assert report.hit_rate is None


def test_a_block_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError):
        simulate_prefix_cache([[1]], block_size=0)
