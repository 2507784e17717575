"""``ecomfs new-task`` and ``ecomfs lint-task``: a card is drafted, completed by hand, checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.cli import run
from ecomfs.errors import TaskError
from ecomfs.task import (
    QUESTION,
    TaskCard,
    available_tasks,
    common_template,
    draft_task,
    lint_card,
    load_task,
    plain_key,
)

DATA = "id,note,mood\n1,wrap it please,gift\n2,no receipt,gift\n3,for myself,Own use\n4,,own use\n"
LABELS = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(DATA, encoding="utf-8")
    return tmp_path


def new(*arguments: str) -> int:
    both = [] if "--language" in arguments else ["--language", "auto"]
    return drafted(*both, *arguments)


def drafted(*arguments: str) -> int:
    return run(["new-task", "gift", "--from", "data.csv", "--label-column", "mood", *arguments])


def answer_all() -> None:
    """What a person does: every question gets an answer of its own."""
    numbers = iter(range(100))

    def answered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: answered(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [answered(inner) for inner in value]
        asked = isinstance(value, str) and value.startswith(QUESTION)
        return f"answer {next(numbers)}" if asked else value

    path = Path("prompts/gift/task.yaml")
    card = answered(yaml.safe_load(path.read_text(encoding="utf-8")))
    path.write_text(yaml.safe_dump(card, allow_unicode=True, sort_keys=False), encoding="utf-8")


def edit(**changes: Any) -> None:
    path = Path("prompts/gift/task.yaml")
    card = yaml.safe_load(path.read_text(encoding="utf-8")) | changes
    path.write_text(yaml.safe_dump(card, allow_unicode=True), encoding="utf-8")


def own_templates() -> None:
    """Templates in the folder of the task, in place of the common ones."""
    for language in ("en", "zh"):
        text = common_template("_default", language, "v1")  # type: ignore[arg-type]
        text = text.replace("demonstration.text", "demonstration.row.note")
        text = text.replace("{{ text }}", "{{ row.note }}")
        Path(f"prompts/gift/{language}.v1.jinja").write_text(text, encoding="utf-8")


def lint(*arguments: str) -> int:
    return run(["lint-task", "gift", *arguments])


def test_a_draft_asks_and_does_not_invent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new() == 0
    assert "4 rows, 2 labels, 1 columns" in capsys.readouterr().out
    card = load_task("gift")
    assert [f.name for f in card.fields] == ["note"]
    assert [label.name for label in card.labels] == ["gift", "Own use"]
    assert card.labels[1].aliases == ("own use",)
    assert all(label.definition.en.startswith(QUESTION) for label in card.labels)
    assert all(label.words.zh.startswith(QUESTION) for label in card.labels)
    assert lint() == 1
    assert "labels.gift.d" in capsys.readouterr().out


def test_answered_it_is_clean_and_loads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new() == 0
    answer_all()
    capsys.readouterr()
    assert lint() == 0, capsys.readouterr().out
    assert "no problems found" in capsys.readouterr().out
    assert run(["lint-task", "prompts/gift"]) == 0
    Path("pool.csv").write_text(DATA.replace("4,,own", "4,mine,own"), encoding="utf-8")
    assert lint("-e", "pool.csv") == 0


def test_a_task_in_one_language_is_asked_in_one_and_needs_no_template(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("--language", "en") == 0
    assert [path.name for path in Path("prompts/gift").iterdir()] == ["task.yaml"]
    assert not re.search(r"[\u4e00-\u9fff]", Path("prompts/gift/task.yaml").read_text("utf-8"))
    assert load_task("gift").instruction.zh == load_task("gift").instruction.en
    answer_all()
    capsys.readouterr()
    assert lint() == 0
    assert "no problems found" in capsys.readouterr().out


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new() == 0
    before = Path("prompts/gift/task.yaml").read_bytes()
    assert new() == 2
    assert "exists already" in capsys.readouterr().err
    assert Path("prompts/gift/task.yaml").read_bytes() == before
    shipped = ["new-task", "review_sentiment", "--from", "data.csv", "--label-column", "mood"]
    assert run(shipped) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["new-task", "Gift", "--from", "data.csv", "--label-column", "mood"],
            "not a valid name of a task",
        ),
        (["new-task", "gift", "--from", "none.csv", "--label-column", "mood"], "none.csv"),
        (["new-task", "gift", "--from", "data.csv", "--label-column", "mod"], "mood"),
        (
            ["new-task", "gift", "--from", "one.csv", "--label-column", "b"],
            "one.csv: column 'b' holds one label",
        ),
        (
            ["new-task", "gift", "--from", "one.csv", "--label-column", "b", "--column", "b"],
            "is the label",
        ),
        (
            ["new-task", "gift", "--from", "one.csv", "--label-column", "b", "--language", "fr"],
            "one of auto, en, zh",
        ),
        (["lint-task", "nowhere"], "no task 'nowhere'"),
        (["lint-task", "no/where"], "no task.yaml"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("one.csv").write_text("a,b\nx,y\nz,y\n", encoding="utf-8")
    assert run(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not Path("prompts").exists()


@pytest.mark.parametrize(
    ("file", "old", "new_text", "message"),
    [
        ("en.v1.jinja", "{{ row.note }}", "{{ row.nope }}", "nope"),
        ("zh.v1.jinja", "{% endfor %}", "", "zh.v1"),
        ("en.v1.jinja", "{{ row.note }}", "", "of the row is not in"),
        ("en.v1.jinja", "{{ demonstration.answer }}", "", "no answer"),
        ("en.v1.jinja", "label.definition }}", "label.meaning }}", "meaning"),
        ("task.yaml", "label_space: closed", "label_space: closd", "label_space"),
        ("task.yaml", "  name: note", "  name: note\n  aliases: [mood]", "is also field"),
    ],
)
def test_a_broken_card_is_an_error_with_the_place(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    old: str,
    new_text: str,
    message: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert new() == 0
    answer_all()
    own_templates()
    path = Path("prompts/gift") / file
    text = path.read_text(encoding="utf-8").replace("- name: note", "-\n  name: note")
    assert old in text
    path.write_text(text.replace(old, new_text), encoding="utf-8")
    capsys.readouterr()
    assert lint() == 1
    assert message in capsys.readouterr().out


def test_a_missing_template_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new() == 0
    answer_all()
    own_templates()
    Path("prompts/gift/zh.v1.jinja").unlink()
    assert lint() == 1
    edit(language="en")
    capsys.readouterr()
    assert lint() == 0  # zh is never used
    assert "warning" in capsys.readouterr().out


def test_labels_that_share_an_alias_are_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert new() == 0
    answer_all()
    card = load_task("gift").model_dump()
    labels = [{**label, "aliases": ["x"]} for label in card["labels"]]
    edit(labels=labels)
    capsys.readouterr()
    assert lint() == 1
    assert "share the spelling 'x'" in capsys.readouterr().out


def test_examples_must_fit(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert new() == 0
    answer_all()
    long = "very " * 100
    Path("pool.csv").write_text(f"note,mood\nshort,gift\nbrief,gift\n{long},own use\n")
    for budget, code, message in (
        ("2000", 0, "no problems found"),
        ("300", 0, "would be left out"),
        ("100", 1, "alone makes a prompt"),
    ):
        capsys.readouterr()
        assert lint("-e", "pool.csv", "--budget", budget) == code
        assert message in capsys.readouterr().out
    Path("bad.csv").write_text("note,mood\nshort,gift\nbrief,loan\n")
    assert lint("-e", "bad.csv") == 1
    assert "unknown label 'loan'" in capsys.readouterr().out


@pytest.mark.parametrize("name", available_tasks())
def test_shipped_tasks_are_clean(name: str) -> None:
    assert run(["lint-task", name]) == 0


@given(LABELS, st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True))
@settings(max_examples=100, deadline=None)
def test_every_draft_is_a_valid_card(labels: list[str], columns: list[str]) -> None:
    if len({plain_key(label) for label in labels if label.strip()}) < 2:
        with pytest.raises(TaskError, match="a task needs two"):
            draft_task("some_task", columns, labels, label_column="y")
        return
    draft = draft_task("some_task", columns, labels, label_column="y")
    card = TaskCard.model_validate(yaml.safe_load(draft.card))
    assert len(draft.labels) >= 2
    assert sum("question" in finding.what for finding in lint_card(card)) == draft.questions


# -- what the data say ----------------------------------------------------------------------------

SEVERAL = "id,note,mood\n1,a,late\n2,b,broken\n3,c,late|broken\n"
TREE = "id,note,mood\n1,a,Home > Lamps\n2,b,Home > Chairs\n3,c,Toys > Games\n"


def card_of(text: str, *arguments: str) -> dict[str, Any]:
    Path("data.csv").write_text(text, encoding="utf-8")
    assert drafted(*arguments) == 0
    return dict(yaml.safe_load(Path("prompts/gift/task.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("text", "language", "other"),
    [
        (DATA, "en", "Chinese"),
        ("id,note,mood\n1,包装精美,喜欢\n2,没有发票,不喜欢\n", "zh", "English"),
        ("id,note,mood\n1,包装精美,喜欢\n2,no receipt,不喜欢\n", "auto", ""),
    ],
)
def test_a_card_asks_for_the_language_of_the_rows_only(
    folder: Path, text: str, language: str, other: str
) -> None:
    card = card_of(text)
    assert card["language"] == language
    written = Path("prompts/gift/task.yaml").read_text(encoding="utf-8")
    questions = re.findall(r"\?\?\? [^\n]*", written.partition("\nname:")[2])
    assert questions
    assert not other or not any(other in question for question in questions)


def test_several_labels_and_hierarchies_are_declared(folder: Path) -> None:
    card = card_of(SEVERAL, "--label-separator", "|")
    assert (card["label_separator"], [label["name"] for label in card["labels"]]) == (
        "|",
        ["late", "broken"],
    )
    Path("prompts/gift/task.yaml").unlink()
    Path("prompts/gift").rmdir()
    card = card_of(TREE, "--hierarchy", " > ")
    assert (card["hierarchy"], card["label_space"], "labels" in card) == (" > ", "open", False)


@pytest.mark.parametrize(
    ("text", "flag"), [(SEVERAL, "--label-separator '|'"), (TREE, "--hierarchy ' > '")]
)
def test_several_labels_and_hierarchies_are_asked_about_and_need_an_option_without_a_terminal(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    flag: str,
) -> None:
    Path("data.csv").write_text(text, encoding="utf-8")
    assert drafted() == 2
    assert flag in capsys.readouterr().err
    assert not Path("prompts").exists()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda question, **_: not asked.append(question))
    assert drafted() == 0
    card = yaml.safe_load(Path("prompts/gift/task.yaml").read_text(encoding="utf-8"))
    assert len(asked) == 1
    assert card.get("label_separator") == ("|" if text == SEVERAL else None)
    assert card.get("hierarchy") == (None if text == SEVERAL else " > ")


def test_an_empty_flag_says_that_a_row_has_one_label(folder: Path) -> None:
    card = card_of(SEVERAL, "--label-separator", "")
    assert card["label_separator"] == ""
    assert [label["name"] for label in card["labels"]] == ["late", "broken", "late|broken"]


def test_combinations_are_never_labels_in_silence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pool.csv").write_text(
        "id,text,label\n1,a,late\n2,b,broken\n3,c,late|broken\n", encoding="utf-8"
    )
    for verb in (["score", "pool.csv"], ["fit"], ["explain", "a text"], ["serve"]):
        assert run([*verb, "-t", "customer_intent", "-e", "pool.csv"]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "labels such as 'late|broken' look like several labels in one cell" in line
        assert 'label_separator: "|"' in line
