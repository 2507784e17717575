"""Rows and labels in every form that callers pass: clear ones are converted, others are named."""

from __future__ import annotations

import enum
from collections import namedtuple
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import ColumnError, ConfigError, EcomfsError, InputError
from ecomfs.task import InputLabels, as_items

pa = pytest.importorskip("pyarrow")

Record = namedtuple("Record", "text")


class Polars:
    """What is asked of a DataFrame of polars."""

    columns = ("text",)

    def iter_rows(self) -> Any:
        return iter([("a",), ("b",)])


FRAME = pd.DataFrame({"text": ["a", "b"]})
MAPPINGS: dict[str, Any] = {
    "frame": FRAME,
    "mappings": [{"text": "a"}, {"text": "b"}],
    "arrow table": pa.table({"text": ["a", "b"]}),
    "arrow batch": pa.RecordBatch.from_pydict({"text": ["a", "b"]}),
    "polars": Polars(),
    "records": np.array([("a",), ("b",)], dtype=[("text", "U1")]),
    "named tuples": [Record("a"), Record("b")],
    "itertuples": FRAME.itertuples(),
    "rows of a frame": [row for _, row in FRAME.iterrows()],
}
TEXTS: dict[str, Any] = {
    "list": ["a", "b"],
    "generator": (text for text in "ab"),
    "tuple": ("a", "b"),
    "series": FRAME["text"],
    "categorical": pd.Series(["a", "b"], dtype="category"),
    "index": pd.Index(["a", "b"]),
    "array": np.array(["a", "b"]),
    "objects": np.array(["a", "b"], dtype=object),
    "column": FRAME[["text"]].to_numpy(),
    "lists of one": [["a"], ["b"]],
    "arrays of one": [np.array(["a"]), np.array(["b"])],
    "arrow array": pa.array(["a", "b"]),
    "arrow chunks": pa.chunked_array([["a"], ["b"]]),
}


@pytest.mark.parametrize("form", MAPPINGS)
def test_every_table_is_its_rows(form: str) -> None:
    assert as_items(MAPPINGS[form]) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("form", TEXTS)
def test_every_column_is_its_texts(form: str) -> None:
    assert as_items(TEXTS[form]) == ["a", "b"]


def test_lists_of_a_parquet_file_are_lists(tmp_path: Path) -> None:
    rows = [{"seen": [{"title": "Mug", "tags": ["a", "b"]}, {"title": "Rug", "tags": []}], "n": 1}]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    assert isinstance(frame["seen"][0], np.ndarray)
    assert as_items(frame) == rows


def test_missing_values_stay_missing_and_others_become_text() -> None:
    assert as_items([None, float("nan"), pd.NA, pd.NaT, 1, 2.5, True, date(2026, 1, 2)]) == [
        None,
        None,
        None,
        None,
        "1",
        "2.5",
        "True",
        "2026-01-02",
    ]
    assert as_items([None, {"text": "a"}]) == [{}, {"text": "a"}]
    assert as_items(np.ma.masked_array(["a", "b"], [False, True])) == ["a", None]
    assert as_items([]) == []


@pytest.mark.parametrize(
    ("rows", "kind", "why"),
    [
        ("text", ConfigError, "rows are one string"),
        (b"text", InputError, "rows are of type bytes"),
        ({"text": "a"}, InputError, "rows are one mapping, with 'text'"),
        ({"text": ["a", "b"]}, InputError, "a mapping of columns goes into a DataFrame"),
        ({"a", "b"}, InputError, "of type set"),
        (5, InputError, "5 is of type int"),
        (None, InputError, "None is of type NoneType"),
        (["a", b"b"], InputError, r"rows\[1\] is of type bytes: b'b' \(decode it\)"),
        (np.array([b"a"]), InputError, r"rows\[0\] is of type bytes"),
        (["a", {"text": "b"}], InputError, r"rows\[1\] is a mapping, rows\[0\] is not"),
        ([{"text": "b"}, None, "a"], InputError, r"rows\[2\] is a text, rows\[0\] is not"),
        ([["a", "b"]], InputError, r"rows\[0\] is of type list"),
        ([[b"a"]], InputError, r"rows\[0\] is of type bytes"),
        ([object()], InputError, r"rows\[0\] is of type object"),
        ([SimpleNamespace(text="a\nb")], InputError, r"of type SimpleNamespace: [^\n]*$"),
        ([{"a"}], InputError, r"rows\[0\] is of type set"),
        (np.array([["a", "b"]]), InputError, r"shape \(1, 2\), not one column"),
        (np.zeros((2, 1, 1)), InputError, r"shape \(2, 1, 1\)"),
        (np.array("a"), InputError, "of type ndarray"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), ColumnError, "2 columns are called"),
        (pd.DataFrame([["a", "b"]], columns=[1, "1"]), ColumnError, "2 columns are called '1'"),
        (
            pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
            ColumnError,
            "several levels",
        ),
        (pa.Table.from_arrays([pa.array(["a"])] * 2, names=["t", "t"]), ColumnError, "2 columns"),
    ],
)
def test_ambiguous_rows_are_an_error_of_one_line(
    rows: Any, kind: type[EcomfsError], why: str
) -> None:
    with pytest.raises(kind, match=why) as caught:
        as_items(rows)
    assert "\n" not in str(caught.value)


