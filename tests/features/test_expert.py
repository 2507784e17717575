"""The feature expert: no leakage of its own examples, and valid output on any pool."""

from __future__ import annotations

import numpy as np
import pytest
from feature_cards import EVERY_KIND, card
from feature_cards import rows as any_row
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import ConfigError, InputError
from ecomfs.features import FeatureExpert
from ecomfs.task import load_task
from ecomfs.types import Row

AGES = card(age="number", plan="category")


def ages(n: int, seed: int = 0) -> tuple[list[Row], list[str]]:
    rng = np.random.default_rng(seed)
    rows = [{"age": float(a), "plan": "ab"[int(a) % 2]} for a in rng.normal(40, 10, n)]
    return rows, ["old" if row["age"] + rng.normal(0, 3) > 40 else "young" for row in rows]


def clicks(n: int) -> tuple[list[Row], list[str]]:
    rng = np.random.default_rng(1)
    kinds = ["bags", "hats", "shoes", "coats", "belts", "socks"]
    rows = [{"history": [kinds[k] for k in rng.integers(0, 6, 4)]} for _ in range(n)]
    return rows, [row["history"][-1] for row in rows]


@settings(max_examples=12, deadline=None)
@given(
    pool=st.lists(st.tuples(any_row, st.sampled_from("abc")), min_size=1, max_size=8),
    new=st.lists(any_row, max_size=3),
)
def test_distributions_are_finite_and_sum_to_one_on_any_pool(
    pool: list[tuple[Row, str]], new: list[Row]
) -> None:
    rows, labels = [row for row, _ in pool], [label for _, label in pool]
    expert = FeatureExpert(EVERY_KIND).fit(rows, labels)
    for p, n in ((expert.predict_proba(new), len(new)), (expert.leave_one_out(), len(rows))):
        assert p.shape == (n, len(expert.labels))
        assert np.isfinite(p).all()
        assert p.sum(axis=1) == pytest.approx(1)
    assert all(r.phrase for row in new for r in expert.reasons(row, labels[0], "zh"))


