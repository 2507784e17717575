"""Rendering of templates ends: limits on steps, characters and depth, and errors with the line."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core import sandbox
from ecomfs.core.sandbox import BoundedEnvironment, TemplateLimitError, limited, line_of
from ecomfs.engine.chat import ChatTemplate
from ecomfs.errors import ModelError, TemplateError
from ecomfs.prompt import Template
from ecomfs.types import Turn

AGAIN = "{% for i in range(90000) %}{% for j in range(90000) %}"
END = "{% endfor %}{% endfor %}"
DOUBLED = "{%% set ns = namespace(x=%s) %%}{%% for i in range(60) %%}%s{%% endfor %%}"
ENDLESS = {
    "loops in loops": f"{AGAIN}x{END}",
    "loops that print nothing": f"{AGAIN}{END}",
    "a filtered loop": "{% for i in range(90000) %}{% for j in range(90000) if j < 0 %}" + END,
    "loop.length of a loop": "{% for i in range(90000) %}{% for j in range(90000) %}"
    "{{ loop.length and '' }}" + END,
    "an endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "macros that call each other": "{% macro a() %}{{ b() }}{% endmacro %}"
    "{% macro b() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
    "a macro that fans out": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}"
    "{% endmacro %}{{ m(35) }}",
    "an endless block": "{% block b %}{{ self.b() }}{% endblock %}",
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a recursive loop that fans out": "{% for x in range(900) recursive %}"
    "{{ loop(range(900)) if loop.depth < 9 }}{% endfor %}",
    "a call block": "{% macro m() %}{{ caller() }}{% endmacro %}"
    "{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}",
    "a text of a milliard": "{{ 'x' * 10**9 }}",
    "a text that is not shown": "{% set x = 10**9 * 'x' %}",
    "a list of a milliard": "{{ ([0] * 10**9) | length }}",
    "a range": "{{ range(10**9) | list }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "powers": DOUBLED % ("7", "{% set ns.x = ns.x * ns.x %}") + "{{ ns.x }}",
    "concatenation": DOUBLED % ("'x'", "{% set ns.x = ns.x ~ ns.x %}"),
    "addition": DOUBLED % ("'x'", "{% set ns.x = ns.x + ns.x %}"),
    "lists added": DOUBLED % ("[1]", "{% set ns.x = ns.x + ns.x %}"),
    "lists in lists": DOUBLED % ("[1]", "{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x }}",
    "tuples in tuples": DOUBLED % ("1", "{% set ns.x = (ns.x, ns.x) %}") + "{{ ns.x in {} }}",
    "dicts in dicts": DOUBLED % ("1", "{% set ns.x = dict(a=ns.x, b=ns.x) %}") + "{{ ns.x }}",
    "namespaces": DOUBLED % ("1", "{% set ns.x = namespace(a=ns.x, b=ns.x) %}") + "{{ ns.x }}",
    "equal lists": DOUBLED
    % ("[1], y=[1]", "{% set ns.x = [ns.x] * 2 %}{% set ns.y = [ns.y] * 2 %}")
    + "{{ ns.x == ns.y }}",
    "a block that is set": DOUBLED
    % ("'x'", "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"),
    "printing again and again": "{% set x = 'x' * 90000 %}" + AGAIN + "{{ x }}" + END,
    "center": "{{ 'x' | center(10**9) }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "zfill": "{{ 'x'.zfill(width=10**9) if false else 'x'.zfill(10**9) }}",
    "expandtabs": "{{ ('\\t' * 9000).expandtabs(9**9) }}",
    "indent": "{{ ('\\n' * 90000) | indent(9000) }}",
    "indent with a text": "{{ ('\\n' * 90000) | indent('x' * 90000) }}",
    "replace": "{{ ('x' * 90000) | replace('x', 'y' * 90000) }}",
    "replace of nothing": "{{ ('x' * 90000).replace('', 'y' * 90000) }}",
    "join": "{{ range(90000) | list | join('x' * 90000) }}",
    "a text joins": "{{ ('x' * 90000).join(range(90000) | map('string') | list) }}",
    "translate": "{{ ('x' * 90000).translate({120: 'y' * 90000}) }}",
    "wordwrap": "{{ ('x ' * 90000) | wordwrap(1, wrapstring='y' * 9000) }}",
    "a wide format": "{{ '%999999999d' | format(1) }}",
    "a wide operator": "{{ '%999999999d' % 1 }}",
    "a width that is given": "{{ '%*d' % (999999999, 1) }}",
    "str.format": "{{ '{:>999999999}'.format(1) }}",
    "str.format of an item": "{{ '{:>{a[0]}}'.format(1, a=[999999999]) }}",
    "str.format_map": "{{ '{a:>{b}}'.format_map({'a': 1, 'b': 999999999}) }}",
    "fields of a format": "{{ ('{0}' * 90000).format('x' * 90000) }}",
    "fields of an operator": "{{ ('%(a)s' * 90000) % {'a': 'x' * 90000} }}",
    "wide fields": "{{ ('{:9999}' * 9000).format(*([1] * 9000)) }}",
    "slices": "{% set x = 'x' * 900000 %}" + AGAIN + "{% set y = x[1:] %}" + END,
    "comparisons": "{% set x = 'x' * 900000 %}{% set y = 'x' * 900000 %}"
    + AGAIN
    + "{% if x == y %}{% endif %}"
    + END,
    "tests": "{% set x = range(90000) | list %}" + AGAIN + "{% if -1 is in(x) %}{% endif %}" + END,
    "a search": "{% set x = range(90000) | list %}" + AGAIN + "{% if -1 in x %}{% endif %}" + END,
    "filters": "{% set x = range(90000) | list %}" + AGAIN + "{{ (x | sort)[:0] }}" + END,
    "nested lists": DOUBLED.replace("60", "90000") % ("1", "{% set ns.x = [ns.x] %}"),
    "tojson": "{{ {'a': [1]} | tojson(indent=10**9) }}",
    "urlize": "{{ ('a.com ' * 9000) | urlize(rel='x' * 9000) }}",
    "batches": "{{ [1] | batch(10**9, 'x') | list }}",
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_template_that_takes_too_much_is_one_error(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MOST_STEPS", 20_000)  # memory is traced, which is slow
    template = Template(source, "t.jinja")
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError) as caught:
            template.render({"text": "fine", "row": {"text": "fine"}})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.message.startswith("template t.jinja, line 1: ")
    assert "\n" not in caught.value.message
    assert most < 200 << 20


def test_errors_name_the_line() -> None:
    template = Template(
        "one\ntwo\n{% for i in range(90000) %}{% for j in range(90000) %}\nx" + END, "t"
    )
    with pytest.raises(TemplateError, match=r"t, line 3: limit exceeded: more than 500,000"):
        template.render({})
    with pytest.raises(TemplateError, match=r"template t, line 2: .*'y' is undefined"):
        Template("{{ x }}\n{{ y }}", "t").render({"x": 1})
    with pytest.raises(TemplateError, match=r"template t, line 2: forbidden: .*unsafe"):
        Template("\n{{ ''.__class__ }}", "t").render({})
    with pytest.raises(TemplateError, match=r"template t, line 3: division by zero"):
        Template("\n\n{{ 1 / 0 }}", "t").render({})
    with pytest.raises(TemplateError, match=r"template t, line 1: no loader"):
        Template("{% include 'other' %}", "t").render({})


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if a %}" * 900 + "{% endif %}" * 900,
        "{% for i in x %}" * 60 + "{% endfor %}" * 60,
        "x" * 200_001,
        "{{ 1 +" + "-" * 9000 + "1 }}",
    ],
)
def test_a_template_that_does_not_compile_is_one_error(source: str) -> None:
    with pytest.raises(TemplateError, match="template t") as caught:
        Template(source, "t").render({"a": 1, "x": [1]})
    assert "\n" not in caught.value.message


def test_chat_templates_have_the_same_limits() -> None:
    for source in (f"{AGAIN}x{END}", "{{ 'x' * 10**9 }}", ENDLESS["an endless macro"]):
        with pytest.raises(ModelError, match="m: its chat template fails, line 1: "):
            ChatTemplate(source, {}, "m").render([Turn("user", "a")])


def test_long_rows_and_many_labels_are_within_the_limits() -> None:
    source = (
        "{% for label in labels %}- {{ label.answer }}{% if label.answer != label.word %} = "
        "{{ label.word }}{% endif %}\n{% endfor %}{{ labels | map(attribute='word') | join(', ') }}"
        "{% for d in demonstrations %}{{ d.text }}\n{{ d.answer }}\n{% endfor %}{{ text | upper }}"
    )
    labels = [{"answer": f"a{n}", "word": f"label {n}"} for n in range(5000)]
    shown = [{"text": "x" * 100_000, "answer": "a1"}] * 64
    said = Template(source, "t").render(
        {"labels": labels, "demonstrations": shown, "text": "y" * 10**6}
    )
    assert said.count("x") == 6_400_000
    assert said.endswith("Y" * 10**6)


def test_other_jinja_features_still_work() -> None:
    source = (
        "{% for k, v in row.items() %}{{ loop.index }}/{{ loop.length }} {{ k }}={{ v }};"
        "{% endfor %}"
        "{% for x in [1, 2, 3] if x > 1 %}{{ x }}{{ ',' if not loop.last }}{% endfor %} "
        "{% macro m(a, b='z') %}<{{ a }}{{ b }}{{ caller() if caller }}>{% endmacro %}{{ m('q') }} "
        "{% call m(1, b=2) %}in{% endcall %} {% set ns = namespace(n=0) %}"
        "{% for x in range(4) %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }} "
        "{{ ['b', 'a'] | sort | join('-') }} {{ 'a' ~ 1 ~ none }} {{ (1, [2])[1][0] }} "
        "{{ 'abc'[::-1] }} "
        "{{ '%s of %5.1f' % ('a', 2) }} {{ '{:>4}|{x!r}'.format(7, x='y') }} {{ 2 ** 8 }} "
        "{{ 'ab' * 2 }} "
        "{{ {'a': 1}['a'] }} {{ 'x' is in(['x']) }} {{ 3 is divisibleby(3) }} {{ 'b' in 'abc' }} "
        "{% set y %}q{{ 1 }}{% endset %}{{ y }} {{ missing | default('d') }} {{ [1, 2] | sum }} "
        "{% for x in [[1, [2]]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}"
        "{% for x in [] %}{% else %}empty{% endfor %}"
    )
    template = BoundedEnvironment().from_string(source)
    with limited(size=100):
        said = template.render(row={"a": 1, "b": "c"})
    assert said == (
        "1/2 a=1;2/2 b=c;2,3 <qz> <12in> 6 a-b a1None 2 cba a of   2.0    7|'y' 256 abab 1 True "
        "True True q1 d 3 12empty"
    )


def test_nothing_renders_outside_of_limits() -> None:
    template = BoundedEnvironment().from_string("{{ 1 }}")
    with pytest.raises(TemplateLimitError, match="outside"):
        template.render()


NAMES = st.sampled_from(["x", "y", "ns.x", "i", "'ab'", "9999999", "[1]", "(x,)", "{'a': y}"])
OPERATORS = ["*", "**", "+", "~", "%", "==", "in", "//"]
FILTERS = [
    *("list", "string", "join(x)", "center(y)", "replace(x, y)", "map('string')", "indent(y)"),
    *("sort", "batch(y)", "tojson", "format(x, y)", "unique", "sum", "length", "wordwrap(y)"),
    *("reverse", "groupby(0)", "slice(y)", "random", "pprint", "urlize"),
]
METHODS = ["ljust(y)", "join(x)", "format(x)", "split()", "items()"]
EXPRESSIONS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, st.sampled_from(FILTERS)).map(lambda t: f"({t[0]} | {t[1]})"),
        st.tuples(inner, st.sampled_from(METHODS)).map(lambda t: f"({t[0]}).{t[1]}"),
        st.tuples(inner, inner).map(lambda t: f"[{t[0]}, {t[1]}]"),
    ),
    max_leaves=8,
)


@given(st.lists(EXPRESSIONS, min_size=1, max_size=3))
def test_any_template_renders_or_is_one_error(expressions: list[str]) -> None:
    body = "".join("{% set ns.x = " + one + " %}{{ ns.x }}" for one in expressions)
    source = "{% set ns = namespace(x='q') %}{% for i in range(300) %}" + body + "{% endfor %}"
    said = ""
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sandbox, "MOST_STEPS", 20_000)
            said = Template(source, "t").render({"x": "text", "y": 7000, "text": "t"})
    except TemplateError as error:
        said = error.message.partition("\n")[0]
        if said != error.message or not said.startswith("template t"):
            raise
    assert len(said) <= sandbox.MOST_CHARACTERS + 8


def test_the_line_of_an_error_that_is_no_templates() -> None:
    assert line_of(ValueError()) is None
