"""Prompt templates: Jinja in its immutable sandbox, with limits and strict names.

The variables of a template are ``instruction``, ``labels``, ``demonstrations``, ``row`` (the
fields), ``text`` (the whole row as text), ``shared`` and ``facts``. If each row has its own
shortlist of labels, ``shared`` has the demonstrations that come before the labels; otherwise it is
empty. In a template without ``shared`` they are the first of ``demonstrations``. ``facts`` are
phrases on how two fields of the row relate, or empty. Row text is always a *value*: it is never
compiled, so ``{{ … }}`` in a review is printed and not run. An unknown name is an error and not an
empty string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError

from ecomfs.core.messages import one_line
from ecomfs.core.sandbox import (
    DICT_METHODS,
    BoundedEnvironment,
    TemplateLimitError,
    limited,
    line_of,
    template_size,
)
from ecomfs.errors import TemplateError
from ecomfs.task import TaskCard
from ecomfs.types import TemplateRef

ANSWER_PLACEHOLDER = "\ue000answer\ue001"
"""A made-up answer for test renderings; private-use characters make it differ from any row."""

_ENVIRONMENT = BoundedEnvironment(
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # prompts are plain text, not HTML
)
_NAMES = "instruction, labels, shared, demonstrations, row, text, facts"
_BRACES = re.compile(r"(?<!\{)\{ *(?:demonstration\.)?(?:row\.\w+|text|answer) *\}(?!\})")
_PAIRS: Mapping[str, tuple[str, str]] = {
    # Very different, since a template may print "above 100", and of the type that filters expect.
    "number": ("3", "98765"),
    "price": ("3", "98765"),
    "date": ("2001-02-03", "2024-11-30"),
    "history": ('["qz", "zq"]', '["xj"]'),
    "json": ('{"qz": 1}', '{"xj": 27}'),
}


class Template:
    """A compiled template.

    Parameters
    ----------
    source
        Jinja source.
    name
        Name in errors and predictions.

    Raises
    ------
    TemplateError
        The template has a syntax error (the message names the line), or is too long or too deeply
        nested.

    Examples
    --------
    >>> t = Template("Review: {{ row.text }}\\nSentiment:", "demo")
    >>> t.render({"row": {"text": "{{ 7 * 7 }}"}})
    'Review: {{ 7 * 7 }}\\nSentiment:'
    """

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        self.ref = TemplateRef(name, digest)
        try:
            tree = _ENVIRONMENT.parse(source)
            self._compiled = _ENVIRONMENT.from_string(tree)
        except TemplateSyntaxError as error:
            raise TemplateError(
                f"template {name}, line {error.lineno}: {one_line(error)}"
            ) from error
        except Exception as error:  # Python's limits of nesting, which differ by version
            raise TemplateError(
                f"template {name}: cannot be compiled: {one_line(error)}"
            ) from error
        self._parts = template_size(tree)
        names = meta.find_undeclared_variables(tree)
        self.shows_shared, self.shows_facts = "shared" in names, "facts" in names
        self.only_prints_rows = only_prints_rows(tree)
        """Whether the template only prints the row, unchanged."""
        # Every rendering copies the globals, which is slow for a chain of mappings.
        self._compiled.globals = dict(self._compiled.globals)

    def render(self, context: Mapping[str, Any]) -> str:
        """The prompt without trailing white space, since an answer may begin with a space.

        Raises
        ------
        TemplateError
            An unknown name, a forbidden operation, an error in an expression, or a limit is
            exceeded (:mod:`ecomfs.core.sandbox`).
        """
        try:
            with limited(_given(context), self._parts):
                return self._compiled.render(context).rstrip()
        except UndefinedError as error:
            raise self._error(error, hint=f"names in a template: {_NAMES}") from error
        except TemplateLimitError as error:
            hint = "use shorter loops and texts; docs/tasks.md lists the limits"
            raise self._error(error, "limit exceeded: ", hint) from error
        except SecurityError as error:
            raise self._error(error, "forbidden: ") from error
        except Exception as error:  # any error of an expression
            raise self._error(error) from error

    def _error(self, error: Exception, what: str = "", hint: str = "") -> TemplateError:
        line = line_of(error)
        where = f", line {line}" if line else ""
        return TemplateError(f"template {self.ref.name}{where}: {what}{one_line(error)}", hint=hint)

    def answer_separator(self, context: Mapping[str, Any]) -> str:
        """The text between the answer cue and the answer in this template: ``" "`` after
        ``Sentiment:``, nothing after ``情感：``.

        Parameters
        ----------
        context
            A context with one demonstration whose answer is :data:`ANSWER_PLACEHOLDER`.
        """
        text = self.render(context)
        # The last match: a list of labels before the demonstrations may print answers too.
        match = list(re.finditer(rf"([ \t]*){ANSWER_PLACEHOLDER}", text))
        return match[-1].group(1) if match else " "


def _given(context: Mapping[str, Any]) -> int:
    """Number of characters in the rows of a prompt."""
    shown = (*context.get("shared", ()), *context.get("demonstrations", ()))
    return sum(len(one.get("text", "")) for one in (context, *shown))


def hidden_fields(template: Template, card: TaskCard, fixed: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that a template does not print, found by rendering made-up rows.

    Parameters
    ----------
    fixed
        The context of every prompt, without ``row``, ``text`` and ``demonstrations``.

    Raises
    ------
    TemplateError
        The template is empty; or it does not print the row, or prints a demonstration without its
        answer or without its row.
    """
    if not template.source.strip():
        raise TemplateError(
            f"template {template.ref.name} is empty", hint="print at least {{ text }}"
        )
    names = [spec.name for spec in card.fields]
    # Texts of equal length, first and last word: a template that prints only these hides the text.
    pairs = {
        spec.name: _PAIRS.get(spec.kind, (f"a qz{i}qz word", f"a xj{i}xj word"))
        for i, spec in enumerate(card.fields)
    }
    one = {name: pairs[name][0] for name in names}
    other = {name: pairs[name][1] for name in names}

    def prompt(row: Mapping[str, str], *shown: tuple[Mapping[str, str], str]) -> str:
        demonstrations = [_seen(r) | {"answer": answer} for r, answer in shown]
        return template.render({**fixed, **_seen(row), "demonstrations": demonstrations})

    for shown in ((), ((one, ANSWER_PLACEHOLDER),)):
        if prompt(one, *shown) == prompt(other, *shown):
            raise _incomplete(
                template,
                "the text of the row is not in the prompt",
                "{{ text }}, or {{ row.FIELD }}",
            )
    with_row = prompt(one, (one, ANSWER_PLACEHOLDER)) != prompt(one, (other, ANSWER_PLACEHOLDER))
    with_answer = ANSWER_PLACEHOLDER in prompt(one, (one, ANSWER_PLACEHOLDER))
    if with_answer and not with_row:
        row = "{{ demonstration.text }}, or {{ demonstration.row.FIELD }}"
        raise _incomplete(template, "the row of a demonstration is not in the prompt", row)
    if with_row and not with_answer:
        raise _incomplete(template, "a demonstration has no answer", "{{ demonstration.answer }}")
    return tuple(
        spec.name
        for spec in card.fields
        if spec.kind != "id" and prompt(one) == prompt(one | {spec.name: other[spec.name]})
    )


