"""A drafted card loads, keeps every label of the data, and invalid tables are refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import TaskError
from ecomfs.task import QUESTION, LabelSpace, TaskCard, draft_task, plain_key

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8)
LABELS = st.lists(WORDS.map(str.strip).filter(bool), min_size=2, max_size=8)


@given(LABELS)
def test_every_label_of_the_data_is_one_of_the_card(labels: list[str]) -> None:
    if len({plain_key(label) for label in labels}) < 2:
        with pytest.raises(TaskError, match="a task needs two"):
            draft_task("gift", ["note"], labels)
        return
    draft = draft_task("gift", ["note"], labels)
    card = TaskCard.model_validate(yaml.safe_load(draft.card))
    space = LabelSpace.resolve(card, labels)
    for label in labels:
        space.require(label, "the data")


@pytest.mark.parametrize("column", ["note", "价格", "a: b", "#1", "yes", "null", "it's", 'say "x"'])
def test_a_column_of_any_name_is_a_field_of_the_card(column: str) -> None:
    draft = draft_task("gift", [column, "other"], ["good", "bad"])
    card = TaskCard.model_validate(yaml.safe_load(draft.card))
    assert len(card.fields) == 2
    names = {card.fields[0].name, *card.fields[0].aliases}
    assert column in names


def test_labels_that_read_like_other_values_stay_text() -> None:
    labels = ["no", "yes", "1", "null", "2024-01-01", "0x1F", "~"]
    card = TaskCard.model_validate(yaml.safe_load(draft_task("t", ["note"], labels).card))
    assert [label.name for label in card.labels] == labels


@pytest.mark.parametrize(
    ("name", "columns", "labels", "message"),
    [
        ("Gift Card", ["note"], ["a", "b"], "is not a valid name of a task"),
        ("gift", [], ["a", "b"], "no column is left"),
        ("gift", ["note"], ["a", " A "], "holds one label"),
        ("gift", ["note"], [], "holds no label"),
        ("gift", ["note"], ["", " "], "holds no label"),
    ],
)
def test_a_table_without_a_task_is_refused_with_a_hint(
    name: str, columns: list[str], labels: list[str], message: str
) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        draft_task(name, columns, labels)
    assert caught.value.hint


def test_a_draft_counts_the_open_questions() -> None:
    draft = draft_task("gift", ["note"], ["a", "b"])
    body = draft.card.partition("name: gift")[2]  # the head names the mark once more
    assert draft.questions == body.count(f"{QUESTION} ") > 0
