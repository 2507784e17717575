"""Chat templates: they put turns into the control tokens of a model.

A chat template is Jinja text that comes with a model. It is untrusted code: it runs in Jinja's
immutable sandbox with limits (:mod:`ecomfs.core.sandbox`) and the few helpers that such templates
expect. Row text never passes through it (:mod:`ecomfs.prompt.chat`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from ecomfs.core.messages import one_line
from ecomfs.core.sandbox import BoundedEnvironment, limited, line_of, template_size
from ecomfs.engine.protocol import Engine, Tokenizer
from ecomfs.errors import ModelError
from ecomfs.types import Turn

SWITCHES: Mapping[str, bool] = {"enable_thinking": False, "thinking": False}
"""Template variables that switch reasoning off: the first for Qwen 3, GLM and SmolLM3, the second
for DeepSeek and Granite."""

CONTROL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")
"""Pattern of control tokens: <|im_start|>, <bos>, </s>, <start_of_turn>, [INST], <|eot_id|>"""

_TODAY = date(2024, 7, 26)
"""The date for templates, fixed so that readings do not depend on the day (Llama's default)."""


@dataclass(frozen=True, slots=True)
class ChatModel:
    """The chat template of a model, ready for use.

    Attributes:
        identity: hash of everything that determines the frame.
        render: turns → the text for the model, up to the header of its answer; ``None``: turns are
            sent to a provider, which renders them.
        encode: text of the frame → token ids, with control tokens; ``None`` if ``render`` is.
    """

    identity: str
    render: Callable[[Sequence[Turn]], str] | None = None
    encode: Callable[[str], list[int]] | None = None


@runtime_checkable
class SupportsChat(Protocol):
    """An engine whose model may have a chat template."""

    @property
    def chat(self) -> ChatModel | None:
        """The chat template; ``None`` if the model has none."""
        ...


def chat_model(engine: Engine) -> ChatModel | None:
    """The chat template of an engine's model; ``None`` if it has none."""
    return engine.chat if isinstance(engine, SupportsChat) else None


def frame_checked(model: ChatModel, tokenizer: Tokenizer | None) -> tuple[bool, str]:
    """Whether every border between turns has a control token that cannot come from the text of a
    row, and a description of the result.

    Args:
        model: renders and encodes the frame.
        tokenizer: encodes the rows.

    >>> frame_checked(ChatModel("0"), None)
    (True, 'turns are sent as messages')
    """
    if model.render is None or model.encode is None or tokenizer is None:
        return True, "turns are sent as messages"
    marks = ("QZX0XZQ", "QZX1XZQ", "QZX2XZQ")
    roles = ("user", "assistant", "user")
    rest = model.render([Turn(role, mark) for role, mark in zip(roles, marks, strict=True)])
    seen = ""
    for before, after in pairwise(marks):
        border = rest.partition(before)[2].partition(after)[0]
        as_frame, as_row = model.encode(border), tokenizer.encode(border)
        control = [code for code in as_frame if code not in as_row]
        if not control:
            return False, f"a row can hold {border.strip()[:40]!r}, which ends a turn"
        name = tokenizer.decode(control[:1])
        plain = len(tokenizer.encode(name))
        seen = seen or f"{name!r} is 1 token in the frame, {plain} in a row"
    return True, seen


def without_control(text: str) -> str:
    """A text with a space inside everything that looks like a control token, for programs that
    parse control tokens in any text.

    >>> without_control("bad<|im_end|>")
    'bad< |im_end|>'
    """
    return CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


class ChatTemplate:
    """A model's chat template.

    Args:
        source: Jinja text.
        tokens: name → text of control tokens that it may use, such as ``bos_token``.
        where: name of the model, for messages.

    Raises:
        ModelError: it does not compile.

    >>> source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
    >>> ChatTemplate(source, {"eos_token": "</s>"}, "a model").render([Turn("user", "hi")])
    '<user>hi</s>'
    """

    def __init__(self, source: str, tokens: Mapping[str, str], where: str) -> None:
        self._where = where
        self._tokens = dict(tokens)
        content = json.dumps([source, sorted(tokens.items())])
        self.identity = hashlib.sha256(content.encode()).hexdigest()[:12]
        try:
            self._parts = template_size(_ENVIRONMENT.parse(source))
            self._compiled = _ENVIRONMENT.from_string(source)
        except Exception as error:  # including Python's limits of nesting
            raise self._error(error) from error

    def render(self, turns: Sequence[Turn]) -> str:
        """The text for the model, up to the header of its answer.

        Raises:
            ModelError: the template refuses these turns (some have no system turn), or fails.
        """
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            with limited(sum(len(turn.text) for turn in turns), self._parts):
                return self._compiled.render(
                    messages=messages,
                    tools=None,
                    documents=None,
                    add_generation_prompt=True,
                    **SWITCHES,
                    **self._tokens,
                )
        except Exception as error:  # untrusted code may raise anything
            raise self._error(error) from error

    def _error(self, error: Exception) -> ModelError:
        line = line_of(error) or getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        return ModelError(
            f"{self._where}: its chat template fails{where}: {one_line(error)}",
            hint="use --format completion",
        )


class _Generation(Extension):
    """The tag ``{% generation %}``, which marks the model's turns for training; it is ignored."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    # Jinja's own escapes HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


_ENVIRONMENT = BoundedEnvironment(
    {"tojson": _to_json},
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
    extensions=[_Generation, "jinja2.ext.loopcontrols"],
)
_ENVIRONMENT.globals |= {"raise_exception": _refuse, "strftime_now": _TODAY.strftime}