def _seen(row: Mapping[str, str]) -> dict[str, Any]:
    return {"row": dict(row), "text": "; ".join(row.values()), "facts": []}


def _incomplete(template: Template, what: str, fix: str) -> TemplateError:
    hint = f"print {fix}"
    if found := _BRACES.search(template.source):
        hint = f"{found[0]} is plain text: write {{{found[0]}}}"
    return TemplateError(f"template {template.ref.name}: {what}", hint=hint)


_OPEN = frozenset({"row", "text"})


def only_prints_rows(tree: nodes.Template) -> bool:
    """Whether a template only prints the row and its text, unchanged.

    >>> from ecomfs.core.sandbox import BoundedEnvironment
    >>> parse = BoundedEnvironment().parse
    >>> only_prints_rows(parse("{% for x in labels %}{{ x }}{% endfor %}{{ row.text }}"))
    True
    >>> only_prints_rows(parse("{{ text | upper }}")), only_prints_rows(parse("{{ row }}"))
    (False, False)
    """
    names = [node for node in tree.find_all(nodes.Name) if node.name in _OPEN]
    # Imported and inherited templates can use the variables unseen.
    return len(names) == _printed(tree) and not any(
        tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))
    )


def _printed(node: nodes.Node) -> int:
    """Number of values of the row that are printed unconditionally."""
    if isinstance(node, nodes.Output):
        return sum(map(_is_value, node.nodes))
    if isinstance(node, nodes.Template | nodes.If | nodes.For):
        return sum(map(_printed, node.iter_child_nodes()))
    return 0


def _is_value(node: nodes.Node) -> bool:
    match node:
        case nodes.Name(name="text"):
            return True
        case nodes.Getattr(node=nodes.Name(name="row"), attr=field):
            return field not in DICT_METHODS
        case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str())):
            return True
    return False
