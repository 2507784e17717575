"""Values as numbers and categories, and the mutual information of a field with the label."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.features import comparable_value
from ecomfs.features.cells import read_cell
from ecomfs.features.measure import (
    category_codes,
    information,
    mutual_information,
    number_codes,
)
from ecomfs.task import FieldSpec

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=60)


def entropy(codes: Sequence[object]) -> float:
    n = len(codes)
    return -sum(c / n * math.log(c / n) for c in Counter(codes).values())


@given(PAIRS, st.randoms(use_true_random=False))
def test_mutual_information_is_symmetric_bounded_and_of_no_order_and_no_names(
    pairs: list[tuple[str, str]], rng: random.Random
) -> None:
    codes, labels = [x for x, _ in pairs], [y for _, y in pairs]
    found = mutual_information(codes, labels)
    assert 0 <= found <= min(entropy(codes), entropy(labels)) + 1e-9
    assert found == pytest.approx(mutual_information(labels, codes))
    renamed = [{"a": 7, "b": "other", "c": None}[x] for x in codes]
    assert found == pytest.approx(mutual_information(renamed, labels))
    rng.shuffle(pairs)
    assert found == mutual_information([x for x, _ in pairs], [y for _, y in pairs])


@given(st.integers(20, 200), st.integers(0, 10**6))
def test_what_tells_the_label_has_information_and_a_constant_has_none(n: int, seed: int) -> None:
    rng = random.Random(seed)
    labels = ["yes", "no"] * (n // 2)
    rng.shuffle(labels)
    assert mutual_information(labels, labels) > 0.5
    assert mutual_information(["same"] * len(labels), labels) == 0.0


NUMBERS = st.lists(st.none() | st.integers(-1000, 1000).map(float), max_size=40)


@given(NUMBERS)
def test_quarters_keep_the_order_of_the_numbers_and_missing_ones_apart(
    numbers: list[float | None],
) -> None:
    codes = number_codes(numbers)
    assert [code == -1 for code in codes] == [x is None for x in numbers]
    known = sorted((x, code) for x, code in zip(numbers, codes, strict=True) if x is not None)
    assert [code for _, code in known] == sorted(code for _, code in known)
    assert all(code in (-1, 0, 1, 2, 3) for code in codes)
    # Only the order counts: another unit gives the same quarters.
    assert codes == number_codes([None if x is None else 2 * x + 8 for x in numbers])


@given(st.lists(st.none() | st.sampled_from(["a", "b", "rare", "missing"]), max_size=40))
def test_rare_categories_are_one_and_no_category_is_taken_for_a_missing_one(
    values: list[str | None],
) -> None:
    codes = category_codes(values)
    for value, code in zip(values, codes, strict=True):
        if value is None:
            assert code == "missing"
        else:
            assert code == (f"={value}" if values.count(value) >= 3 else "rare")


def test_each_kind_of_field_is_measured_by_what_can_be_compared() -> None:
    def value(kind: str, cell: object) -> object:
        spec = FieldSpec(name="f", kind=kind)  # type: ignore[arg-type]
        return comparable_value(spec, read_cell(spec, cell))

    assert value("number", "12.5") == 12.5
    assert value("price", "$3.50") == 3.5
    assert value("category", "red") == "red"
    later, sooner = value("date", "2024-03-02"), value("date", "2024-03-01")
    assert isinstance(later, float)
    assert isinstance(sooner, float)
    assert later - sooner == 1
    assert value("text", "fits well") is None
    assert comparable_value(FieldSpec(name="f", kind="number"), None) is None


def test_a_history_counts_by_its_last_item_and_a_text_not_at_all() -> None:
    labels = ["yes", "no"] * 20
    last = [["cart", "sale"], ["sale", "cart"]] * 20
    assert information(FieldSpec(name="seen", kind="history"), last, labels) > 0.5
    first = [["sale", "cart"], ["search", "cart"]] * 20
    assert information(FieldSpec(name="seen", kind="history"), first, labels) == 0.0
    assert information(FieldSpec(name="words", kind="text"), ["a", "b"] * 20, labels) == 0.0
