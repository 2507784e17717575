"""Templates: the sandbox, and the check that a prompt shows the row, before a model is loaded."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import examples

from ecomfs.errors import TemplateError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Options, check_templates
from ecomfs.pipeline.build import TemplateWarning
from ecomfs.prepare.augment import load_prompts
from ecomfs.prompt import Template
from ecomfs.task import available_tasks, load_task


def test_syntax_error_names_template_and_line() -> None:
    with pytest.raises(TemplateError, match=r"template a\.jinja, line 2"):
        Template("ok\n{% for x in %}", "a.jinja")


def test_unknown_name_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(TemplateError, match=r"'review' is undefined.*names in a template"):
        Template("{{ review }}", "t").render({"row": {}})


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ labels.append(1) }}",
        "{{ row.update({'a': 1}) }}",
        "{{ (1).__class__ }}",
    ],
)
def test_sandbox_forbids(source: str) -> None:
    with pytest.raises(TemplateError):
        Template(source, "t").render({"labels": [], "row": {}})


@given(st.text())
def test_row_text_is_only_ever_a_value(text: str) -> None:
    rendered = Template("[{{ row.text }}]", "t").render({"row": {"text": text + "{{ 1 + 1 }}"}})
    assert rendered == f"[{text}{{{{ 1 + 1 }}}}]"


def test_hash_follows_the_source() -> None:
    assert Template("a", "t").ref.sha != Template("b", "t").ref.sha
    assert Template("a", "t").ref == Template("a", "t").ref


SHOWN = "{% for d in demonstrations %}{{ d.text }}: {{ d.answer }}\n{% endfor %}"


def check(tmp_path: Path, source: str, task: str = "review_sentiment") -> None:
    path = tmp_path / "t.jinja"
    path.write_text(source, encoding="utf-8")
    check_templates(load_task(task), Options(template=path, language="en"), task)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "Review: {text}\nSentiment:",
            "is not in the prompt .*is plain text: write {{text}}",
        ),
        ("Review: {row.text}", r"is not in the prompt .*write {{row\.text}}"),
        ("{{ instruction }}\nSentiment:", "text of the row is not in the prompt"),
        (SHOWN + "Sentiment:", "text of the row is not in the prompt"),
        ("{{ instruction }}{{ text | length > 9000 }}", "text of the row is not in"),
        ("Length {{ text | length }}\nSentiment:", "text of the row is not in the prompt"),
        ("{{ text | wordcount }} {{ text[0] }}", "text of the row is not in the prompt"),
        ("{# {{ text }} #}Sentiment:", "text of the row is not in the prompt"),
        ("{% if demonstrations %}x{% else %}{{ text }}{% endif %}", "text of the row is not in"),
        ("", "is empty"),
        (" \n\t", "is empty"),
        (SHOWN.replace("{{ d.text }}", "{text}") + "{{ text }}", "the row of a demonstration"),
        (SHOWN.replace("{{ d.answer }}", "{answer}") + "{{ text }}", "has no answer"),
    ],
)
def test_a_template_that_gives_two_rows_one_prompt_is_refused(
    tmp_path: Path, source: str, message: str
) -> None:
    with pytest.raises(TemplateError, match=message):
        check(tmp_path, source)


def test_it_is_refused_before_an_engine_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("Review: {text}", encoding="utf-8")
    clf = FewShotClassifier("review_sentiment", "no-such-engine:", template=path)
    with pytest.raises(TemplateError, match="is not in the prompt"):
        clf.fit(*examples())


@pytest.mark.parametrize(
    ("task", "source", "hidden"),
    [
        ("query_relevance", "{{ row.query }}", "product"),
        ("query_relevance", "{{ row.product }}", "query"),
        ("next_category", "{{ row.history }}{% if row.device %} {{ row.device }}{% endif %}", ""),
        ("next_category", "{{ row.history }}", "device"),
    ],
)
def test_a_template_that_drops_a_field_warns_of_it(
    tmp_path: Path, task: str, source: str, hidden: str
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(tmp_path, source, task)
    said = [str(w.message) for w in caught if w.category is TemplateWarning]
    if hidden:
        assert f"template t.jinja does not show field {hidden!r}" in said
    else:
        assert not any("'history'" in text or "'device'" in text for text in said)


@pytest.mark.parametrize(
    "source",
    [
        "{{ text }}",
        "{{ text | upper | truncate(40) }}",
        "{{ row.text }}",
        SHOWN + "{{ row['text'] }}",
        "{% for label in labels %}{{ label.answer }}{% endfor %}{{ text }}",
        "A literal {text} beside {{ text }}",
    ],
)
def test_a_template_that_shows_the_row_in_any_way_is_taken(tmp_path: Path, source: str) -> None:
    check(tmp_path, source)


@pytest.mark.parametrize("task", available_tasks())
def test_shipped_templates_show_every_field(task: str) -> None:
    check_templates(load_task(task), Options(), task)


def test_a_prompt_for_rewrites_shows_the_text(tmp_path: Path) -> None:
    path = tmp_path / "rewrite.jinja"
    path.write_text("Rewrite: {text}", encoding="utf-8")
    with pytest.raises(TemplateError, match="does not show the text to rewrite"):
        load_prompts(path)
