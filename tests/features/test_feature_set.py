"""A row as numbers: the features, and properties that hold for any row."""

from __future__ import annotations

import numpy as np
import pytest
from feature_cards import EVERY_KIND, card
from feature_cards import rows as any_row
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.features import FeatureSet, LabelFeatures
from ecomfs.features.block import Block
from ecomfs.features.histories import HistoryBlock
from ecomfs.features.texts import TextHistoryBlock, TextPairBlock
from ecomfs.task import load_task
from ecomfs.types import Row


def comparable_value(block: Block, row: dict[str, object], name: str) -> float:
    """One feature of a block by itself, whose row is typed already."""
    names = [feature.name for feature in block.features]
    return round(float(block.values([row])[0, names.index(name)]), 3)


def column(features: FeatureSet, rows: list[Row], name: str) -> list[float]:
    return features.transform(rows)[:, features.names.index(name)].round(3).tolist()


@settings(max_examples=20, deadline=None)
@given(pool=st.lists(any_row, max_size=6), new=st.lists(any_row, max_size=4))
def test_features_are_finite_and_of_one_width_whatever_the_cells(
    pool: list[Row], new: list[Row]
) -> None:
    features = FeatureSet(EVERY_KIND).fit(pool)
    found = features.transform(new)
    assert found.shape == (len(new), len(features.names))
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert len(set(features.names)) == len(features.names)
    for row in new:
        for language in ("en", "zh"):
            assert len(features.phrases(row, language)) == len(features.names)
            assert all(features.describe(row, language))


@settings(max_examples=20, deadline=None)
@given(pool=st.lists(any_row, min_size=1, max_size=6), new=st.lists(any_row, max_size=4))
def test_features_depend_neither_on_other_rows_nor_on_the_order_of_the_pool(
    pool: list[Row], new: list[Row]
) -> None:
    features = FeatureSet(EVERY_KIND).fit(pool)
    together = features.transform(new)
    for i, row in enumerate(new):
        assert np.array_equal(features.transform([row])[0], together[i])
    turned = FeatureSet(EVERY_KIND).fit(pool[::-1])
    assert turned.names == features.names
    assert np.allclose(turned.transform(new), together)


@settings(max_examples=20, deadline=None)
@given(pool=st.lists(any_row, max_size=5), labels=st.sets(st.sampled_from("abcd1杯"), min_size=1))
def test_features_of_row_and_label_are_finite_and_follow_the_labels_order(
    pool: list[Row], labels: set[str]
) -> None:
    names = sorted(labels)
    found = LabelFeatures(EVERY_KIND, names).fit(pool)
    values = found.transform(pool)
    assert values.shape == (len(pool), len(names), len(found.names))
    assert np.isfinite(values).all()
    turned = LabelFeatures(EVERY_KIND, names[::-1]).fit(pool)
    assert np.array_equal(turned.transform(pool), values[:, ::-1])


def test_a_label_column_among_the_cells_is_never_looked_at() -> None:
    pool = [{"age": i, "label": "yes" if i > 5 else "no"} for i in range(10)]
    without = [{"age": i} for i in range(10)]
    features = FeatureSet(card(age="number")).fit(pool)
    assert np.array_equal(features.transform(pool), features.transform(without))


def test_an_unseen_category_counts_as_rare_and_a_missing_cell_as_missing() -> None:
    pool = [{"plan": p} for p in ("a", "a", "b", "b", "c", "")]
    features = FeatureSet(card(plan="category")).fit(pool)
    new = [{"plan": "a"}, {"plan": "unheard of"}, {}]
    assert column(features, new, "plan=a") == [1, 0, 0]
    assert column(features, new, "plan:rare") == [0, 1, 0]
    assert column(features, new, "plan:missing") == [0, 0, 1]


def test_one_extreme_number_does_not_squeeze_the_others() -> None:
    pool = [{"paid": p} for p in (1, 2, 3, 4, 5, 6, 7, 1e300)]
    features = FeatureSet(card(paid="number")).fit(pool)
    low, high, beyond, most = column(
        features, [{"paid": p} for p in (1, 7, 1e308, 1e300)], "paid:value"
    )
    assert high - low > 1
    assert beyond == most


def test_two_histories_count_by_the_logarithm_of_their_ratio() -> None:
    task = load_task("product_preference")
    pool = [
        {"liked": '["a", "b", "c", "d"]', "disliked": "", "item": "x"},
        {"liked": '["a"]', "disliked": '["b", "c", "d"]', "item": "y"},
    ]
    features = FeatureSet(task).fit(pool)
    assert column(features, pool, "liked/disliked:ratio") == [1.609, -0.693]
    assert "liked 1 of 4, disliked 3" in features.describe(pool[1], "en")
    assert "共4项：喜欢过1项，不喜欢3项" in features.describe(pool[1], "zh")


