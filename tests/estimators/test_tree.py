"""Labels are split into parents and children; none is lost or invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.estimators.taxonomy import group_by_parent
from ecomfs.types import Example

NAMES = st.sampled_from(["Home", "Toys", "家居", "C++", "Ärmel"])


def examples(*labels: str) -> list[Example]:
    return [Example(str(i), {"text": f"row {i}"}, label) for i, label in enumerate(labels)]


@given(st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=12))
def test_every_example_is_below_its_parent(pairs: list[tuple[str, str]]) -> None:
    pool = examples(*(f"{parent} > {child}" for parent, child in pairs))
    if len(set(pairs)) < 2:
        with pytest.raises(PoolError, match="all labelled examples have the label"):
            group_by_parent(pool, " > ")
        return
    found = group_by_parent(pool, " > ")
    assert sorted(e.id for _, own in found for e in own) == sorted(e.id for e in pool)
    assert {leaf for branch, _ in found for leaf in branch.leaves} == {e.label for e in pool}
    for branch, own in found:
        assert branch.leaves == tuple(f"{branch.name} > {child}" for child in branch.children)
        assert sum(branch.shares) == pytest.approx(1)
        for example in own:
            assert pairs[int(example.id)] == (branch.name, example.label)


def test_spellings_of_one_label_are_one_child_with_the_first_spelling() -> None:
    [(branch, own)] = group_by_parent(
        examples("Home > Lamps", "HOME>lamps", "home >Ｌamps", "Home>Rugs"), ">"
    )
    assert branch.children == ("Lamps", "Rugs")
    assert branch.leaves == ("Home > Lamps", "Home>Rugs")
    assert branch.shares == (0.75, 0.25)
    assert [e.label for e in own] == ["Lamps"] * 3 + ["Rugs"]


def test_a_child_of_one_name_under_two_parents_stays_two() -> None:
    found = group_by_parent(examples("Home > Other", "Toys > Other"), " > ")
    assert [branch.leaves for branch, _ in found] == [("Home > Other",), ("Toys > Other",)]


def test_further_levels_belong_to_the_child() -> None:
    [(branch, _)] = group_by_parent(examples("A > B > C", "A > B > D"), " > ")
    assert branch.children == ("B > C", "B > D")


@pytest.mark.parametrize("label", ["Home", "Home > ", " > Lamps", ">"])
def test_a_label_of_one_level_is_named(label: str) -> None:
    with pytest.raises(UnknownLabelError, match="example '1'"):
        group_by_parent(examples("Home > Lamps", label), " > ")


def test_a_few_wrong_labels_are_named_and_all_are_counted() -> None:
    with pytest.raises(UnknownLabelError, match=r"'4' .* and 3 more"):
        group_by_parent(examples(*["Home"] * 8), " > ")


def test_no_examples_are_no_tree() -> None:
    with pytest.raises(PoolError, match="no labelled examples"):
        group_by_parent([], " > ")
