"""The relations of fields: equal for pairs with the same relation, whatever their words."""

from __future__ import annotations

import math

from feature_cards import EVERY_KIND
from feature_cards import rows as any_row
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.features import Relations
from ecomfs.task import FieldSpec, load_task
from ecomfs.types import Row

PAIR = [FieldSpec(name="query", kind="text"), FieldSpec(name="title", kind="text")]


@settings(max_examples=30, deadline=None)
@given(st.lists(any_row, max_size=4))
def test_every_relation_is_a_finite_number_whatever_the_cells(rows: list[Row]) -> None:
    relations = Relations(EVERY_KIND.specs)
    found = relations.read(rows)
    assert len(found) == len(rows)
    for row in found:
        assert list(row) in ([spec.name for spec in relations.specs], [])
        assert all(math.isfinite(number) for number in row.values())


@settings(max_examples=30, deadline=None)
@given(st.permutations("abcdefghij"))
def test_other_letters_that_agree_in_the_same_way_give_the_same_relations(
    letters: list[str],
) -> None:
    spelt = str.maketrans("abcdefghij", "".join(letters))
    relations = Relations(PAIR)
    row = {"query": "abc de", "title": "abc fgh ij"}
    other = {name: text.translate(spelt) for name, text in row.items()}
    assert relations.read([row]) == relations.read([other])


def test_only_a_row_without_any_value_has_no_relations() -> None:
    relations = Relations(PAIR)
    empty, one = relations.read([{"query": "", "title": None}, {"query": "mug", "title": ""}])
    assert empty == {}
    assert list(one) == [spec.name for spec in relations.specs]


def test_a_task_of_one_text_has_none() -> None:
    relations = Relations(load_task("review_sentiment").specs)
    assert relations.specs == ()
    assert relations.read([{"text": "fits"}]) == [{}]


def test_relations_of_two_fields_weigh_as_much_as_one_field() -> None:
    assert math.isclose(sum(spec.weight for spec in Relations(PAIR).specs), 1.0)
