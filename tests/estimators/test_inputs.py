"""Rows of every form become the same fields, and ambiguous forms are refused."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ecomfs.errors import ColumnError, ConfigError, InputError
from ecomfs.estimators import as_rows
from ecomfs.task import load_task

REVIEW = load_task("review_sentiment")
RELEVANCE = load_task("query_relevance")
TEXTS = ["fits well", "torn"]
FORMS: dict[str, Any] = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "generator": (text for text in TEXTS),
    "series": pd.Series(TEXTS),
    "frame": pd.DataFrame({"id": [7, 8], "text": TEXTS}),
    "alias": pd.DataFrame({"Review": TEXTS}),
    "mappings": [{"text": text} for text in TEXTS],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_fields(form: str) -> None:
    assert as_rows(FORMS[form], REVIEW) == [{"text": text} for text in TEXTS]


def test_a_named_column_is_the_field_whatever_else_is_there() -> None:
    frame = pd.DataFrame({"text": ["wrong", "wrong"], "said": TEXTS})
    assert as_rows(frame, REVIEW, {"text": "said"}) == [{"text": text} for text in TEXTS]


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_row_stays_in_its_place(empty: Any) -> None:
    assert as_rows(["fits", empty, "torn"], REVIEW)[1] == {"text": ""}


def test_no_rows_are_no_rows() -> None:
    assert as_rows([], REVIEW) == as_rows([], RELEVANCE) == []


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ("one text", ConfigError, "text"),
        (pd.DataFrame({"other": ["a"]}), ColumnError, "text"),
        ([{"other": "a"}], ColumnError, "text"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), ColumnError, "2 columns"),
        ([object()], InputError, "object"),
    ],
)
def test_invalid_rows_are_named(rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        as_rows(rows, REVIEW)
    assert "\n" not in str(caught.value)


def test_plain_texts_of_a_task_with_several_fields_are_refused() -> None:
    with pytest.raises(ConfigError, match="has fields query, product"):
        as_rows(["Mug"], RELEVANCE)
