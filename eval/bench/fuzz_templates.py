"""Coverage-guided fuzzing of the template renderer; not part of the test suite.

    pip install atheris
    python eval/bench/fuzz_templates.py -runs=1000000

Checks that any template source with any row renders within its limits or raises a TemplateError of
one line. Row text is only printed: text that looks like a template appears in the prompt unchanged.

The limits are 1/500 of the usual ones, so that more templates are tried: the fuzzer tends to find
templates that use up the limits, which takes tenths of a second each.
"""

from __future__ import annotations

import atheris
from fuzzing import fuzz, watched

with watched("ecomfs.prompt.template", "ecomfs.core.sandbox"):
    from ecomfs.core import sandbox
    from ecomfs.errors import TemplateError
    from ecomfs.prompt.template import Template

sandbox.MOST_STEPS //= 500
sandbox.MOST_CHARACTERS //= 500

PIECES = (
    *("{{ text }}", "{{ row.text }}", "{% for d in demonstrations %}", "{% endfor %}", "{{ d }}"),
    *(
        "{% for label in labels %}",
        "{{ label.word }}",
        "{% if facts %}",
        "{% else %}",
        "{% endif %}",
    ),
    *("{% macro m(a) %}", "{% endmacro %}", "{{ m(text) }}", "{% set x = text %}", "{{ x }}"),
    *("{{ text * 999999 }}", "{{ [text] * 9999 }}", "{% for i in range(99999) %}", "{{ i }}"),
    *("{{ ''.__class__.__mro__ }}", "{{ text|replace('a', text) }}", "{{ 9 ** 9 ** 9 }}", "|join"),
    *("{% block b %}", "{% endblock %}", "{{ self.b() }}", "{{ loop.index }}", "{% call m() %}"),
    *("{% endcall %}", "{{ '%9999999d' % 1 }}", "{{ text|center(99999999) }}", "{{ namespace() }}"),
    *("{% include 'x' %}", "{% raw %}", "{% endraw %}", "{#", "#}", "{{ cycler(1).next }}", "-%}"),
    *("{{ text.format(text) }}", "{{ lipsum() }}", "{{ row.items()|list }}", "\n", " ", "{{", "%}"),
)
MARK = "\ue005{{ 7 * 7 }}{% raise %}"
SHOWN = Template(
    "{{ instruction }}\n{% for l in labels %}{{ l.word }}\n{% endfor %}{{ text }}", "t"
)


def context(text: str) -> dict[str, object]:
    row = {"text": text, "price": "9.5"}
    demonstration = {"text": text, "row": row, "answer": "positive", "facts": []}
    return {
        "instruction": "Say it.",
        "labels": [{"word": "positive", "name": "positive"}, {"word": "negative"}],
        "shared": [],
        "demonstrations": [demonstration, demonstration],
        "row": row,
        "text": text,
        "facts": [],
    }


def test_one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    text = provider.ConsumeUnicodeNoSurrogates(30) + MARK
    source = "".join(
        PIECES[provider.ConsumeIntInRange(0, len(PIECES) - 1)]
        if provider.ConsumeBool()
        else provider.ConsumeUnicodeNoSurrogates(8)
        for _ in range(provider.ConsumeIntInRange(0, 12))
    )
    given = context(text)
    prompt = SHOWN.render(given)
    if text.rstrip() not in prompt:
        raise AssertionError(f"{text!r} is not in {prompt!r}")
    try:
        made = Template(source, "fuzzed").render(given)
    except TemplateError as error:
        if "\n" in error.message:
            raise AssertionError(f"{source!r}: {error.message!r}") from error
        return
    if not isinstance(made, str):
        raise AssertionError(f"{source!r} made {made!r}")


if __name__ == "__main__":
    fuzz(test_one_input, [bytes(range(start, start + 120)) for start in range(0, 120, 10)])
