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


@settings(max_examples=60, deadline=None)
@given(prompts, st.integers(1, 4), st.integers(1, 30))
def test_a_smaller_cache_never_finds_more(
    played: list[list[int]], block: int, capacity: int
) -> None:
    limited = simulate_prefix_cache(played, block_size=block, capacity=capacity)
    assert limited.cached_tokens <= simulate_prefix_cache(played, block_size=block).cached_tokens


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


def test_what_was_used_longest_ago_is_dropped_ends_first() -> None:
    a, b = [1] * 4 + [0], [2] * 4 + [0]
    # Two blocks a prompt: with room for three, b drops the end of a and keeps its beginning.
    report = simulate_prefix_cache([a, b, a], block_size=2, capacity=3)
    assert report.cached_tokens == 2


def test_neighbours_in_order_need_less_cache() -> None:
    groups = [[g] * 32 for g in range(10)]
    mixed = [groups[n % 10] + [n] * 4 for n in range(100)]
    sorted_ = sorted(mixed)
    rates = [simulate_prefix_cache(p, block_size=16, capacity=6).hit_rate for p in (mixed, sorted_)]
    assert rates[0] == 0
    assert rates[1] == pytest.approx(90 * 32 / (100 * 36))


def test_rates_of_nothing_are_undefined() -> None:
    report = simulate_prefix_cache([])
    assert (report.hit_rate, report.prefill_ratio) == (None, None)


def test_prefill_ratio() -> None:
    report = simulate_prefix_cache([[1] * 32 + [n] for n in range(3)], block_size=16)
    assert report.prefill_ratio == pytest.approx(99 / (99 - 64))


@pytest.mark.parametrize("options", [{"block_size": 0}, {"capacity": 0}])
def test_sizes_below_one_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        simulate_prefix_cache([[1]], **options)