@settings(max_examples=12, deadline=None)
@given(
    n=st.integers(2, 30),
    which=st.integers(0, 29),
    label=st.sampled_from("abc"),
    seed=st.integers(0, 99),
)
def test_leave_one_out_of_a_row_does_not_depend_on_its_own_label(
    n: int, which: int, label: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = [{"age": float(a), "plan": "ab"[int(a) % 2]} for a in rng.normal(40, 10, n)]
    labels = [str(x) for x in rng.choice(list("abc"), n)]
    i = which % n
    changed = [*labels[:i], label, *labels[i + 1 :]]
    one = FeatureExpert(AGES, "abc").fit(rows, labels).leave_one_out()
    two = FeatureExpert(AGES, "abc").fit(rows, changed).leave_one_out()
    assert np.allclose(one[i], two[i], atol=1e-12)


def test_rows_of_one_group_are_left_out_together() -> None:
    rows, labels = ages(12)
    groups = [i // 2 for i in range(12)]
    changed = ["old" if labels[1] == "young" else "young"]
    swapped = [labels[0], *changed, *labels[2:]]
    one = FeatureExpert(AGES, ["old", "young"]).fit(rows, labels, groups).leave_one_out()
    two = FeatureExpert(AGES, ["old", "young"]).fit(rows, swapped, groups).leave_one_out()
    assert np.array_equal(one[0], two[0])


def test_leave_one_out_predicts_the_error_on_new_rows_if_labels_are_noise() -> None:
    rows, _ = ages(60)
    labels = [str(x) for x in np.random.default_rng(4).choice(["old", "young"], 60)]
    p = FeatureExpert(AGES).fit(rows, labels).leave_one_out()
    right = np.mean(
        [["old", "young"][k] == x for k, x in zip(p.argmax(axis=1), labels, strict=True)]
    )
    assert right < 0.7  # seen labels would be learned by heart


def test_the_same_pool_gives_the_same_expert_and_another_order_the_same_answer() -> None:
    rows, labels = ages(40)
    new, _ = ages(10, seed=9)
    one = FeatureExpert(AGES).fit(rows, labels).predict_proba(new)
    assert np.array_equal(one, FeatureExpert(AGES).fit(rows, labels).predict_proba(new))
    turned = FeatureExpert(AGES).fit(rows[::-1], labels[::-1]).predict_proba(new)
    assert np.allclose(one, turned, atol=1e-6)


def test_it_learns_from_a_number() -> None:
    rows, labels = ages(60)
    new, truth = ages(200, seed=5)
    expert = FeatureExpert(AGES).fit(rows, labels)
    answers = [expert.labels[k] for k in expert.predict_proba(new).argmax(axis=1)]
    assert np.mean([a == t for a, t in zip(answers, truth, strict=True)]) > 0.85
    reason = expert.reasons({"age": 65, "plan": "a"}, "old", "en")[0]
    assert reason.phrase.startswith("age: 65")
    assert reason.weight > 0


def test_repeat_the_last_is_learned_once_for_all_labels() -> None:
    rows, labels = clicks(18)
    expert = FeatureExpert(load_task("next_category")).fit(rows, labels)
    new = [{"history": ["bags", "bags", label]} for label in expert.labels]
    assert expert.predict_proba(new).argmax(axis=1).tolist() == list(range(len(expert.labels)))
    assert expert.reasons(new[0], expert.labels[0], "en")[0].weight > 0


def test_in_a_large_pool_an_unfitted_copy_is_left_out_with_its_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ecomfs.features.expert.MOST_EXAMPLES", 12)
    rows, labels = ages(24)
    groups = [i % 12 for i in range(24)]
    expert = FeatureExpert(AGES, ["old", "young"]).fit(rows, labels, groups)
    before = expert.leave_one_out()
    for group in range(12):
        turned = [
            {"old": "young", "young": "old"}[x] if i % 12 == group else x
            for i, x in enumerate(labels)
        ]
        after = FeatureExpert(AGES, ["old", "young"]).fit(rows, turned, groups).leave_one_out()
        assert np.allclose(before[[group, group + 12]], after[[group, group + 12]], atol=1e-12)


def test_leave_one_out_of_some_rows_is_that_of_all() -> None:
    rows, labels = ages(30)
    expert = FeatureExpert(AGES).fit(rows, labels)
    assert np.allclose(expert.leave_one_out([7, 3]), expert.leave_one_out()[[7, 3]])
    assert np.allclose(expert.fit(rows[:20], labels[:20]).leave_one_out().shape, (20, 2))


@pytest.mark.parametrize("rows", [[{}, {}], [{"age": 1}, {"age": 1}], [{"age": "x"}, {"plan": ""}]])
def test_without_a_telling_feature_the_shares_of_the_labels_speak(rows: list[Row]) -> None:
    expert = FeatureExpert(AGES).fit([*rows, rows[0]], ["a", "b", "a"])
    assert expert.predict_proba([{"age": 5, "plan": "z"}])[0] == pytest.approx(
        [2.5 / 4, 1.5 / 4], abs=0.02
    )


def test_a_label_of_the_space_without_an_example_stays_possible() -> None:
    rows, labels = ages(20)
    p = FeatureExpert(AGES, ["old", "young", "unborn"]).fit(rows, labels).predict_proba(rows)
    assert (p[:, 2] > 0).all()
    assert (p[:, 2] < 0.1).all()


def test_no_example_at_all_makes_every_label_as_likely() -> None:
    expert = FeatureExpert(AGES, ["a", "b"]).fit([], [])
    assert expert.predict_proba([{"age": 3}]).tolist() == [[0.5, 0.5]]
    assert expert.leave_one_out().shape == (0, 2)


def test_labels_follow_the_one_rule_of_labels() -> None:
    expert = FeatureExpert(AGES).fit([{"age": 1}, {"age": 2}, {"age": 3}], [1.0, True, 1])
    assert expert.labels == ("1", "true")


def test_errors_name_the_input_and_the_place() -> None:
    rows = [{"age": 1}, {"age": 2}]
    with pytest.raises(InputError, match="row 1: no label"):
        FeatureExpert(AGES).fit(rows, ["a", None])
    with pytest.raises(InputError, match="row 1: label 'c' is not in the label space"):
        FeatureExpert(AGES, ["a", "b"]).fit(rows, ["a", "c"])
    with pytest.raises(InputError, match="label 'c' is not in the label space"):
        FeatureExpert(AGES).fit(rows, ["a", "b"]).reasons(rows[0], "c", "en")
    with pytest.raises(ConfigError, match="2 rows, 1 labels"):
        FeatureExpert(AGES).fit(rows, ["a"])
    with pytest.raises(ConfigError, match="no labels"):
        FeatureExpert(AGES).fit([], [])
    with pytest.raises(ConfigError, match="fit"):
        FeatureExpert(AGES, ["a"]).predict_proba(rows)
