from __future__ import annotations

import math
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import PrefixSharing, Retriever, Sharing, simulate_prefix_cache
from ecomfs.types import Demonstration, Example

KINDS = ["red running shoe", "steel kitchen knife", "蓝色手机壳", "cotton bath towel"]
MODES = get_args(Sharing)


def pool(size: int = 64) -> Retriever:
    texts = [f"{KINDS[n % 4]} number {n}" for n in range(size)]
    examples = [Example(f"e{n}", {"text": t}, "ab"[n // 4 % 2]) for n, t in enumerate(texts)]
    return Retriever(examples, texts, HashedEmbedder(1024))


QUERIES = [f"{KINDS[n % 4]} wanted {n}" for n in range(24)]


def ids(demonstrations: tuple[Demonstration, ...]) -> list[str]:
    return [d.example.id for d in demonstrations]


@pytest.mark.parametrize(
    ("mode", "shared", "own"),
    [("none", 0, 6), ("mixed", 4, 2), ("cluster", 6, 0), ("global", 6, 0)],
)
def test_places_are_split_as_the_mode_says(mode: str, shared: int, own: int) -> None:
    arranged = PrefixSharing(pool(), 6, mode, clusters=4).arrange(pool().queries(QUERIES))
    assert {len(s) for s in arranged.shared} == {shared}
    assert {len(o) for o in arranged.own} == {own}
    for row in range(len(QUERIES)):
        assert len(set(ids(arranged.demonstrations(row)))) == 6
    assert sorted(arranged.order) == list(range(len(QUERIES)))


def test_rows_of_a_kind_share_one_block() -> None:
    arranged = PrefixSharing(pool(), 6, "mixed", clusters=4).arrange(pool().queries(QUERIES))
    for kind in range(4):
        mine = range(kind, len(QUERIES), 4)
        assert len({tuple(ids(arranged.shared[r])) for r in mine}) == 1
        assert all(KINDS[kind] in d.text for r in mine for d in arranged.shared[r])
    sent = [int(arranged.clusters[r]) for r in arranged.order]
    assert sent == sorted(sent)


def test_blocks_are_balanced_and_carry_no_similarity() -> None:
    sharing = PrefixSharing(pool(), 6, "cluster", clusters=4)
    assert len(sharing.blocks) == 4
    for block in sharing.blocks:
        assert Counter(d.example.label for d in block) == {"a": 3, "b": 3}
        assert all(math.isnan(d.similarity) for d in block)


def test_none_is_what_the_retriever_gives() -> None:
    retriever = pool()
    arranged = PrefixSharing(retriever, 5, "none").arrange(pool().queries(QUERIES))
    assert [list(o) for o in arranged.own] == retriever.retrieve(QUERIES, 5)


def test_own_demonstrations_are_the_nearest_that_the_block_leaves() -> None:
    retriever = pool()
    arranged = PrefixSharing(retriever, 6, "mixed", clusters=4, own=2).arrange(
        pool().queries(QUERIES[:1])
    )
    block = ids(arranged.shared[0])
    expected = retriever.retrieve(QUERIES[:1], 2, exclude_ids=[block])[0]
    assert list(arranged.own[0]) == expected


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(MODES), st.integers(0, 9), st.integers(0, 4), st.integers(0, 63))
def test_leave_self_out_holds_in_blocks_too(mode: str, k: int, own: int, row: int) -> None:
    retriever = pool()
    sharing = PrefixSharing(retriever, k, mode, own=own, clusters=3)
    text, id = retriever.texts[row], retriever.examples[row].id
    arranged = sharing.arrange(retriever.queries([text], exclude_ids=[[id]], leave_self_out=True))
    shown = ids(arranged.demonstrations(0))
    assert id not in shown
    assert len(shown) == len(set(shown)) == k


def test_the_same_again() -> None:
    first = PrefixSharing(pool(), 6, "mixed", seed=3).arrange(pool().queries(QUERIES))
    second = PrefixSharing(pool(), 6, "mixed", seed=3).arrange(pool().queries(QUERIES))
    assert [ids(s) for s in first.shared] == [ids(s) for s in second.shared]
    assert first.order == second.order
    alone = PrefixSharing(pool(), 6, "mixed", seed=3).arrange(pool().queries(QUERIES[7:8]))
    assert ids(alone.demonstrations(0)) == ids(first.demonstrations(7))


def test_more_sharing_is_found_more_often_in_the_cache() -> None:
    rates = []
    for mode in MODES:
        arranged = PrefixSharing(pool(), 6, mode, clusters=4, own=1).arrange(
            pool().queries(QUERIES)
        )
        prompts = []
        for row in arranged.order:
            text = "".join(d.text for d in arranged.demonstrations(row)) + QUERIES[row]
            prompts.append([ord(c) for c in text])
        rates.append(simulate_prefix_cache(prompts, block_size=8).hit_rate or 0)
    none, mixed, cluster, everything = rates
    assert none < mixed < cluster < everything


@pytest.mark.parametrize(
    "options", [{"mode": "some"}, {"k": -1}, {"own": -1}, {"clusters": 0}], ids=str
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        PrefixSharing(pool(), **({"k": 4} | options))  # type: ignore[arg-type]


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
