"""Tables of labelled examples: read and written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.batch import read_examples, write_examples
from ecomfs.errors import (
    ColumnError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
    MissingFileError,
    UnknownLabelError,
)
from ecomfs.task import load_task
from ecomfs.types import Example

CARD = load_task("review_sentiment")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pool.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_keep_their_spelling(tmp_path: Path) -> None:
    path = write(tmp_path, "id,review,Label\na,fine,POS\nb,poor,差评\n")
    assert [(e.id, e.fields["text"], e.label) for e in read_examples(path, CARD)] == [
        ("a", "fine", "POS"),
        ("b", "poor", "差评"),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", EmptyInputError, "pool.csv"),
        ("id,text,label\n", EmptyInputError, "no rows"),
        ("id,text\n1,x\n", ColumnError, "no column 'label'"),
        ("id,label\n1,pos\n", ColumnError, "no column 'text'"),
        ("id,text,label\n1,x,pos\n1,y,neg\n", DuplicateIdError, "line 3: id '1' is already used"),
        ("id,text,label\n1,x,pos\n2,y,great\n", UnknownLabelError, "line 3: unknown label 'great'"),
        ("id,text,label\n1,x,pos\n2,,neg\n", InputError, "line 3: column 'text' is empty"),
        ("id,text,label\n1,x,\n", InputError, "line 2: column 'label' is empty"),
        ("id,text,label\n1,x,pos,more\n", InputError, "line 2: 4 cells where the header has 3"),
    ],
)
def test_bad_pools_say_where_and_what(
    tmp_path: Path, text: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_examples(write(tmp_path, text), CARD)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.csv"):
        read_examples(tmp_path / "nowhere.csv", CARD)


def test_a_table_says_what_is_synthetic(tmp_path: Path) -> None:
    text = (
        "id,text,label,Synthetic,source_id,method\n"
        "a,fine,positive,no,,\nb,well,positive,TRUE,a,rewrite\nc,poor,negative,,x,paid\n"
    )
    found = read_examples(write(tmp_path, text), CARD)
    assert [(e.synthetic, e.source_id, e.method) for e in found] == [
        (False, "", ""),
        (True, "a", "rewrite"),
        (False, "", ""),
    ]


def test_a_mark_that_is_neither_yes_nor_no(tmp_path: Path) -> None:
    text = "id,text,label,synthetic\na,fine,positive,no\nb,well,positive,perhaps\n"
    with pytest.raises(InputError, match=r"line 3: column 'synthetic' is 'perhaps'"):
        read_examples(write(tmp_path, text), CARD)


def test_other_tables_may_have_a_method(tmp_path: Path) -> None:
    text = "id,text,label,method\na,fine,positive,credit card\n"
    (found,) = read_examples(write(tmp_path, text), CARD)
    assert (found.synthetic, found.method) == (False, "")


@given(
    st.lists(
        st.builds(
            Example,
            st.uuids().map(str),
            st.fixed_dictionaries({"text": st.text('abc 好,\n"', min_size=1).filter(str.strip)}),
            st.sampled_from(["positive", "negative"]),
            st.just(True),
            st.text("ab:.#好", max_size=5),
            st.sampled_from(["", "rewrite", "borrow"]),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda e: e.id,
    )
)
def test_origins_survive_a_table(made: list[Example]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.csv"
        write_examples(path, made)
        assert read_examples(path, CARD) == made
