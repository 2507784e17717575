from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.batch import read_examples, sample_examples
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
