"""Two-level classification: probabilities multiply, the beam limits the readings, no label is
guessed.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine

from ecomfs.errors import ConfigError, EcomfsError, NotFittedError, PoolError, UnknownLabelError
from ecomfs.estimators.taxonomy import TaxonomyClassifier
from ecomfs.pool import Pool
from ecomfs.types import Example, Status

TREE = {
    "Electronics": {"Phones": 3, "Cameras": 1, "Tablets": 2},
    "Home": {"Lamps": 2, "Chairs": 2},
    "Food": {"Tea": 2},
    "Sport": {"Balls": 2, "Shoes": 3},
}
ROWS = ["lamp for the desk", "a phone with two cameras", "green tea"]


def pool(tree: dict[str, dict[str, int]] = TREE, separator: str = " > ") -> list[Example]:
    out = []
    for parent, children in tree.items():
        for child, count in children.items():
            for n in range(count):
                title = f"{child} number {n} from {parent}"
                label = f"{parent}{separator}{child}"
                out.append(Example(f"{parent}-{child}-{n}", {"title": title}, label))
    return out


def fitted(
    examples: list[Example] | None = None, engine: Any = None, **options: Any
) -> TaxonomyClassifier:
    options = {"embedder": "hashed", "language": "en", "k": 4, "calibration_size": 0, **options}
    clf = TaxonomyClassifier("product_category", engine or ScriptedEngine(), **options)
    return clf.fit(pool() if examples is None else examples)


def branches(clf: TaxonomyClassifier) -> dict[str, Any]:
    return {branch.name: branch for branch in clf.branches_}


def test_probabilities_multiply_along_the_path() -> None:
    clf = fitted(beam=4)
    assert clf.root_ is not None
    [found] = clf.classify(ROWS[:1])
    [top] = clf.root_.classify(ROWS[:1])
    assert sum(found.probabilities.values()) == pytest.approx(1)
    for parent, branch in branches(clf).items():
        if branch.classifier is None:
            assert found.probabilities[branch.leaves[0]] == top.probabilities[parent]
            continue
        [below] = branch.classifier.classify(ROWS[:1])
        for leaf, child in zip(branch.leaves, branch.children, strict=True):
            assert found.probabilities[leaf] == pytest.approx(
                top.probabilities[parent] * below.probabilities[child]
            )
    assert found.label == max(found.probabilities, key=found.probabilities.__getitem__)
    read_twice = found.label != "Food > Tea"
    assert found.label_mass == pytest.approx(0.9**2 if read_twice else 0.9)


def test_a_parent_outside_the_beam_is_spread_by_the_pools_shares() -> None:
    clf = fitted(beam=1)
    assert clf.root_ is not None
    for found, top in zip(clf.classify(ROWS), clf.root_.classify(ROWS), strict=True):
        best = top.label
        for parent, branch in branches(clf).items():
            if parent == best:
                continue
            total = sum(TREE[parent].values())
            for leaf, child in zip(branch.leaves, branch.children, strict=True):
                assert found.probabilities[leaf] == pytest.approx(
                    top.probabilities[parent] * TREE[parent][child] / total
                )


def test_one_engine_and_no_reading_for_an_only_child() -> None:
    engine = ScriptedEngine()
    clf = fitted(engine=engine, beam=4)
    assert branches(clf)["Food"].classifier is None
    assert {b.classifier.engine_ for b in clf.branches_ if b.classifier} == {engine}
    clf.classify(ROWS)
    # Level one reads all rows in one call; three of the four parents have several children.
    assert engine.calls == [3, 3, 3, 3]


@settings(max_examples=25)
@given(
    tree=st.dictionaries(
        st.sampled_from(["Alpha", "Beta", "Gamma", "Delta"]),
        st.dictionaries(
            st.sampled_from(["one", "two", "three"]), st.integers(1, 3), min_size=1, max_size=3
        ),
        min_size=2,
        max_size=4,
    ),
    beam=st.integers(1, 5),
    row=st.text("abcdefgh ", min_size=1).filter(str.strip),
)
def test_sums_marginals_and_the_beam(tree: dict[str, dict[str, int]], beam: int, row: str) -> None:
    engine = ScriptedEngine()
    clf = fitted(pool(tree), engine, beam=beam)
    [found] = clf.classify([row])
    assert found.status is Status.OK
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert clf.root_ is not None
    [top] = clf.root_.classify([row])
    # What a parent has at level one is what its children have together.
    for parent, branch in branches(clf).items():
        within = sum(found.probabilities[leaf] for leaf in branch.leaves)
        assert within == pytest.approx(top.probabilities[parent])
    for stage in found.stages.values():
        assert sum(stage) == pytest.approx(1)
    # Level two is asked about no more parents than the beam has, and of those in it only.
    likeliest = sorted(top.probabilities, key=lambda p: -top.probabilities[p])[:beam]
    asked = [p for p in likeliest if len(tree[p]) > 1]
    assert len(engine.calls) == 1 + len(asked) + 1
    changed = {
        leaf.split(" > ")[0]
        for leaf, before, after in zip(found.probabilities, *found.stages.values(), strict=True)
        if abs(before - after) > 1e-12
    }
    assert changed <= set(asked)


def test_labels_come_back_as_the_pool_spells_them() -> None:
    examples = [
        *pool(),
        Example("x1", {"title": "another phone"}, "electronics > PHONES"),
        Example("x2", {"title": "a drone"}, "ELECTRONICS>Drones"),
    ]
    clf = fitted(examples)
    assert "ELECTRONICS>Drones" in clf.classes_
    assert "Electronics > Phones" in clf.classes_
    assert len(clf.classes_) == 9
    assert [b.name for b in clf.branches_] == list(TREE)
    assert branches(clf)["Electronics"].shares == pytest.approx((4 / 8, 1 / 8, 2 / 8, 1 / 8))


def test_verbs_agree() -> None:
    clf = fitted()
    labels, table = clf.predict(ROWS), clf.predict_proba(ROWS)
    assert table.shape == (3, 8)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert clf.classes_[table.argmax(axis=1)].tolist() == labels.tolist()
    assert clf.score(ROWS, labels) == 1.0
    assert clf.score(ROWS, [labels[0], "Home > Nothing", None]) == pytest.approx(1 / 3)
    assert [p.id for p in clf.classify(ROWS, ids=["a", "b", "c"])] == ["a", "b", "c"]
    frame = [{"title": row, "other": 1} for row in ROWS]
    assert clf.predict(frame).tolist() == labels.tolist()


def test_calibration_and_fusion_work_at_both_levels() -> None:
    clf = fitted(calibration_size=16, beam=4)
    found = clf.classify(["Phones number 9 from Electronics", "Lamps number 7 from Home"])
    assert [p.label for p in found] == ["Electronics > Phones", "Home > Lamps"]
    for p in found:
        assert p.source == "fused"
        assert sum(p.probabilities.values()) == pytest.approx(1)
    assert clf.root_ is not None
    assert clf.root_.profile_ is not None
    below = branches(clf)["Electronics"].classifier.profile_
    assert below.found["readings"] == 6  # all it has: fewer than the 8 that were granted


def test_examples_with_a_parent_only_are_named() -> None:
    short = [Example("s1", {"title": "x"}, "Electronics"), Example("s2", {"title": "y"}, "Home > ")]
    with pytest.raises(UnknownLabelError) as caught:
        fitted([*pool(), *short])
    assert "examples 's1' ('Electronics'), 's2' ('Home > ')" in str(caught.value)
    assert "'Electronics > Other'" in str(caught.value)


@pytest.mark.parametrize(
    ("examples", "options", "kind", "why"),
    [
        ([], {}, PoolError, "no labelled examples"),
        (pool({"A": {"b": 2}}), {}, PoolError, "all labelled examples have the label 'A > b'"),
        (pool(), {"beam": 0}, ConfigError, "beam = 0"),
        (pool(), {"separator": " "}, ConfigError, "separator"),
    ],
)
def test_invalid_taxonomies_are_refused(
    examples: list[Example], options: dict[str, Any], kind: type[EcomfsError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        fitted(examples, **options)


def test_unknown_options_closed_tasks_and_use_before_fit() -> None:
    with pytest.raises(TypeError, match="beams"):
        TaxonomyClassifier("product_category", beams=2)
    with pytest.raises(ConfigError, match="closed label space"):
        TaxonomyClassifier("review_sentiment", ScriptedEngine()).fit(["x"], ["a > b"])
    with pytest.raises(ConfigError, match="call fit first"):
        TaxonomyClassifier().predict(["x"])


def test_one_parent_needs_no_level_one() -> None:
    engine = ScriptedEngine()
    clf = fitted(pool({"Home": {"Lamps": 2, "Chairs": 2}}), engine)
    assert clf.root_ is None
    [found] = clf.classify(["a lamp"])
    assert engine.calls == [1]
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.label_mass == pytest.approx(0.9)


def test_a_row_that_fails_at_either_level_fails_alone() -> None:
    # Only the prompts of level two list both children of Home.
    engine = ScriptedEngine(fails_on="Product: tea\nCategory:")
    found = fitted(engine=engine).classify(["lamp", "tea", " "])
    assert [p.status for p in found] == [Status.OK, Status.FAILED, Status.FAILED]
    assert found[1].probabilities == {}
    assert "field 'title' is empty" in found[2].error
    table = fitted(engine=engine).predict_proba(["lamp", "tea"])
    assert not np.isnan(table[0]).any()
    assert np.isnan(table[1]).all()


class FailsBelow(ScriptedEngine):
    """Fails when the children of one parent are read."""

    def _failure(self, prompt: Any) -> Any:
        from ecomfs.errors import EngineResponseError

        below = "Category: Lamps" in prompt.text and "row to fail" in prompt.text
        return EngineResponseError("no answer for this prompt") if below else None


def test_a_failure_at_level_two_names_the_parent() -> None:
    clf = fitted(engine=FailsBelow(), beam=4)
    found = clf.classify(["row to fail", "lamp"])
    assert [p.status for p in found] == [Status.FAILED, Status.OK]
    assert found[0].error == "children of 'Home': no answer for this prompt"
    assert found[0].label is None
    assert found[0].probabilities == {}


def test_a_text_answer_that_is_no_label_is_invalid() -> None:
    found = fitted(engine=ScriptedEngine(logprobs=False, answer="meh")).classify(["lamp"])
    assert found[0].status is Status.INVALID
    assert found[0].label is None


def test_a_pool_is_read_once_and_its_version_kept() -> None:
    stored = Pool.in_memory(pool())
    clf = TaxonomyClassifier(
        "product_category", ScriptedEngine(), embedder="hashed", k=4, calibration_size=0
    ).fit(stored)
    assert clf.classify(["lamp"])[0].pool_version == stored.version > 0


@pytest.mark.parametrize("beam", [1, 4])
def test_a_row_is_explained_level_by_level_and_as_it_is_classified(beam: int) -> None:
    clf = fitted(beam=beam)
    for row in ROWS:
        found = clf.explain(row)
        [expected] = clf.classify([row])
        assert found.prediction.probabilities == expected.probabilities
        assert found.prediction.label == expected.label
        assert found.parents is not None
        best = found.parents.prediction.label
        assert best in found.children or best == "Food"  # an only child is not read
        plain = json.loads(json.dumps(found.to_dict()))
        assert plain["label"] == expected.label
        assert plain["parents"]["demonstrations"]
        assert {*plain["children"]} == {*found.children}
        assert str(found).startswith(f"label: {expected.label}  (ok)")
        assert "level one: parents" in str(found)


def test_an_explanation_needs_a_fit_and_a_failed_row_says_why() -> None:
    with pytest.raises(NotFittedError):
        TaxonomyClassifier("product_category", ScriptedEngine()).explain("a lamp")
    found = fitted().explain({"title": ""})
    assert found.prediction.status is Status.FAILED
    assert "field 'title' is empty" in str(found)
    assert found.to_dict()["label"] is None


@pytest.mark.parametrize("name", ["precision", "coverage", "novel_below"])
def test_a_guarantee_that_cannot_be_fitted_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} = 0.1 is fitted on examples read"):
        fitted(**{name: 0.1})
    profile = fitted(calibration_size=8).profile_
    with pytest.raises(ConfigError, match=f"^{name} = 0.1 together with a profile"):
        fitted(profile=profile, **{name: 0.1})


def test_novelty_needs_a_level_one() -> None:
    tree = {"Home": {"Lamps": 3, "Chairs": 3}}
    with pytest.raises(ConfigError, match=r"novel_below = 0.1 with the only parent 'Home'"):
        fitted(pool(tree), calibration_size=8, novel_below=0.1)


def test_guarantees_of_answers_with_a_model_do_not_hold_without_it() -> None:
    profile = fitted(calibration_size=16, coverage=0.5).profile_
    assert profile is not None
    with pytest.raises(ConfigError, match=r"guarantees coverage = 0.5 for answers with the model"):
        fitted(engine="none", profile=profile)
    without = fitted(engine="none", calibration_size=16, coverage=0.5)
    again = fitted(engine="none", profile=without.profile_)
    assert again.classify(ROWS) == without.classify(ROWS)


def test_a_refresh_keeps_the_guarantee() -> None:
    examples = pool()
    with Pool.in_memory(examples) as store:
        clf = TaxonomyClassifier(
            "product_category", "none", embedder="hashed", calibration_size=16, precision=0.5
        ).fit(store)
        before = clf.pipeline_.policy.accept_from
        store.add([Example("new", {"title": "Lamps number 9"}, "Home > Lamps")])
        assert clf.refresh().policy.accept_from == before
