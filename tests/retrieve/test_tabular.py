"""Rows as vectors: a similarity equal to Gower's, also with missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecomfs.errors import ConfigError
from ecomfs.features import GowerSpace
from ecomfs.features.gower import MAX_KINDS
from ecomfs.retrieve import TabularSpace
from ecomfs.task import FieldSpec

FIELDS = [
    FieldSpec(name="age", kind="number"),
    FieldSpec(name="paid", kind="price"),
    FieldSpec(name="day", kind="date"),
    FieldSpec(name="plan", kind="category"),
    FieldSpec(name="seen", kind="history"),
    FieldSpec(name="note", kind="text"),
]


def cells(*, missing: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    gap = [""] if missing else []
    return st.lists(
        st.fixed_dictionaries(
            {
                "age": st.sampled_from([*range(10), *gap]),
                "paid": st.sampled_from(["$1", "$20", "$300", *gap]),
                "day": st.sampled_from(["2024-05-01", "2024-06-01", *gap]),
                "plan": st.sampled_from(["a", "b", *gap]),
                "seen": st.lists(
                    st.sampled_from(["x", "y", "z"]), min_size=0 if missing else 1, max_size=3
                ),
            }
        ),
        min_size=1,
        max_size=8,
    )


def labelled(rows: list[dict[str, Any]]) -> list[str]:
    return ["high" if str(row["age"]) > "4" else "low" for row in rows]


EMPTY = {"age": "", "paid": "", "day": "", "plan": "", "seen": []}


@settings(deadline=None)
@example([{**EMPTY, "age": 0}, EMPTY], [EMPTY])
@given(cells(missing=True), cells(missing=True))
def test_it_is_a_similarity(pool: list[dict[str, Any]], queries: list[dict[str, Any]]) -> None:
    space = TabularSpace(FIELDS).fit(pool, labelled(pool))
    ours, theirs = space.embed(pool), space.embed(queries)
    assert ours.dtype == np.float32
    found = theirs @ ours.T
    # 0 to 1 up to what the cut-off cosine series leaves: a triangle wave without its tip.
    assert (found >= -0.04).all()
    assert (found <= 1 + 1e-5).all()
    assert np.allclose(found, (ours @ theirs.T).T, atol=1e-6)
    for row, vector in zip(pool, ours, strict=True):
        known = any(value for value in map(str, row.values()) if value not in ("", "[]"))
        assert vector @ vector == pytest.approx(1.0 if known else 0.0, abs=1e-5)


@settings(deadline=None)
@given(cells(missing=False), cells(missing=False))
def test_without_gaps_it_is_gower(
    pool: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    fields = [spec for spec in FIELDS if spec.kind != "history"]  # Jaccard there, cosine here
    exact = GowerSpace(fields).fit(pool, labelled(pool)).similarities(queries, pool)
    space = TabularSpace(fields).fit(pool, labelled(pool))
    assert np.abs(space.embed(queries) @ space.embed(pool).T - exact).max() < 0.06


@settings(deadline=None)
@given(cells(missing=True), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pool: list[dict[str, Any]], rng: Any) -> None:
    order = list(range(len(pool)))
    rng.shuffle(order)
    names = labelled(pool)
    one = TabularSpace(FIELDS).fit(pool, names).embed(pool)
    other = TabularSpace(FIELDS).fit([pool[p] for p in order], [names[p] for p in order])
    again = other.embed(pool)
    assert np.allclose(one @ one.T, again @ again.T, atol=1e-5)


@settings(deadline=None)
@given(cells(missing=True))
def test_a_row_alone_gets_the_vector_it_gets_among_others(pool: list[dict[str, Any]]) -> None:
    space = TabularSpace(FIELDS).fit(pool)
    together = space.embed(pool)
    for row, vector in zip(pool, together, strict=True):
        assert np.allclose(space.embed([row])[0], vector, atol=1e-7)


def test_histories_count_their_kinds_and_their_last_item() -> None:
    pool = [{"seen": ["x", "y"]}, {"seen": ["y", "x"]}, {"seen": ["z", "y"]}, {"seen": ["z"]}]
    vectors = TabularSpace([FIELDS[4]]).fit(pool).embed(pool)
    first = vectors[0] @ vectors.T
    # The same kinds but another last one; one kind of two and the same last one; nothing.
    assert first == pytest.approx([1, 0.5, 0.75, 0], abs=1e-6)


def test_values_that_the_pool_lacks_match_no_example() -> None:
    fields = [FIELDS[0], FIELDS[3]]
    pool = [{"age": 1, "plan": "a"}, {"age": 9, "plan": "b"}]
    space = TabularSpace(fields).fit(pool)
    [unseen, missing] = space.embed([{"age": 1, "plan": "c"}, {"age": 1, "plan": ""}])
    near = space.embed(pool)[0]
    assert unseen @ near == pytest.approx(0.5, abs=1e-5)
    # A missing value says less against a pair than a different one.
    assert missing @ near == pytest.approx(np.sqrt(0.5), abs=1e-5)


def test_a_number_beyond_the_pool_is_as_its_end() -> None:
    space = TabularSpace([FIELDS[0]]).fit([{"age": n} for n in range(5)])
    [end, beyond, far] = space.embed([{"age": 5}, {"age": 50}, {"age": -50}])
    assert np.array_equal(end, beyond)
    assert abs(float(far @ beyond)) < 0.04


def test_an_unreadable_cell_counts_as_missing() -> None:
    space = TabularSpace(FIELDS[:1]).fit([{"age": 1}, {"age": "old"}, {"age": 3}])
    assert not space.embed([{"age": "old"}]).any()


def test_the_most_predictive_field_has_the_largest_weight() -> None:
    pool = [{"age": n, "plan": "ab"[n % 2]} for n in range(40)]
    space = TabularSpace([FIELDS[0], FIELDS[3]]).fit(pool, ["ab"[n > 19] for n in range(40)])
    assert space.weights["age"] == pytest.approx(1.1)
    assert space.weights["plan"] == pytest.approx(0.1)


def test_large_catalogues_take_bounded_memory() -> None:
    pool = [{"plan": f"sku {n // 2 if n < 200 else n}"} for n in range(3000)]
    vectors = TabularSpace([FIELDS[3]]).fit(pool).embed(pool)
    assert vectors.shape == (3000, MAX_KINDS + 1)
    assert vectors[0] @ vectors[1] == pytest.approx(1.0)  # a frequent one is still told apart
    assert vectors[0] @ vectors[2] == 0.0


def test_texts_alone_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="no field can be compared"):
        TabularSpace([FIELDS[5]])


PAIR = [FieldSpec(name="query", kind="text"), FieldSpec(name="product", kind="text")]


def test_pairs_with_the_same_relation_are_similar_whatever_their_words() -> None:
    pool = [
        {"query": "red mug", "product": "red mug 300 ml"},
        {"query": "red mug", "product": "garden hose"},
        {"query": "wool socks", "product": "wool socks grey"},
        {"query": "wool socks", "product": "steel pan 28"},
    ]
    vectors = TabularSpace(PAIR).fit(pool, ["yes", "no", "yes", "no"]).embed(pool)
    similar = vectors @ vectors.T
    assert similar[0, 2] > similar[0, 1] + 0.2  # another query that the product has, not the words
    assert similar[1, 3] > similar[1, 0] + 0.2
