"""The retriever by fields, by text, and by both."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import DemonstrationLayout, Retriever
from ecomfs.retrieve.strategies import STRATEGIES
from ecomfs.task import FieldSpec
from ecomfs.types import Example, Row

FIELDS = [FieldSpec(name="n", kind="number"), FieldSpec(name="plan", kind="category")]
WORDS = ("red shoe", "blue coat", "green hat", "warm scarf")
MODES = ("tabular", "mixed")


def pool(size: int = 40, seed: int = 0) -> tuple[list[Example], list[str]]:
    rng = random.Random(seed)
    rows: list[Row] = [{"n": n, "plan": rng.choice("abc")} for n in range(size)]
    examples = [
        Example(f"e{i}", row, "high" if i >= size // 2 else "low") for i, row in enumerate(rows)
    ]
    return examples, [f"{WORDS[i % 4]} {i}" for i in range(size)]


def make(mode: str, size: int = 40, **options: Any) -> Retriever:
    examples, texts = pool(size)
    return Retriever(examples, texts, HashedEmbedder(256), mode=mode, fields=FIELDS, **options)


def test_tabular_similarity_ignores_the_text() -> None:
    retriever = make("tabular", strategy="top_k")
    shown = retriever.retrieve(["red shoe 0"], 5, rows=[{"n": 37, "plan": "a"}])[0]
    assert min(int(str(d.example.fields["n"])) for d in shown) >= 30
    vote = retriever.vote(["red shoe 0"], rows=[{"n": 37, "plan": "a"}])[0]
    assert vote[retriever.labels.index("high")] > 0.8


def test_mixed_goes_from_text_to_fields_with_the_weight() -> None:
    query, row = ["green hat 2"], [{"n": 37, "plan": "a"}]

    def ranking(mode: str, weight: float = 0.5) -> list[int]:
        found = make(mode, tabular_weight=weight).neighbours(query, 40, rows=row)[0]
        return found.positions.tolist()

    assert ranking("mixed", 0.0) == ranking("dense")
    assert ranking("mixed", 1.0) == ranking("tabular")
    assert ranking("mixed", 0.5) not in (ranking("dense"), ranking("tabular"))


def test_both_parts_count_alike_however_narrow_a_scale_is() -> None:
    class Narrow(HashedEmbedder):
        """All texts nearly alike, as some models have them."""

        def fit(self, texts: Any) -> Narrow:
            return self

        def embed(self, texts: Any, *, query: bool) -> Any:
            own = super().embed(texts, query=query)
            base = np.full((len(texts), 1), np.sqrt(0.9), dtype=np.float32)
            return np.hstack([own * np.float32(np.sqrt(0.1)), base])

    examples, texts = pool()
    wide = Retriever(examples, texts, _Unlearned(256), mode="mixed", fields=FIELDS)
    narrow = Retriever(examples, texts, Narrow(256), mode="mixed", fields=FIELDS)
    query, row = ["blue coat 9"], [{"n": 30, "plan": "b"}]
    expected = wide.neighbours(query, 10, rows=row)[0].positions.tolist()
    assert narrow.neighbours(query, 10, rows=row)[0].positions.tolist() == expected


class _Unlearned(HashedEmbedder):
    def fit(self, texts: Any) -> _Unlearned:
        return self


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10), st.integers(0, 3), st.sampled_from(MODES))
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_works_in_every_mode(strategy: str, k: int, seed: int, mode: str) -> None:
    retriever = make(mode, strategy=strategy, seed=seed)
    queries = ["red shoe", "unheard of"]
    rows: list[Row] = [{"n": 3, "plan": "z"}, {"n": "", "plan": "a"}]
    found = retriever.retrieve(queries, k, rows=rows)
    for query, row, shown in zip(queries, rows, found, strict=True):
        assert len(shown) <= k
        assert len({d.example.id for d in shown}) == len(shown)
        assert retriever.retrieve([query], k, rows=[row])[0] == shown


@pytest.mark.parametrize("mode", MODES)
def test_identical_rows_are_left_out_with_the_row_itself(mode: str) -> None:
    examples, texts = pool()
    twin = Example("twin", examples[7].fields, examples[7].label)
    retriever = Retriever(
        [*examples, twin], [*texts, texts[7]], HashedEmbedder(256), mode=mode, fields=FIELDS
    )
    row = [examples[7].fields]
    [found] = retriever.neighbours([texts[7]], 41, rows=row, leave_self_out=True)
    assert {7, 40}.isdisjoint(found.positions.tolist())
    assert len(found) == 39
    [found] = retriever.neighbours([texts[7]], 2, rows=row)
    assert set(found.positions.tolist()) == {7, 40}
    assert found.similarities == pytest.approx([1, 1], abs=1e-5)
    [shown] = retriever.retrieve([texts[7]], 41, rows=row, exclude_ids=[{"e7"}])
    assert "e7" not in {d.example.id for d in shown}


@pytest.mark.parametrize("mode", MODES)
def test_an_updated_pool_equals_a_rebuilt_one(mode: str) -> None:
    examples, texts = pool(60)
    old = make(mode)
    new = old.updated(examples, texts)
    fresh = Retriever(examples, texts, HashedEmbedder(256), mode=mode, fields=FIELDS)
    row: list[Row] = [{"n": 55, "plan": "b"}]
    ours, theirs = (r.neighbours(["warm scarf"], 8, rows=row)[0] for r in (new, fresh))
    assert ours.positions.tolist() == theirs.positions.tolist()
    assert max(ours.positions) >= 40
    assert len(old) == 40


@pytest.mark.parametrize("mode", MODES)
def test_a_shared_block_takes_rows(mode: str) -> None:
    retriever = make(mode)
    rows: list[Row] = [{"n": 1, "plan": "a"}, {"n": 39, "plan": "a"}]
    queries = ["red shoe", "red shoe"]
    looked_up = retriever.queries(queries, rows=rows)
    found = DemonstrationLayout(retriever, 4, "both").demonstrations(looked_up)
    assert [len(row.demonstrations) for row in found] == [4, 4]


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_are_not_given_are_reported(mode: str) -> None:
    with pytest.raises(ConfigError, match="only their texts are given"):
        make(mode).vote(["red shoe"])
    with pytest.raises(ConfigError, match="1 queries but 2 entries in rows"):
        make(mode).retrieve(["red shoe"], 3, rows=[{}, {}])


def test_bad_settings_are_reported() -> None:
    examples, texts = pool()
    with pytest.raises(ConfigError, match="no field can be compared"):
        Retriever(examples, texts, HashedEmbedder(256), mode="tabular")
    with pytest.raises(ConfigError, match="weight is 2"):
        make("mixed", tabular_weight=2)
    with pytest.raises(ConfigError, match="tabular"):
        make("gower")
