"""Whether a template shows the model what it is asked about: told by rows made for the purpose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ecomfs.errors import TemplateError
from ecomfs.prompt.template import PROBE, Template
from ecomfs.task import TaskCard

_BRACES = re.compile(r"(?<!\{)\{ *(?:demonstration\.)?(?:row\.\w+|text|answer) *\}(?!\})")
_PAIRS: Mapping[str, tuple[str, str]] = {
    # Far apart, since a template may say "above 100"; and of the kind that a filter expects.
    "number": ("3", "98765"),
    "price": ("3", "98765"),
    "date": ("2001-02-03", "2024-11-30"),
    "history": ('["qz", "zq"]', '["xj"]'),
    "json": ('{"qz": 1}', '{"xj": 27}'),
}


def hidden_fields(template: Template, card: TaskCard, fixed: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that a template does not show.

    Args:
        fixed: the context of every prompt, without ``row``, ``text`` and ``demonstrations``.

    Raises:
        TemplateError: it is empty; two rows that differ in every field have one prompt; or it
            shows a demonstration's row without its answer, or its answer without its row.
    """
    if not template.source.strip():
        raise TemplateError(
            f"template {template.ref.name} is empty", hint="print at least {{ text }}"
        )
    names = [spec.name for spec in card.fields]
    pairs = {
        spec.name: _PAIRS.get(spec.kind, (f"qz{i}qz word", f"xj{i}xj other words"))
        for i, spec in enumerate(card.fields)
    }
    one = {name: pairs[name][0] for name in names}
    other = {name: pairs[name][1] for name in names}

    def prompt(row: Mapping[str, str], *shown: tuple[Mapping[str, str], str]) -> str:
        demonstrations = [_seen(r) | {"answer": answer} for r, answer in shown]
        return template.render({**fixed, **_seen(row), "demonstrations": demonstrations})

    for shown in ((), ((one, PROBE),)):
        if prompt(one, *shown) == prompt(other, *shown):
            raise _same(
                template,
                "the text of the row does not stand in the prompt",
                "{{ text }}, or {{ row.FIELD }}",
            )
    with_row = prompt(one, (one, PROBE)) != prompt(one, (other, PROBE))
    with_answer = PROBE in prompt(one, (one, PROBE))
    if with_answer and not with_row:
        row = "{{ demonstration.text }}, or {{ demonstration.row.FIELD }}"
        raise _same(template, "the row of a demonstration does not stand in the prompt", row)
    if with_row and not with_answer:
        raise _same(template, "a demonstration shows no answer", "{{ demonstration.answer }}")
    return tuple(
        spec.name
        for spec in card.fields
        if spec.kind != "id" and prompt(one) == prompt(one | {spec.name: other[spec.name]})
    )


def _seen(row: Mapping[str, str]) -> dict[str, Any]:
    return {"row": dict(row), "text": "; ".join(row.values())}


def _same(template: Template, what: str, mend: str) -> TemplateError:
    hint = f"print {mend}"
    if found := _BRACES.search(template.source):
        hint = f"{found[0]} is plain text: write {{{found[0]}}}"
    return TemplateError(f"template {template.ref.name}: {what}", hint=hint)


__all__ = ["hidden_fields"]
