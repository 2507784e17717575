"""Chat templates: how a model is asked in turns.

A chat template is Jinja text that comes with a model and puts turns into the model's own frame of
control tokens. It is foreign code: it runs in Jinja's immutable sandbox within limits
(:mod:`ecomfs.core.sandbox`), with the few helpers that such templates expect. Row text never passes
through it (:mod:`ecomfs.prompt.chat`).
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
"""The names under which templates switch thinking off: Qwen 3, GLM and SmolLM3; DeepSeek and
Granite."""

CONTROL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")
"""What control tokens look like: <|im_start|>, <bos>, </s>, <start_of_turn>, [INST], <|eot_id|>"""

_TODAY = date(2024, 7, 26)
"""What templates take for today: a reading must not depend on the day. (Llama's own default.)"""


@dataclass(frozen=True, slots=True)
class ChatModel:
    """How a model is asked in turns.

    Attributes:
        identity: hash of what decides the frame.
        render: turns → the text that the model is given, up to the header of its answer;
            ``None``: turns are sent to a provider, which renders them.
        encode: token ids of a part of the frame, with its control tokens; ``None`` as above.
    """

    identity: str
    render: Callable[[Sequence[Turn]], str] | None = None
    encode: Callable[[str], list[int]] | None = None


@runtime_checkable
class SupportsChat(Protocol):
    """An engine whose model may have a chat template."""

    @property
    def chat(self) -> ChatModel | None:
        """``None``: the model has none."""
        ...


def chat_model(engine: Engine) -> ChatModel | None:
    """How an engine's model is asked in turns; ``None`` where it cannot be."""
    return engine.chat if isinstance(engine, SupportsChat) else None


def frame_checked(model: ChatModel, tokenizer: Tokenizer | None) -> tuple[bool, str]:
    """Whether every border between turns has a control token that a row's text cannot become, and
    what was seen.

    Args:
        model: what renders and encodes the frame.
        tokenizer: what encodes the rows.

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
    """A text in which nothing looks like a control token, for programs that read those in any text:
    a space breaks it up.

    >>> without_control("bad<|im_end|>")
    'bad< |im_end|>'
    """
    return CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


class ChatTemplate:
    """A model's chat template.

    Args:
        source: Jinja text.
        tokens: text of the control tokens that it may name, such as ``bos_token``.
        where: the model, for messages.

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
        except Exception as error:  # Python's own limits of nesting among them
            raise self._error(error) from error

    def render(self, turns: Sequence[Turn]) -> str:
        """The text that the model is given, up to the header of its answer.

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
        except Exception as error:  # whatever foreign code raises
            raise self._error(error) from error

    def _error(self, error: Exception) -> ModelError:
        line = line_of(error) or getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        return ModelError(
            f"{self._where}: its chat template fails{where}: {one_line(error)}",
            hint="use --format completion",
        )


class _Generation(Extension):
    """``{% generation %}``, with which templates mark the model's turns for training."""

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