class Plain(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Word(enum.StrEnum):
    GOOD = "good"
    BAD = "bad"


class Number(enum.IntEnum):
    GOOD = 1
    BAD = 0


@pytest.mark.parametrize(
    ("y", "dtype", "classes"),
    [
        ([10, 2, 1], "int64", [1, 2, 10]),
        ((v for v in [1, 0]), "int64", [0, 1]),
        (np.array([1, 0], dtype=np.int8), "int8", [0, 1]),
        (np.array([[1], [0]]), "int64", [0, 1]),
        ([[1], [0]], "int64", [0, 1]),
        (np.array([1, 0], dtype=object), "int64", [0, 1]),
        (pd.Series([1.0, 0.0]), "float64", [0.0, 1.0]),
        (pd.Series([1, 0], dtype="Int64"), "int64", [0, 1]),
        (pd.Series([1, 0], dtype="category"), "int64", [0, 1]),
        (pd.DataFrame({"y": [1, 0]}), "int64", [0, 1]),
        (pa.array([1, 0]), "int64", [0, 1]),
        (pa.table({"y": [1, 0]}), "int64", [0, 1]),
        ([1, 0.5], "float64", [0.5, 1.0]),
        ([True, False], "bool", [False, True]),
        (np.array([True, False]), "bool", [False, True]),
        (["b", "a"], "<U1", ["a", "b"]),
        (pd.Categorical(["b", "a"], categories=["b", "a"], ordered=True), "<U1", ["a", "b"]),
        ([Word.GOOD, Word.BAD], "<U4", ["bad", "good"]),
        ([Number.GOOD, Number.BAD], "int64", [0, 1]),
        ([Plain.GOOD, Plain.BAD], "object", [Plain.BAD, Plain.GOOD]),
        ([True, 0], "object", [0, True]),
        ([2, "a"], "object", [2, "a"]),
        ([2**70, 1], "object", [1, 2**70]),
        ([date(2026, 1, 2), date(2025, 1, 2)], "object", [date(2025, 1, 2), date(2026, 1, 2)]),
    ],
)
def test_labels_keep_their_type_and_come_in_numpys_order(
    y: Any, dtype: str, classes: list[Any]
) -> None:
    labels = InputLabels.of(y, "y")
    found = labels.array(list(labels.classes(dict.fromkeys(t for t in labels.texts if t)).values()))
    assert found.dtype == dtype
    assert found.tolist() == classes
    assert [type(v) for v in found.tolist()] == [type(v) for v in classes]


@given(
    st.one_of(
        st.lists(st.integers(-(2**40), 2**40), min_size=1),
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1),
        st.lists(st.text("abÄ好 ", min_size=1).filter(lambda t: t == t.strip()), min_size=1),
        st.lists(st.booleans(), min_size=1),
    )
)
def test_classes_are_numpys_unique(y: list[Any]) -> None:
    labels = InputLabels.of(y, "y")
    names = dict.fromkeys(text for text in labels.texts if text)
    found = labels.array(list(labels.classes(names).values()))
    assert found.dtype == np.unique(y).dtype
    assert found.tolist() == np.unique(y).tolist()


@pytest.mark.parametrize(
    ("y", "why"),
    [
        ("positive", "of type str"),
        ({"a": 1}, "of type dict"),
        ({1, 0}, "of type set"),
        (np.array([[0, 1], [1, 0]]), r"shape \(2, 2\)"),
        (pd.DataFrame({"a": [1], "b": [0]}), "columns a, b"),
        ([b"a", "b"], r"y\[0\]: b'a' is of type bytes"),
        (["a", ["b", "c"]], r"y\[1\]: .* is of type list"),
        ([["a"], "b"], r"y\[0\]: .* is of type list"),
        ([1, float("inf")], r"y\[1\]: inf"),
        (1, "of type int"),
    ],
)
def test_an_invalid_column_of_labels_is_named(y: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        InputLabels.of(y, "y")


def test_missing_labels_of_any_form_are_none() -> None:
    missing = [None, float("nan"), pd.NA, pd.NaT, " "]
    assert InputLabels.of([*missing, 1], "y").texts == [None] * 5 + ["1"]
    assert InputLabels.of(pd.Series([1, None], dtype="Int64"), "y").texts == ["1", None]
    assert InputLabels.of(pd.Series([1, None]), "y").texts == ["1", None]
