from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import TemplateError
from ecomfs.prompt import Template


def test_syntax_error_names_template_and_line() -> None:
    with pytest.raises(TemplateError, match=r"template a\.jinja, line 2"):
        Template("ok\n{% for x in %}", "a.jinja")


def test_unknown_name_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(TemplateError, match=r"'review' is undefined.*a template knows"):
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
