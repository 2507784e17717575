"""Examples of a pool: created, imported, exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs.batch import (
    export_examples,
    import_examples,
    make_example,
    read_examples,
    refuse_new_labels,
)
from ecomfs.errors import ColumnError, DuplicateIdError, InputError, UnknownLabelError
from ecomfs.pool import Pool
from ecomfs.task import load_task
from ecomfs.types import Example

CARD = load_task("review_sentiment")


def test_an_import_does_not_change_an_origin() -> None:
    real = Example("a", {"text": "fine"}, "positive")
    with Pool.in_memory([real]) as pool:
        with pytest.raises(DuplicateIdError, match="another origin"):
            import_examples(pool, [Example("a", {"text": "fine"}, "positive", synthetic=True)])
        assert pool.examples() == [real]


def test_an_exported_pool_imports_unchanged(tmp_path: Path) -> None:
    examples = [
        Example("a", {"text": "fine"}, "positive"),
        Example("b", {"text": "no"}, "negative"),
    ]
    with Pool.in_memory(examples) as pool:
        assert export_examples(pool, tmp_path / "pool.csv") == (1, 2)
        done = import_examples(pool, read_examples(tmp_path / "pool.csv", CARD))
        assert (done.added, done.unchanged, done.changed, done.version) == (0, 2, 0, 1)


def test_another_label_is_an_error_or_one_new_version() -> None:
    other = Example("a", {"text": "fine"}, "negative")
    with Pool.in_memory([Example("a", {"text": "fine"}, "positive")]) as pool:
        with pytest.raises(DuplicateIdError, match="another label") as caught:
            import_examples(pool, [Example("b", {"text": "new"}, "positive"), other])
        assert "--replace" in caught.value.hint
        assert len(pool.examples()) == 1
        done = import_examples(pool, [other], replace=True)
        assert (done.changed, done.version) == (1, 2)
        assert pool.examples()[0].label == "negative"


@pytest.mark.parametrize(
    ("text", "values", "label", "kind", "message"),
    [
        ("fits", {"size": "L"}, "positive", ColumnError, "has no field 'size'"),
        ("", {}, "positive", InputError, "field 'text' is empty"),
        ("fits", {}, "", InputError, "the label is empty"),
        ("fits", {}, "great", UnknownLabelError, "the example: unknown label 'great'"),
    ],
)
def test_one_example_is_checked_as_a_table_is(
    text: str, values: dict[str, str], label: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make_example(CARD, text, values, label)


def test_the_same_row_has_the_same_id() -> None:
    ids = {make_example(CARD, text, {}, "positive").id for text in ("fits", "fits", "fits well")}
    assert len(ids) == 2


def test_a_misspelt_label_is_refused_with_the_nearest_one() -> None:
    with Pool.in_memory([Example("a", {"text": "fine"}, "positive")]) as pool:
        refuse_new_labels(pool, {"row 1": "positive"})
        with pytest.raises(UnknownLabelError, match="row 2") as caught:
            refuse_new_labels(pool, {"row 2": "postive"})
        assert "did you mean 'positive'" in caught.value.hint
