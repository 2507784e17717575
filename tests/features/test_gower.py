"""Gower similarity: its value by hand, its properties, and that it finds the relevant field."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import ConfigError, RowError
from ecomfs.features import GowerSpace
from ecomfs.task import FieldSpec

FIELDS = [
    FieldSpec(name="age", kind="number"),
    FieldSpec(name="paid", kind="price"),
    FieldSpec(name="day", kind="date"),
    FieldSpec(name="plan", kind="category"),
    FieldSpec(name="seen", kind="history"),
    FieldSpec(name="note", kind="text"),
]
rows = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.integers(0, 9) | st.just(""),
            "paid": st.sampled_from(["$1", "$20", ""]),
            "day": st.sampled_from(["2024-05-01", "2024-06-01", ""]),
            "plan": st.sampled_from(["a", "b", ""]),
            "seen": st.lists(st.sampled_from(["x", "y", "z"]), max_size=3),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(rows, rows, st.sampled_from(["rank", "range"]))
def test_it_is_a_similarity(pool: list, queries: list, scale: str) -> None:  # type: ignore[type-arg]
    space = GowerSpace(FIELDS, scale=scale).fit(pool)  # type: ignore[arg-type]
    found = space.similarities(queries, pool)
    assert found.shape == (len(queries), len(pool))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
    assert np.allclose(found, space.similarities(pool, queries).T, atol=1e-6)
    own = np.diag(space.similarities(pool, pool))
    for row, similarity in zip(pool, own, strict=True):
        known = any(value for value in row.values())
        assert similarity == pytest.approx(1.0 if known else 0.0)


def test_a_case_by_hand() -> None:
    pool = [
        {"age": 20, "plan": "a", "seen": ["x", "y"]},
        {"age": 40, "plan": "b", "seen": ["x", "z"]},
    ]
    space = GowerSpace(FIELDS, scale="range").fit(pool)
    query = {"age": 25, "plan": "b", "seen": ["z", "y"]}
    # age 1 - 5/20 and 1 - 15/20; plan 0 and 1; seen: (1/3 + 1) / 2 for both, Jaccard by kinds:
    # {y,z} and {x,y} share y of three, last y = y; {y,z} and {x,z} share z of three, last y ≠ z.
    first = (0.75 + 0 + (1 / 3 + 1) / 2) / 3
    second = (0.25 + 1 + (1 / 3 + 0) / 2) / 3
    assert space.similarities([query], pool)[0] == pytest.approx([first, second])


def test_missing_values_do_not_count() -> None:
    pool = [{"age": 1, "plan": "a"}, {"age": 9, "plan": "a"}]
    space = GowerSpace(FIELDS).fit(pool)
    assert space.similarities([{"plan": "a"}], pool)[0] == pytest.approx([1, 1])
    assert space.similarities([{"note": "x"}], pool)[0] == pytest.approx([0, 0])


def test_an_unseen_category_equals_nothing() -> None:
    pool = [{"plan": "a", "seen": ["x"]}]
    space = GowerSpace(FIELDS).fit(pool)
    assert space.similarities([{"plan": "new"}], pool)[0, 0] == 0
    assert space.similarities([{"plan": "new"}], [{"plan": "new"}])[0, 0] == 0
    assert space.similarities([{"seen": ["new", "x"]}], pool)[0, 0] == pytest.approx(0.75)


def test_ranks_keep_one_giant_from_making_all_others_alike() -> None:
    pool = [{"age": a} for a in (*range(10), 1_000_000)]
    by_rank = GowerSpace(FIELDS).fit(pool).similarities([{"age": 0}], pool)[0]
    by_range = GowerSpace(FIELDS, scale="range").fit(pool).similarities([{"age": 0}], pool)[0]
    assert by_range[9] > 0.999
    assert by_rank[9] < 0.3


def test_labels_teach_which_field_matters() -> None:
    rng = random.Random(1)
    idle = [FieldSpec(name=f"idle{i}", kind="number") for i in range(10)]
    fields = [FieldSpec(name="matters", kind="number"), *idle]

    def sample(n: int) -> list[dict[str, float]]:
        return [{spec.name: rng.random() for spec in fields} for _ in range(n)]

    def accuracy(space: GowerSpace) -> float:
        nearest = space.similarities(queries, pool).argmax(axis=1)
        right = [labels[j] == _label(q) for q, j in zip(queries, nearest, strict=True)]
        return sum(right) / len(right)

    pool, queries = sample(150), sample(300)
    labels = [_label(row) for row in pool]
    taught = GowerSpace(fields).fit(pool, labels)
    assert max(taught.weights, key=taught.weights.__getitem__) == "matters"
    assert accuracy(taught) > accuracy(GowerSpace(fields).fit(pool)) + 0.1


def _label(row: dict[str, float]) -> str:
    return "high" if row["matters"] > 0.5 else "low"


def test_the_cards_weights_count() -> None:
    fields = [FieldSpec(name="a", kind="category", weight=3), FieldSpec(name="b", kind="category")]
    pool = [{"a": "x", "b": "x"}]
    space = GowerSpace(fields).fit(pool)
    assert space.similarities([{"a": "x", "b": "y"}], pool)[0, 0] == pytest.approx(0.75)


def test_an_encoded_pool_gives_the_same() -> None:
    pool = [{"age": i, "plan": "ab"[i % 2], "seen": ["x"] * (i % 3)} for i in range(9)]
    space = GowerSpace(FIELDS).fit(pool)
    encoded = space.encode(pool)
    assert len(encoded) == 9
    assert (space.similarities(encoded, encoded) == space.similarities(pool, pool)).all()


def test_errors() -> None:
    with pytest.raises(ConfigError, match="no field can be compared"):
        GowerSpace([FieldSpec(name="note", kind="text")])
    with pytest.raises(ConfigError, match="call fit first"):
        GowerSpace(FIELDS).similarities([{"age": 1}], [{"age": 1}])
    with pytest.raises(RowError, match="column 'age': 'x' is not a number"):
        GowerSpace(FIELDS).fit([{"age": "x"}])
    with pytest.raises(ConfigError, match="1 rows but 2 labels"):
        GowerSpace(FIELDS).fit([{"age": 1}], ["a", "b"])
