"""Prompts: sandboxed templates and the token budget."""

from ecomfs.prompt.builder import PromptBuilder, cue
from ecomfs.prompt.template import Template

__all__ = ["PromptBuilder", "Template", "cue"]
