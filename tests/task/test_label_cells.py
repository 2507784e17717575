"""Several labels in a cell: read, refused, and written back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import InputError
from ecomfs.task import read_labels, write_labels

LABELS = st.text(min_size=1).map(str.strip).filter(bool)


@given(st.lists(LABELS, unique=True))
def test_a_written_cell_reads_back_equal(labels: list[str]) -> None:
    assert read_labels(write_labels(labels), "row 1") == tuple(labels)


@given(st.lists(LABELS.filter(lambda x: "|" not in x and x[0] != "["), min_size=1, unique=True))
def test_bars_separate(labels: list[str]) -> None:
    assert read_labels(" | ".join(labels), "row 1") == tuple(labels)
    assert set(read_labels(set(labels), "row 1")) == set(labels)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("slow|broken", ("slow", "broken")),
        ("slow", ("slow",)),
        ('["a|b", "c", "c"]', ("a|b", "c")),
        ("[]", ()),
        (set(), ()),
        (np.array(["x", "y"], dtype=object), ("x", "y")),
        ((1, 2), ("1", "2")),
        (3, ("3",)),
    ],
)
def test_cells(cell: Any, labels: tuple[str, ...]) -> None:
    assert read_labels(cell, "row 1") == labels


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("", r"row 7 has no label \(write \[\]"),
        (None, "row 7 has no label"),
        (float("nan"), "row 7 has no label"),
        ("a||b", "row 7: '' is not a label"),
        ('["a"', "row 7: .* is not a JSON list"),
        ("[" * 100_000, "row 7: .* is not a JSON list"),
        ("[[1]]", r"row 7: \[1\] is not a label"),
        ([None], "row 7: None is not a label"),
        ({"a": 1}, "row 7: .* is not a set of labels"),
    ],
)
def test_an_invalid_set_of_labels_is_named(cell: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_labels(cell, "row 7")
