"""Engines: they return log-probabilities of tokens, or text, for a prompt.

Runtimes: ``llama`` (GGUF files), ``transformers``, ``vllm`` (served, and in this process) and
``litellm`` (hosted models). No runtime is imported before an engine is opened.
"""

from ecomfs.engine.factory import ENGINES, open_engine
from ecomfs.engine.models import LocalModel, available_models
from ecomfs.engine.protocol import Capabilities, Engine, Sampling, Tokenizer
from ecomfs.engine.shared import shared_engine

__all__ = [
    "ENGINES",
    "Capabilities",
    "Engine",
    "LocalModel",
    "Sampling",
    "Tokenizer",
    "available_models",
    "open_engine",
    "shared_engine",
]
