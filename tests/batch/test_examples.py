from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.batch import import_examples, read_examples, write_examples
from ecomfs.errors import (
    ColumnError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
    MissingFileError,
    UnknownLabelError,
)
from ecomfs.pool import Pool, sample_examples, sample_queries
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


POOLS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=40)


@given(POOLS, st.data(), st.integers(0, 10))
def test_samples_are_even_repeatable_and_of_the_size_asked(
    labels: list[str], data: st.DataObject, seed: int
) -> None:
    pool = [Example(str(i), {"text": "x"}, label) for i, label in enumerate(labels)]
    n = data.draw(st.integers(0, len(pool)))
    sample = sample_examples(pool, n, seed)
    assert len({e.id for e in sample}) == n
    assert sample == sample_examples(pool, n, seed)
    taken = {label: sum(e.label == label for e in sample) for label in set(labels)}
    short = max(taken.values(), default=0) - 1
    # A label has fewer than its share only when the pool has no more of it.
    assert all(count >= min(short, labels.count(label)) for label, count in taken.items())


def test_more_than_there_are() -> None:
    with pytest.raises(InputError, match="5 examples wanted, the pool has 1"):
        sample_examples([Example("1", {"text": "x"}, "a")], 5, 0)


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


def test_an_import_does_not_change_an_origin() -> None:
    real = Example("a", {"text": "fine"}, "positive")
    with Pool.in_memory([real]) as pool:
        with pytest.raises(DuplicateIdError, match="another origin"):
            import_examples(pool, [Example("a", {"text": "fine"}, "positive", synthetic=True)])
        assert pool.examples() == [real]


def test_queries_are_never_synthetic() -> None:
    real = [Example(str(i), {"text": "x"}, "ab"[i % 2]) for i in range(4)]
    made = [Example(f"s{i}", {"text": "x"}, "a", synthetic=True) for i in range(8)]
    assert sample_queries([*made, *real], 48, seed=0) == real
    assert len(sample_queries([*made, *real], 3, seed=0)) == 3
    assert sample_queries(made, 48, seed=0) == []
