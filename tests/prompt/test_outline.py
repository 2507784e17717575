"""Prompts that are filled into an outline equal rendered ones."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core.sandbox import MOST_CHARACTERS
from ecomfs.prompt import PromptBuilder, PromptInput, Template
from ecomfs.prompt.builder import Outline
from ecomfs.task import LabelSpace, available_tasks, load_task, template_source
from ecomfs.types import Demonstration, Example, Language, Prompt

EXAMPLES = [Example(str(n), {"text": f"number {n}"}, "positive") for n in range(8)]
FIXED: dict[str, Any] = {
    "instruction": "Judge.",
    "labels": [{"answer": "good"}, {"answer": "bad"}],
    "demonstrations": [{"text": "fits", "row": {"text": "fits"}, "answer": "good"}],
    "facts": [],
}
CELLS = st.one_of(st.text(), st.sampled_from(["", " x ", "{{ text }}", "\ue0000-1\ue001", "a\nb"]))


@pytest.mark.parametrize(
    "source",
    [
        "{{ instruction }}\n{% for l in labels %}- {{ l.answer }}\n{% endfor %}{{ row.text }}\nA:",
        "{% for d in demonstrations %}{{ d.row.text }}{% endfor %}{{ text }} {{ row['text'] }}  ",
        "{% if labels %}{{ row.text }}{% else %}{{ text }}{% endif %}",
        "{% for l in labels %}{{ l.answer }}: {{ text }}\n{% endfor %}",
        "nothing of the row ",
    ],
)
@given(cell=CELLS, text=CELLS)
def test_filled_in_as_rendered(source: str, cell: str, text: str) -> None:
    template = Template(source, "t")
    outline = Outline.of(template, FIXED, ["other", "text"])
    assert outline is not None
    rendered = template.render(FIXED | {"row": {"text": cell, "other": ""}, "text": text})
    assert outline.fill({"text": cell, "other": ""}, text) == rendered


@pytest.mark.parametrize(
    "source",
    [
        "{{ text | upper }}",
        "{{ text[:3] }}",
        "{{ text ~ '!' }}",
        "{{ row }}",
        "{{ row.text.strip() }}",
        "{{ row.items }}",
        "{% if row.text %}{{ row.text }}{% endif %}",
        "{% for c in text %}{{ c }}{% endfor %}",
        "{% set t = text %}{{ t }}",
        "{% set text = 'x' %}{{ text }}",
        "{% filter upper %}{{ text }}{% endfilter %}",
        "{% set kept %}{{ text }}{% endset %}{{ kept }}",
        "{% macro shown(x) %}{{ text }}{% endmacro %}{{ shown(1) }}",
        "{% with text = 'x' %}{{ text }}{% endwith %}",
        "{% block b %}{{ text }}{% endblock %}",
    ],
)
def test_templates_that_do_more_with_a_row_are_rendered(source: str) -> None:
    assert Outline.of(Template(source, "t"), FIXED, ["text"]) is None


@pytest.mark.parametrize(
    "cells", [{"text": 3}, {"text": None}, {}, {"text": "x" * (MOST_CHARACTERS + 1)}]
)
def test_values_that_are_long_or_not_text_are_rendered(cells: dict[str, Any]) -> None:
    outline = Outline.of(Template("{{ row.text }}", "t"), FIXED, ["text"])
    assert outline is not None
    assert outline.fill(cells, "") is None


@pytest.mark.parametrize("task", available_tasks())
@pytest.mark.parametrize("word", ["fits", "{{ text }}\n字: "])
def test_a_builder_writes_the_same_prompts_with_and_without(task: str, word: str) -> None:
    """A demonstration of its own keeps a row from being filled in."""
    card = load_task(task)
    kinds = {"text", "category", "history"}
    row = {s.name: f"a {word} {s.name}" for s in card.fields if s.kind in kinds}
    row |= {s.name: '["shoes", "bags"]' for s in card.fields if s.kind == "history"}
    space = LabelSpace.resolve(card, [] if card.labels else ["one", "two"])
    answers = tuple(label.name for label in space.labels)
    shown = [Demonstration(Example("1", row, answers[0]), "", 0.5)]
    languages: tuple[Language, ...] = ("en", "zh")
    for language in languages:
        template = Template(template_source(task, language, "v1"), "t")
        builder = PromptBuilder(card, space, template, language, answers)
        asked = [PromptInput(row, shown, shared=1), PromptInput(row, shown, shared=0)]
        filled, rendered = builder.build_all(asked)
        assert isinstance(filled, Prompt)
        assert filled == rendered


def test_threads_that_share_a_builder_get_their_own_demonstrations() -> None:
    card = load_task("review_sentiment")
    space = LabelSpace.resolve(card, [])
    template = Template(template_source("review_sentiment", "en", "v1"), "t")
    builder = PromptBuilder(card, space, template, "en", ("positive", "negative"))

    def shown(count: int) -> list[Demonstration]:
        """New objects for every row, as a layout makes them."""
        return [Demonstration(example, "", 0.5) for example in EXAMPLES[:count]]

    def wrong(count: int) -> int:
        found = 0
        for _ in range(400):
            asked = PromptInput({"text": "fits"}, shown(count), shared=count)
            (prompt,) = builder.build_all([asked])
            assert isinstance(prompt, Prompt)
            found += prompt.text.count("Review:") != count + 1
        return found

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(wrong, (0, 1, 3, 8))] == [0, 0, 0, 0]
    finally:
        sys.setswitchinterval(before)


def test_demonstrations_that_are_equal_as_numbers_are_not_the_same() -> None:
    card = load_task("purchase_intent")
    names = [spec.name for spec in card.fields]
    template = Template("{% for d in demonstrations %}{{ d.row.x }};{% endfor %}{{ text }}", "t")
    template = Template(template.source.replace(".x", f"['{names[0]}']"), "t")
    space = LabelSpace.resolve(card, ["yes", "no"])
    builder = PromptBuilder(card, space, template, "en", ("yes", "no"))
    texts = []
    for value in (1, 1.0, "1"):
        example = Example("1", {names[0]: value}, space.names[0])
        asked = PromptInput({names[0]: 2}, [Demonstration(example, "", 0.5)], shared=1)
        (prompt,) = builder.build_all([asked])
        texts.append(prompt.text.split(";")[0] if isinstance(prompt, Prompt) else str(prompt))
    assert texts == ["1", "1.0", "1"]
