from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ecomfs.errors import ColumnError, TaskError
from ecomfs.task import FieldMap, available_tasks, find_column, load_task, template_source

SOURCE = Path(__file__).parents[2] / "prompts" / "review_sentiment"


def write_card(folder: Path, **changes: Any) -> Path:
    card = yaml.safe_load((SOURCE / "task.yaml").read_text(encoding="utf-8")) | changes
    folder.mkdir()
    (folder / "task.yaml").write_text(yaml.safe_dump(card, allow_unicode=True), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", available_tasks())
def test_shipped_cards_have_both_languages(name: str) -> None:
    card = load_task(name)
    for label in card.labels:
        assert label.definition.en
        assert label.definition.zh
    assert template_source(name, "en", card.templates.en)
    assert template_source(name, "zh", card.templates.zh)


def test_misspelt_key_is_an_error(tmp_path: Path) -> None:
    folder = write_card(tmp_path / "t", defualt_k=3)
    with pytest.raises(TaskError, match="defualt_k"):
        load_task(folder)


def test_two_labels_with_one_alias_are_an_error(tmp_path: Path) -> None:
    card = yaml.safe_load((SOURCE / "task.yaml").read_text(encoding="utf-8"))
    card["labels"][1]["aliases"].append("POS")
    folder = write_card(tmp_path / "t", labels=card["labels"])
    with pytest.raises(TaskError, match="share the spelling 'POS'"):
        load_task(folder)


def test_two_labels_of_one_name_are_an_error(tmp_path: Path) -> None:
    card = yaml.safe_load((SOURCE / "task.yaml").read_text(encoding="utf-8"))
    card["labels"][1]["name"] = card["labels"][0]["name"]
    folder = write_card(tmp_path / "t", labels=card["labels"])
    with pytest.raises(TaskError, match="two labels have the name 'positive'"):
        load_task(folder)


@pytest.mark.parametrize("plain", ["yes", "1", "2.5", "2026-01-31"])
def test_a_label_that_yaml_does_not_read_as_text_needs_quotes(plain: str, tmp_path: Path) -> None:
    text = (SOURCE / "task.yaml").read_text(encoding="utf-8")
    text = text.replace("name: positive", f"name: {plain}", 1)
    (tmp_path / "task.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(TaskError, match=r"labels\.0\.name") as caught:
        load_task(tmp_path)
    assert "quotes" in caught.value.hint


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(TaskError, match=r"task\.yaml: not valid YAML"):
        load_task(tmp_path)


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    text = (SOURCE / "task.yaml").read_text(encoding="utf-8")
    (tmp_path / "task.yaml").write_text(text + "\nlabels: []\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"column 1: 'labels' is given twice"):
        load_task(tmp_path)


def test_unknown_task_suggests() -> None:
    with pytest.raises(TaskError, match="did you mean 'review_sentiment'"):
        load_task("review_sentimnet")


def test_own_folder_wins_over_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(tmp_path / "review_sentiment", default_k=3)
    monkeypatch.setenv("ECOMFS_PROMPTS", str(tmp_path))
    assert load_task("review_sentiment").default_k == 3


def test_the_positive_label_is_one_of_the_labels(tmp_path: Path) -> None:
    assert load_task("review_sentiment").positive == "positive"
    folder = write_card(tmp_path / "t", positive="good")  # an alias is not a name
    with pytest.raises(TaskError, match="positive: 'good' is not one of the labels"):
        load_task(folder)


def test_columns_match_by_alias_and_case() -> None:
    card = load_task("review_sentiment")
    assert FieldMap.resolve(card, ["ID", "Review"]).columns == {"text": "Review"}
    assert FieldMap.resolve(card, ["a", "b"], {"text": "b"}).columns == {"text": "b"}


@pytest.mark.parametrize(
    "header", [["Text", "TEXT"], ["id", " text", "Text"], ["Review", "REVIEW"]]
)
def test_columns_that_differ_in_case_only_are_not_chosen_from_in_silence(
    header: list[str],
) -> None:
    card = load_task("review_sentiment")
    with pytest.raises(ColumnError, match=r"several columns match '(text|review)'.*--field text="):
        FieldMap.resolve(card, header)
    assert FieldMap.resolve(card, [*header, "text"]).columns == {"text": "text"}
    assert FieldMap.resolve(card, header, {"text": header[-1]}).columns == {"text": header[-1]}
    with pytest.raises(ColumnError, match="several columns match 'label'"):
        find_column(["Label", "LABEL"], None, ["label"], "pool.csv", "--label-column ")


def test_missing_column_lists_those_there() -> None:
    card = load_task("review_sentiment")
    with pytest.raises(
        ColumnError, match=r"x\.csv: no column 'text'.*did you mean 'texte'.*--field"
    ):
        FieldMap.resolve(card, ["id", "texte"], where="x.csv")
    with pytest.raises(ColumnError, match="has no field 'title'"):
        FieldMap.resolve(card, ["id", "text"], {"title": "text"})
