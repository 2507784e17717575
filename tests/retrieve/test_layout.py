"""Which demonstrations are shared by all rows, and which are chosen per row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import (
    DemonstrationLayout,
    Layout,
    Retriever,
    RowDemonstrations,
    simulate_prefix_cache,
)
from ecomfs.types import Demonstration, Example

KINDS = ["red running shoe", "steel kitchen knife", "蓝色手机壳", "cotton bath towel"]
LAYOUTS = get_args(Layout)


def pool(size: int = 64) -> Retriever:
    texts = [f"{KINDS[n % 4]} number {n}" for n in range(size)]
    examples = [Example(f"e{n}", {"text": t}, "ab"[n // 4 % 2]) for n, t in enumerate(texts)]
    return Retriever(examples, texts, HashedEmbedder(1024))


QUERIES = [f"{KINDS[n % 4]} wanted {n}" for n in range(24)]


def laid_out(
    layout: DemonstrationLayout, retriever: Retriever, texts: Sequence[str]
) -> list[RowDemonstrations]:
    return layout.demonstrations(retriever.queries(texts, k=layout.search_k))


def ids(demonstrations: Sequence[Demonstration]) -> list[str]:
    return [d.example.id for d in demonstrations]


@pytest.mark.parametrize(
    ("layout", "shared", "own"), [("retrieved", 0, 6), ("shared", 6, 0), ("both", 3, 3)]
)
def test_places_are_split_as_the_layout_says(layout: Layout, shared: int, own: int) -> None:
    retriever = pool()
    found = laid_out(DemonstrationLayout(retriever, 6, layout), retriever, QUERIES)
    assert {len(row.shared) for row in found} == {shared}
    assert {len(row.own) for row in found} == {own}
    assert len({tuple(ids(row.shared)) for row in found}) == 1
    for row in found:
        assert len(set(ids(row.demonstrations))) == 6


def test_the_block_is_balanced_covers_every_kind_and_carries_no_similarity() -> None:
    layout = DemonstrationLayout(pool(), 8, "shared")
    (row,) = laid_out(layout, pool(), QUERIES[:1])
    assert Counter(d.example.label for d in row.shared) == {"a": 4, "b": 4}
    assert {kind for kind in KINDS for d in row.shared if kind in d.text} == set(KINDS)
    assert all(math.isnan(d.similarity) for d in row.shared)


def test_retrieved_is_what_the_retriever_gives() -> None:
    retriever = pool()
    found = laid_out(DemonstrationLayout(retriever, 5, "retrieved"), retriever, QUERIES)
    assert [list(row.own) for row in found] == retriever.retrieve(QUERIES, 5)


def test_own_demonstrations_are_the_nearest_that_the_block_leaves() -> None:
    retriever = pool()
    (row,) = laid_out(DemonstrationLayout(retriever, 6, "both"), retriever, QUERIES[:1])
    expected = retriever.retrieve(QUERIES[:1], 3, exclude_ids=[ids(row.shared)])[0]
    assert list(row.own) == expected


def test_a_rows_own_are_of_the_labels_it_may_have() -> None:
    retriever = pool()
    layout = DemonstrationLayout(retriever, 6, "both")
    found = layout.demonstrations(retriever.queries(QUERIES[:3]), [["a"], ["b"], ["a", "b"]])
    assert [{d.example.label for d in row.own} for row in found[:2]] == [{"a"}, {"b"}]
    assert len({tuple(ids(row.shared)) for row in found}) == 1


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LAYOUTS), st.integers(0, 9), st.integers(0, 3), st.integers(0, 63))
def test_a_row_of_the_pool_never_sees_itself(name: Layout, k: int, variant: int, row: int) -> None:
    retriever = pool()
    layout = DemonstrationLayout(retriever, k, name, variant=variant)
    text, id = retriever.texts[row], retriever.examples[row].id
    queries = retriever.queries([text], exclude_ids=[[id]], leave_self_out=True, k=layout.search_k)
    (found,) = layout.demonstrations(queries)
    assert id not in ids(found.demonstrations)
    assert len(found.demonstrations) == len(set(ids(found.demonstrations))) == k


def test_the_replacement_of_a_block_example_has_its_label_and_position() -> None:
    retriever = pool()
    layout = DemonstrationLayout(retriever, 4, "shared")
    first = retriever.pool.find(layout.block[:1])[0]
    text, id = retriever.texts[first], retriever.examples[first].id
    (row,) = layout.demonstrations(retriever.queries([text], exclude_ids=[[id]]))
    assert ids(row.shared)[1:] == list(layout.block)[1:]
    assert row.shared[0].example.label == retriever.examples[first].label


def test_the_same_again_alone_and_in_another_batch() -> None:
    retriever = pool()
    first = laid_out(DemonstrationLayout(retriever, 6, "both", seed=3), retriever, QUERIES)
    second = laid_out(DemonstrationLayout(pool(), 6, "both", seed=3), pool(), QUERIES[7:8])
    assert ids(second[0].demonstrations) == ids(first[7].demonstrations)


def test_variants_are_other_blocks() -> None:
    blocks = {DemonstrationLayout(pool(), 4, "shared", variant=n).block for n in range(3)}
    assert len(blocks) == 3


def test_a_block_is_kept_as_far_as_its_examples_are_there() -> None:
    layout = DemonstrationLayout(pool(), 4, "shared", variant=2)
    kept = DemonstrationLayout(pool(), 4, "shared", block=layout.block)
    assert kept.block == layout.block
    larger = layout.updated(pool(80), layout.block)
    assert larger.block == layout.block
    gone = DemonstrationLayout(pool(), 4, "shared", block=("gone", *layout.block[1:]))
    assert set(layout.block[1:]) < set(gone.block)
    assert len(gone.block) == 4


def test_a_pool_smaller_than_the_block_is_shown_whole() -> None:
    layout = DemonstrationLayout(pool(3), 8, "shared")
    assert sorted(layout.block) == ["e0", "e1", "e2"]


def test_more_sharing_is_found_more_often_in_the_cache() -> None:
    rates = {}
    for name in LAYOUTS:
        retriever = pool()
        found = laid_out(DemonstrationLayout(retriever, 6, name), retriever, QUERIES)
        texts = sorted(
            "".join(d.text for d in row.demonstrations) + query
            for row, query in zip(found, QUERIES, strict=True)
        )
        prompts = [[ord(c) for c in text] for text in texts]
        rates[name] = simulate_prefix_cache(prompts, block_size=8).hit_rate or 0
    assert rates["retrieved"] < rates["both"] < rates["shared"]


@pytest.mark.parametrize("options", [{"layout": "some"}, {"k": -1}], ids=str)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        DemonstrationLayout(pool(), **({"k": 4, "layout": "both"} | options))  # type: ignore[arg-type]