def test_two_texts_are_compared_by_words_spelling_and_model_numbers() -> None:
    task = load_task("same_product")
    pool = [
        {"left": "Acme WSC-301 pot 5L", "right": "ACME pot wsc-301, 5 l, black"},
        {"left": "Acme WSC-301 pot", "right": "Acme WSC-302 pot"},
        {"left": "大落地窗", "right": "铝合金落地窗"},
    ]
    features = FeatureSet(task).fit(pool)
    block = TextPairBlock(*(field.rendering for field in task.fields))
    assert [comparable_value(block, row, "left~right:codes_differ") for row in pool] == [0, 1, 0]
    assert [comparable_value(block, row, "left~right:lead") for row in pool] == [1, 1, 0]
    assert comparable_value(block, pool[2], "left>right:words") == round(2 / 3, 3)
    assert comparable_value(block, pool[0], "left>right:chars1") == 1
    assert "4 of 5 first listing words in the second listing" in features.describe(pool[0], "en")


def test_a_text_is_compared_with_every_history_and_with_an_embedder_also_by_meaning() -> None:
    task = load_task("product_preference")
    pool = [
        {"liked": ["Star Wars (1977)"], "disliked": ["Heat"], "item": "Star Wars (1997)"},
        {"liked": ["Casino"], "disliked": ["Star Wars (1977)"], "item": "Star Wars (1997)"},
    ]
    _, liked, disliked, _, item = task.specs
    plain = TextHistoryBlock(item, [liked, disliked])
    nearer = [comparable_value(plain, row, "item~liked/disliked:chars_most") for row in pool]
    assert nearer[0] > 0.5
    assert nearer[0] == -nearer[1]
    assert not [name for name in FeatureSet(task).fit(pool).names if "meaning" in name]
    asked: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return HashedEmbedder().embed(texts, query=True)

    more = {"liked": ["Wars of the stars", "Toy Story"], "disliked": ["Mars"], "item": "Heat 2"}
    features = FeatureSet(task, embed).fit([*pool, more])
    assert [name for name in features.names if "meaning" in name]
    assert len(asked) == len(set(asked)) == 8
    meant = TextHistoryBlock(item, [liked, disliked], embed)
    assert comparable_value(meant, pool[0], "item~liked/disliked:meaning_most") > 0.3


def test_features_of_a_history_are_length_run_last_kind_and_numbers() -> None:
    parts = [{"name": "kind", "kind": "category"}, {"name": "stars", "kind": "number"}]
    task = card(seen={"kind": "history", "items": parts})
    pool = [
        {"seen": [{"kind": "a", "stars": 1}, {"kind": "b", "stars": 3}, {"kind": "b", "stars": 5}]},
        {"seen": [{"kind": "b", "stars": 2}, {"kind": "a", "stars": 2}]},
        {"seen": []},
    ]
    features = FeatureSet(task).fit(pool)
    block = HistoryBlock(task.fields[0].rendering)
    block.fit(pool)
    assert [comparable_value(block, row, "seen:last=b") for row in pool] == [1, 0, 0]
    assert [comparable_value(block, row, "seen:share=b") for row in pool] == [0.667, 0.5, 0]
    assert [comparable_value(block, row, "seen:run") for row in pool] == [1.099, 0.693, 0]
    assert features.describe(pool[0], "en")[0] == "seen: 3 items, the last 2 b"
    assert comparable_value(block, pool[0], "seen.stars:mean") > comparable_value(
        block, pool[1], "seen.stars:mean"
    )


def test_a_label_is_found_in_the_part_of_the_items_that_has_labels() -> None:
    task = load_task("next_category")
    pool = [
        {"history": [{"category": "bags", "brand": "x"}, {"category": "hats", "brand": "y"}]},
        {"history": [{"category": "hats", "brand": "x"}]},
    ]
    found = LabelFeatures(task, ["bags", "hats", "shoes"]).fit(pool)
    assert all(name.startswith("history.category:") for name in found.names)
    last = found.transform(pool)[:, :, found.names.index("history.category:last")]
    assert last.tolist() == [[0, 1, 0], [0, 1, 0]]


def test_an_unfitted_set_and_a_wrong_embedder_say_so() -> None:
    with pytest.raises(ConfigError, match="fit"):
        FeatureSet(EVERY_KIND).transform([])
    pool = [{"left": "a", "right": "b"}]
    with pytest.raises(ConfigError, match="embedder"):
        FeatureSet(EVERY_KIND, lambda texts: np.zeros(3)).fit(pool)


def test_the_features_of_two_texts_are_named_in_one_language() -> None:
    query, title = load_task("query_relevance").specs
    feature = TextPairBlock(query, title).features[0]
    assert feature.title("en") == "words of the query in the product"
    assert "query" not in feature.title("zh")
