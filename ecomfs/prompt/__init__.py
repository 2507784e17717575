"""A row and its demonstrations to a prompt within the token budget: sandboxed templates."""

from ecomfs.prompt.builder import PromptBuilder, PromptInput
from ecomfs.prompt.chat import ChatFormat
from ecomfs.prompt.fence import Fence
from ecomfs.prompt.template import PROBE, Template

__all__ = ["PROBE", "ChatFormat", "Fence", "PromptBuilder", "PromptInput", "Template"]
