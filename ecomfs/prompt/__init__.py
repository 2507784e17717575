"""Prompts: sandboxed templates and the token budget."""

from ecomfs.prompt.builder import Asked, PromptBuilder, cue
from ecomfs.prompt.template import Template

__all__ = ["Asked", "PromptBuilder", "Template", "cue"]
