"""The how-to pages agree with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ecomfs.features import RowText
from ecomfs.prompt import PromptBuilder, Template
from ecomfs.task import LabelSpace, TaskCard, load_task
from ecomfs.types import Demonstration, Example

ROOT = Path(__file__).resolve().parents[2]
HOWTO = ROOT / "docs" / "howto"
PAGE = (HOWTO / "templates.md").read_text(encoding="utf-8")
PAIRS = re.findall(r"```jinja\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def builder(source: str) -> PromptBuilder:
    card = load_task("review_sentiment")
    space = LabelSpace.resolve(card, ["positive", "negative"])
    return PromptBuilder(
        card, space, Template(source, "page"), "en", ("positive", "negative"), RowText(card)
    )


def shown() -> list[Demonstration]:
    return [
        Demonstration(Example("1", {"text": "Broke after a day"}, "negative"), "", 0.8),
        Demonstration(Example("2", {"text": "Lovely, fits well"}, "positive"), "", 0.7),
    ]


@pytest.mark.parametrize(("source", "printed"), PAIRS)
def test_every_piece_of_a_template_prints_what_the_page_says(source: str, printed: str) -> None:
    made = builder(source)
    context = made._context({"text": "Lid does not close"}, "Lid does not close")
    context["demonstrations"] = made._shown(shown())
    assert made.template.render(context) == printed.rstrip()


def test_the_page_has_every_variable_and_no_other() -> None:
    made = builder("{{ text }}")
    names = {*made._context({"text": "x"}, "x"), "demonstrations"}
    assert set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)) == names
    parts = set(made._shown(shown())[0])
    section = PAGE.partition("### `demonstrations`")[2].partition("###")[0]
    assert all(f"`{part}`" in section for part in parts)
    section = PAGE.partition("### `labels`")[2].partition("###")[0]
    assert all(f"`{part}`" in section for part in made._context({"text": "x"}, "x")["labels"][0])


def test_the_whole_template_is_a_prompt() -> None:
    source, printed = PAIRS[-1]
    assert builder(source).build({"text": "Lid does not close"}, shown()).text == printed.rstrip()


def test_the_reference_of_the_card_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "eval" / "bench" / "task_reference.py", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_smallest_card_is_a_card() -> None:
    text = (HOWTO / "task_yaml.md").read_text(encoding="utf-8")
    card = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    assert TaskCard.model_validate(card).name == "gift_note"
    for key in set(card) - {"language"}:
        with pytest.raises(ValueError, match=key):
            TaskCard.model_validate({k: v for k, v in card.items() if k != key})


def test_the_arithmetic_is_right() -> None:
    page = (HOWTO / "gpu_cost.md").read_text(encoding="utf-8")
    pairs = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(pairs) == 2
    for code, printed in pairs:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == printed, done.stderr


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", sorted(HOWTO.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    found = re.findall(r"\]\(([^)#\s]*)(?:#([\w-]*))?\)", path.read_text(encoding="utf-8"))
    for target, anchor in found:
        there = path.parent / target if target else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), anchor
