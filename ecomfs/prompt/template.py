"""Prompt templates: Jinja in its immutable sandbox, every name strict.

A template sees ``instruction``, ``labels``, ``demonstrations``, ``row`` (its fields)
and ``text`` (the whole row as text), and nothing else.
Row text is only ever a *value*: it is never compiled, so ``{{ … }}`` in a review is printed, not
run. A name that does not exist is an error, not an empty string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ecomfs.errors import TemplateError
from ecomfs.types import TemplateRef

_DICT = frozenset(dir(dict))


class _Environment(ImmutableSandboxedEnvironment):
    """``label.word`` of a dict is its item, as before, without failing as an attribute first."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj and attribute not in _DICT:
            return obj[attribute]
        return super().getattr(obj, attribute)


_ENVIRONMENT = _Environment(
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # prompts are plain text, not HTML
)
_NAMES = "instruction, labels, demonstrations, row, text"


class Template:
    """A compiled template.

    Args:
        source: Jinja source.
        name: shown in errors and in every prediction.

    Raises:
        TemplateError: syntax error, with its line.

    >>> t = Template("Review: {{ row.text }}\\nSentiment:", "demo")
    >>> t.render({"row": {"text": "{{ 7 * 7 }}"}})
    'Review: {{ 7 * 7 }}\\nSentiment:'
    """

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        self.ref = TemplateRef(name, digest)
        try:
            self._compiled = _ENVIRONMENT.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateError(f"template {name}, line {error.lineno}: {error.message}") from error
        # Every rendering copies them; of the chain of mappings they come as, that is slow.
        self._compiled.globals = dict(self._compiled.globals)

    def render(self, context: Mapping[str, Any]) -> str:
        """The prompt, without trailing white space (an answer's own leading space must not be
        doubled).

        Raises:
            TemplateError: an unknown name, a forbidden operation, or any error in an expression.
        """
        try:
            return self._compiled.render(context).rstrip()
        except UndefinedError as error:
            raise TemplateError(
                f"template {self.ref.name}: {error.message}",
                hint=f"a template knows: {_NAMES}",
            ) from error
        except SecurityError as error:
            raise TemplateError(f"template {self.ref.name}: forbidden: {error}") from error
        except (TemplateRuntimeError, TypeError, ValueError, ArithmeticError) as error:
            raise TemplateError(f"template {self.ref.name}: {error}") from error

    def answer_separator(self, context: Mapping[str, Any]) -> str:
        """What stands between the answer cue and the answer (``" "`` after ``Sentiment:``,
        nothing after ``情感：``), read off the template itself.

        ``context`` must hold one demonstration whose answer is :data:`PROBE`.
        """
        text = self.render(context)
        # The last one: label listings may print answers too, demonstrations come after them.
        match = list(re.finditer(rf"([ \t]*){PROBE}", text))
        return match[-1].group(1) if match else " "


PROBE = "\ue000answer\ue001"
"""An answer no row can hold by accident (private-use characters)."""
