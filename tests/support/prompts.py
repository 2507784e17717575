"""Prompts for the tests of engines."""

from __future__ import annotations

from ecomfs.engine.protocol import Tokenizer
from ecomfs.types import Prompt, TemplateRef

TEMPLATE = TemplateRef("test", "0" * 12)
PREFIX = "Each line is a review and its label.\n" + "".join(
    f"Review: order {n} came in time and works well\nLabel: positive\n" for n in range(6)
)


def review(tokenizer: Tokenizer, text: str, prefix: str = PREFIX) -> Prompt:
    """A few-shot prompt that asks for the label of a review."""
    whole = f"{prefix}Review: {text}\nLabel:"
    return Prompt(whole, TEMPLATE, tuple(tokenizer.encode(whole, bos=True)))


def of_tokens(*ids: int) -> Prompt:
    """A prompt of given tokens."""
    return Prompt("", TEMPLATE, ids)
