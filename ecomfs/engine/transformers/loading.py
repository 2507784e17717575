"""Loading a Hugging Face model and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecomfs.core.openmp import sleeping_threads
from ecomfs.core.words import first_line
from ecomfs.engine.chat import ChatModel, ChatTemplate
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError, ModelError

_PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def check_folder(name: str) -> None:
    """Refuse what is neither a model folder nor a possible hub id, before transformers asks the
    hub for it."""
    path = Path(name).expanduser()
    if path.is_file():
        raise ModelError(
            f"{name}: a file, not a model folder", hint=f"for a GGUF file: gguf:{name}"
        )
    if path.is_dir() and not (path / "config.json").is_file():
        raise ModelError(
            f"{name}: not a Hugging Face model folder: it has no config.json",
            hint="see 'ecomfs models'",
        )
    if not path.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise MissingFileError(f"{name}: no such folder", hint="see 'ecomfs models'")


def runtime() -> tuple[Any, Any]:
    """The torch and transformers modules."""
    try:
        with sleeping_threads():
            import torch
        import transformers
    except ImportError as error:
        raise EngineUnavailableError(
            f"this engine needs {error.name}, which is not installed",
            hint="pip install 'ecomfs[transformers]'",
        ) from error
    return torch, transformers


def pick_device(torch: Any, name: str) -> Any:
    """The torch device of that name; ``auto``: CUDA, then MPS, then CPU."""
    if name == "auto":
        name = "cpu"
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used", hint="device=auto or cpu") from error
    return device


def pick_precision(torch: Any, dtype: str, device: Any) -> Any:
    """What ``from_pretrained`` takes for ``dtype``."""
    if dtype not in _PRECISIONS:
        raise ConfigError(f"dtype {dtype!r}", hint=f"one of: {', '.join(_PRECISIONS)}")
    if dtype == "auto":
        # Many CPUs compute bfloat16 many times slower.
        return torch.float32 if device.type == "cpu" else "auto"
    return getattr(torch, dtype)


def load_model(transformers: Any, name: str, precision: Any) -> Any:
    """The causal language model; code from its folder is never run."""
    transformers.utils.logging.disable_progress_bar()
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            name, dtype=precision, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name}: transformers cannot load this model: {first_line(error)}",
            hint="a folder with config.json and weights, or a hub id that can be reached",
        ) from error


class HfTokenizer:
    """A model's own tokenizer through transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        plain = self.encode("a")
        whole = list(tokenizer("a", add_special_tokens=True)["input_ids"])
        self._bos = whole[: whole.index(plain[0])] if plain and plain[0] in whole else []

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids; text that looks like a control token stays plain text."""
        return self.encode_all([text], bos=bos)[0]

    def encode_all(self, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
        """See :meth:`ecomfs.engine.protocol.SupportsBatchEncoding.encode_all`."""
        if not texts:
            return []
        options = {"add_special_tokens": False, "split_special_tokens": True}
        found = self._tokenizer(list(texts), **options)["input_ids"]
        return [[*self._bos, *ids] if bos else list(ids) for ids in found]

    def encode_control(self, text: str) -> list[int]:
        """Token ids of a part of a chat template's frame: control tokens in it are parsed."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def chat_model(self, where: str) -> ChatModel | None:
        """How the model is asked in turns; ``None``: its folder has no chat template."""
        source = getattr(self._tokenizer, "chat_template", None)
        if isinstance(source, dict):  # several, by use
            source = source.get("default")
        if not source:
            return None
        named = self._tokenizer.special_tokens_map
        tokens = {name: str(token) for name, token in named.items() if name.endswith("_token")}
        template = ChatTemplate(source, tokens, where)
        return ChatModel(template.identity, template.render, self.encode_control)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, control tokens included."""
        return self._text(ids, skip=False)

    def plain(self, ids: Sequence[int]) -> str:
        """Text of token ids without control tokens."""
        return self._text(ids, skip=True)

    def _text(self, ids: Sequence[int], *, skip: bool) -> str:
        options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": False}
        return str(self._tokenizer.decode(list(ids), **options))
