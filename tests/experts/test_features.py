"""The feature model among the experts: an example's own label has no influence, on any pool."""

from __future__ import annotations

import numpy as np
import pytest
from feature_cards import EVERY_KIND, card
from feature_cards import rows as any_row
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.features import FeatureSet
from ecomfs.retrieve import Retriever
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example, Row

AGES = card(age="number", plan="category")
LABELS = ("a", "b", "c")


def experts(examples: list[Example], of: TaskCard | None = AGES) -> Experts:
    texts = [f"row {e.id} {dict(e.fields)}" for e in examples]
    return Experts(Retriever(examples, texts, HashedEmbedder(64)), LABELS, of)


def scores(made: Experts, rows: list[Row]) -> np.ndarray:
    queries = made.data.retriever.queries(
        [f"new {row}" for row in rows], rows=rows, neighbours=NEIGHBOURS
    )
    return np.array([opinion.scores["features"] for opinion in made.opinions(queries)])


@settings(max_examples=6, deadline=None)
@given(
    n=st.integers(2, 12),
    which=st.integers(0, 11),
    label=st.sampled_from(LABELS),
    seed=st.integers(0, 99),
    family=st.sampled_from(["alone", "rewrite"]),
)
def test_an_example_left_out_does_not_know_its_own_label(
    n: int, which: int, label: str, seed: int, family: str
) -> None:
    rng = np.random.default_rng(seed)
    mine = str(which % n)
    pool = [
        Example(str(i), {"age": float(rng.normal(40, 10)), "plan": "xy"[i % 2]}, LABELS[k])
        for i, k in enumerate(rng.integers(0, 3, n))
    ]
    if family == "rewrite":
        source = pool[which % n]
        pool.append(Example("s", dict(source.fields), source.label, True, mine, "rewrite"))
    turned = [
        Example(e.id, e.fields, label if mine in (e.id, e.source_id) else e.label, *extra)
        for e in pool
        for extra in [(e.synthetic, e.source_id, e.method)]
    ]
    tables = []
    for examples in (pool, turned):
        made = experts(examples)
        own, _ = made.leave_one_out()
        queries = made.data.retriever.queries(
            [made.data.retriever.texts[which % n]],
            rows=[pool[which % n].fields],
            exclude_ids=[{mine}],
            leave_self_out=True,
            neighbours=NEIGHBOURS,
        )
        asked = made.opinions(queries)[0].scores["features"]
        assert np.allclose(asked, own["features"][which % n])
        tables.append(asked)
    assert np.allclose(*tables, atol=1e-9)


@settings(max_examples=5, deadline=None)
@given(
    pool=st.lists(st.tuples(any_row, st.sampled_from(LABELS)), min_size=2, max_size=5),
    new=st.lists(any_row, min_size=1, max_size=3),
)
def test_scores_are_finite_on_any_pool(pool: list[tuple[Row, str]], new: list[Row]) -> None:
    made = experts([Example(str(i), r, x) for i, (r, x) in enumerate(pool)], EVERY_KIND)
    assert np.isfinite(made.leave_one_out()[0]["features"]).all()
    assert np.isfinite(scores(made, new)).all()


def test_two_examples_and_a_category_they_lack_give_a_distribution() -> None:
    pool = [Example("1", {"age": 20, "plan": "x"}, "a"), Example("2", {"age": 60}, "b")]
    made = experts(pool)
    assert made.leave_one_out()[0]["features"].shape == (2, 3)
    table = np.exp(scores(made, [{"age": 21, "plan": "never seen"}]))
    assert table.sum() == pytest.approx(1)
    assert table[0].argmax() == 0


def test_a_task_of_one_text_has_no_feature_model_and_the_others_do_not_change() -> None:
    texts = ["lovely coat", "torn coat", "lovely hat", "torn hat"]
    pool = [Example(t, {"text": t}, "a" if "lovely" in t else "b") for t in texts]
    plain, with_card = experts(pool, None), experts(pool, load_task("review_sentiment"))
    assert plain.names == with_card.names == ("vote", "probe")
    assert with_card.facts(pool[0].fields, "en") == []
    for name, table in plain.leave_one_out()[0].items():
        assert np.array_equal(table, with_card.leave_one_out()[0][name])


def test_facts_are_what_the_features_of_the_pool_say() -> None:
    pool = [Example(str(i), {"age": 20.0 + i, "plan": "xy"[i % 2]}, "ab"[i % 2]) for i in range(8)]
    said = experts(pool).facts({"age": 22.0, "plan": "x"}, "en")
    rows = [e.fields for e in pool]
    assert said == FeatureSet(AGES).fit(rows).describe({"age": 22.0, "plan": "x"}, "en")
    assert said


def test_rows_of_which_only_the_texts_are_known_are_refused() -> None:
    pool = [Example("1", {"age": 1}, "a"), Example("2", {"age": 2}, "b")]
    made = experts(pool)
    with pytest.raises(ConfigError, match="only their texts"):
        made.opinions(made.data.retriever.queries(["x"], neighbours=NEIGHBOURS))
