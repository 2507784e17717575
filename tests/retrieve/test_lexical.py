from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import Hits, LexicalIndex, Retriever
from ecomfs.retrieve.fusion import fuse
from ecomfs.retrieve.index import Groups
from ecomfs.retrieve.lexical import terms
from ecomfs.types import Example

TEXTS = ["Sharp R244SLM microwave", "Sharp microwave silver", "苹果手机壳 红色", "华为手机", "!!!"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ｉphone-15 PRO_max", ["iphone", "15", "pro", "max"]),
        ("手机壳", ["手机", "机壳"]),
        ("红 iPad保护套", ["红", "ipad", "保护", "护套"]),
        ("", []),
        ("!?👍", []),
        ("größe 42", ["grösse", "42"]),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_a_model_number_finds_its_row_and_no_shared_term_is_no_neighbour() -> None:
    index = LexicalIndex(TEXTS)
    found = index.search(["r244slm", "手机壳", "SHARP", "nothing here", ""], 5)
    assert [h.positions.tolist() for h in found] == [[0], [2, 3], [0, 1], [], []]
    assert found[1].similarities[0] > found[1].similarities[1]


def test_excluded_and_groups() -> None:
    index = LexicalIndex(["shoe", "shoe", "shoe box", "hat"])
    hits = index.search(["shoe"], 1, excluded=[{0}])[0]
    assert hits.positions.tolist() == [1]
    groups = Groups(np.array([0, 0, 1, 1]))
    both = index.search(["shoe"], 1, groups=groups, per_group=1)[0]
    assert set(both.positions.tolist()) >= {0, 2}


def test_a_pool_without_terms_has_no_neighbours() -> None:
    index = LexicalIndex(["!!!", ""])
    assert [len(h) for h in index.search(["shoe"], 3)] == [0]


def test_bm25s_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ConfigError, match="bm25s"):
        LexicalIndex(TEXTS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.permutations(range(6)), min_size=1, max_size=4), st.integers(0, 6))
def test_fusion_adds_reciprocal_ranks(rankings: list[list[int]], cut: int) -> None:
    hits = [Hits(np.array(r[:cut], dtype=np.int64), np.zeros(cut)) for r in rankings]
    positions, scores = fuse(hits)
    by_hand = {
        p: sum(1 / (61 + r[:cut].index(p)) for r in rankings if p in r[:cut])
        for p in {p for r in rankings for p in r[:cut]}
    }
    assert positions.tolist() == sorted(by_hand, key=lambda p: (-round(by_hand[p], 12), p))
    np.testing.assert_allclose(scores, [by_hand[p] for p in positions.tolist()])


def make(mode: str, texts: list[str], **options: str) -> Retriever:
    examples = [Example(f"e{n}", {"text": t}, "ab"[n % 2]) for n, t in enumerate(texts)]
    return Retriever(examples, texts, HashedEmbedder(512), mode=mode, **options)  # type: ignore[arg-type]


def test_lexical_order_comes_first_and_vectors_fill_up() -> None:
    found = make("lexical", TEXTS).neighbours(["R244SLM"], 5)[0]
    assert found.positions[0] == 0
    assert len(found) == 5
    assert found.similarities[0] < 1


def test_hybrid_ranks_what_both_like_first() -> None:
    texts = ["red running shoe 42", "red running shoes", "running 42 tips", "blue hat", "hats"]
    found = make("hybrid", texts).neighbours(["red running shoe 42 wide"], 3)[0]
    assert found.positions.tolist()[0] == 0
    dense = make("dense", texts).neighbours(["red running shoe 42 wide"], 5)[0]
    cosines = dict(zip(dense.positions.tolist(), dense.similarities.tolist(), strict=True))
    assert found.similarities.tolist() == [cosines[p] for p in found.positions.tolist()]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(alphabet="abc 好用坏", min_size=1, max_size=8), min_size=1, max_size=20),
    st.text(alphabet="abc 好用坏", max_size=8),
    st.integers(1, 9),
)
@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize("strategy", ["balanced", "top_k"])
def test_every_mode_shows_k_and_leaves_self_out(
    mode: str, strategy: str, texts: list[str], query: str, k: int
) -> None:
    retriever = make(mode, texts, strategy=strategy)
    shown = retriever.retrieve([query], k)[0]
    assert len(shown) == min(k, len(texts))
    assert retriever.retrieve([query, "other"], k)[0] == shown
    own = retriever.retrieve(texts[:1], k, exclude_ids=[["e0"]], leave_self_out=True)[0]
    assert texts[0] not in {d.text for d in own}


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose dense, lexical, hybrid"):
        make("telepathy", TEXTS)
