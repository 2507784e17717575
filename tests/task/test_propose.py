"""Which column of a table is the label, and which task fits the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ecomfs.task import (
    TaskCard,
    draft_task,
    filled_card,
    label_columns,
    lint_card,
    only_texts,
    propose_tasks,
    text_columns,
)

TEXTS = [f"the text of row {i}" for i in range(12)]
TWO = ["yes", "no"] * 6


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"text": TEXTS, "label": TWO, "label_zh": ["是", "否"] * 6, "category": TWO}, ["label"]),
        ({"标题": TEXTS, "标签": TWO}, ["标签"]),
        ({"text": TEXTS, "Sentiment": TWO, "store": TWO}, ["Sentiment"]),
        ({"text": TEXTS, "sentiment": TWO, "category": ["a", "b", "c"] * 4}, None),
        ({"text": TEXTS, "class": TWO}, ["class"]),
        ({"text": TEXTS, "mood": TWO}, ["mood"]),
        ({"text": TEXTS, "label": ["only one"] * 12, "mood": TWO}, ["mood"]),
        ({"text": TEXTS, "price": [str(i) for i in range(12)]}, []),
    ],
)
def test_label_columns(columns: dict[str, list[str]], found: list[str] | None) -> None:
    wanted = ["sentiment", "category"] if found is None else found  # between which a person chooses
    assert label_columns(columns) == wanted


@pytest.mark.parametrize(
    ("header", "label", "labels", "tasks"),
    [
        ("id text label", "label", "Negative Positive", "review_sentiment"),
        ("id 评论 标签", "标签", "好评 差评 中评", "review_sentiment"),
        ("id query item_title label", "label", "match irrelevant", "query_relevance"),
        ("id liked disliked target label", "label", "like dislike", "product_preference"),
        ("session clicks label", "label", "trousers skirts", "next_category"),
        ("title category", "category", "Kettles Fridges", "product_category"),
        ("utterance intent", "intent", "greet leave", "customer_intent"),
        # The card has one of five labels: more than a table of arbitrary texts would have.
        ("text label", "label", "cancel_order b c d e", "customer_intent"),
        ("left right label", "label", "same different", "same_product"),
        ("weight size label", "label", "heavy light", ""),
    ],
)
def test_a_task_that_fits_best_is_the_only_answer(
    header: str, label: str, labels: str, tasks: str
) -> None:
    found = propose_tasks(header.split(), label, labels.split())
    assert [p.task for p in found] == tasks.split()
    assert not found or not only_texts(found)


def test_texts_with_labels_of_their_own_fit_several_tasks() -> None:
    found = propose_tasks(["text", "label"], "label", ["blue", "green"])
    assert {"customer_intent", "product_category"} <= {p.task for p in found}
    assert only_texts(found)


def test_a_broken_own_task_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "task.yaml").write_text("name: [", encoding="utf-8")
    monkeypatch.setenv("ECOMFS_PROMPTS", str(tmp_path))
    assert propose_tasks(["text", "label"], "label", ["positive", "negative"])


def test_columns_that_give_the_label_away_are_left_out() -> None:
    table = {
        "order_id": [str(i) for i in range(12)],
        "text": TEXTS,
        "empty": [""] * 12,
        "label": TWO,
        "label_en": ["Y" if v == "yes" else "N" for v in TWO],
    }
    assert text_columns(table, "label") == ["text"]
    numbers = {"weight": [str(i) for i in range(12)], "colour": ["red", "blue", "red"] * 4}
    assert text_columns({**numbers, "label": TWO}, "label") == ["weight", "colour"]


@pytest.mark.parametrize("language", ["auto", "en", "zh"])
def test_an_answered_card_can_be_used_and_lacks_definitions_only(language: str) -> None:
    draft = draft_task(
        "gift",
        ["note", "价格"],
        ["for me", "送礼"],
        label_column="receiver",
        language=language,  # type: ignore[arg-type]
    )
    assert "???" in draft.card
    text = filled_card(draft.card, {"note": TEXTS, "价格": ["1,5", "", "20"] * 4})
    card = TaskCard.model_validate(yaml.safe_load(text))
    assert "???" not in text
    assert [label.name for label in card.labels] == ["for me", "送礼"]
    assert [(f.kind, f.required) for f in card.fields] == [("text", True), ("number", False)]
    findings = [f for f in lint_card(card) if f.level == "error"]
    assert {f.where.split(".")[-2] for f in findings} <= {"definition"}
