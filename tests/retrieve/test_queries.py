"""A row that is searched once gets the same result as by separate searches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import Retriever
from ecomfs.retrieve.strategies import STRATEGIES
from ecomfs.types import Example

EMBEDDER = HashedEmbedder(128)
words = st.text(alphabet="abcdefgh ", min_size=1, max_size=8)
pools = st.lists(st.tuples(words, st.sampled_from("uvwxyz")), min_size=1, max_size=25)
label_lists = st.lists(st.sets(st.sampled_from("uvwxyz")), min_size=3, max_size=3)


def make(rows: list[tuple[str, str]], **options: Any) -> Retriever:
    examples = [Example(f"e{n}", {"text": t}, label) for n, (t, label) in enumerate(rows)]
    return Retriever(examples, [t for t, _ in rows], EMBEDDER, **options)


@settings(max_examples=40, deadline=None)
@given(
    pools,
    st.lists(words, min_size=3, max_size=3),
    st.integers(1, 6),
    st.integers(0, 12),
    st.none() | label_lists,
)
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_wider_search_changes_no_demonstration(
    strategy: str,
    rows: list[tuple[str, str]],
    texts: list[str],
    k: int,
    neighbours: int,
    labels: list[set[str]] | None,
) -> None:
    retriever = make(rows, strategy=strategy)
    queries = retriever.queries(texts, k=k, neighbours=neighbours)
    together = retriever.demonstrations(queries, k, labels)
    assert together == retriever.retrieve(texts, k, labels=labels)
    for row, text in enumerate(texts):  # and neither does a batch
        few = None if labels is None else [labels[row]]
        assert retriever.retrieve([text], k, labels=few) == [together[row]]


def test_one_search_serves_votes_and_demonstrations(monkeypatch: pytest.MonkeyPatch) -> None:
    reds = [(f"red shoe {n}", "ab"[n % 2]) for n in range(20)]
    retriever = make([*reds, ("warm blanket", "c"), ("warm scarf", "c")])
    searches = []
    search = retriever._search

    def counted(texts: list[str], *rest: Any) -> Any:
        searches.append(len(texts))
        return search(texts, *rest)

    monkeypatch.setattr(retriever, "_search", counted)
    queries = retriever.queries(["red shoe", "a red shoe"], k=2, neighbours=8)
    assert all(len(hits) >= 8 for hits in queries.hits)
    retriever.demonstrations(queries, 2)
    assert searches == [2]
    # Only the row that is held to a label which is far away is searched for again.
    shown = retriever.demonstrations(queries, 2, [["a", "b"], ["c"]])
    assert searches == [2, 1]
    assert [d.example.label for d in shown[1]] == ["c", "c"]


def test_a_query_that_is_an_example_is_recognised_by_id_and_text() -> None:
    retriever = make([("red shoe", "a"), ("blue shoe", "b")])
    texts, ids = ["Red  shoe", "green shoe", "blue shoe"], [{"e0"}, {"e1"}, {"e1"}]
    left_out = retriever.queries(texts, exclude_ids=ids, leave_self_out=True)
    assert left_out.own == (0, None, 1)
    assert retriever.queries(texts, exclude_ids=ids).own == (None, None, None)


def test_arguments_that_are_not_aligned_are_refused() -> None:
    retriever = make([("red shoe", "a"), ("blue shoe", "b")])
    with pytest.raises(ConfigError, match="k is -1"):
        retriever.queries(["x"], k=-1)
    with pytest.raises(ConfigError, match="1 queries but 2 entries in rows"):
        retriever.queries(["x"], rows=[{}, {}])
    queries = retriever.queries(["x"], k=1)
    with pytest.raises(ConfigError, match="1 queries but 0 entries in labels"):
        retriever.demonstrations(queries, 1, [])
    with pytest.raises(ConfigError, match="not a text"):
        retriever.demonstrations(queries, 1, ["a"])
