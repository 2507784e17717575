"""Builds the prompt of a row and its demonstrations within the token budget, from sandboxed
templates."""

from ecomfs.prompt.builder import PromptBuilder, PromptInput
from ecomfs.prompt.chat import ChatFormat
from ecomfs.prompt.fence import Fence
from ecomfs.prompt.template import ANSWER_PLACEHOLDER, Template

__all__ = ["ANSWER_PLACEHOLDER", "ChatFormat", "Fence", "PromptBuilder", "PromptInput", "Template"]
