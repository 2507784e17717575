"""A GGUF model as a Hugging Face folder, for runtimes that read no GGUF: converted once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecomfs.core.words import first_line
from ecomfs.engine.gguf import check_gguf
from ecomfs.errors import EngineUnavailableError, ModelError

_INSTALL = "pip install 'ecomfs[transformers]'"


def to_huggingface(gguf: Path, folder: Path) -> Path:
    """Convert a GGUF model to a Hugging Face folder, once.

    Args:
        gguf: the model file.
        folder: the target; an existing one is only checked.

    Returns:
        ``folder``.

    Raises:
        MissingFileError, ModelError: ``gguf`` is not a model, its architecture is not known to
            transformers, or the converted tokenizer does not match the GGUF file.
        EngineUnavailableError: the ``transformers`` extra is not installed.
    """
    check_gguf(gguf)
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _convert(gguf, work)
            os.replace(work, folder)
        except OSError as error:
            # Another process may have converted the same file meanwhile: its folder is whole,
            # because it came by a rename.
            if not (folder / "config.json").is_file():
                raise ModelError(
                    f"{folder}: the converted model cannot be written: {error.strerror or error}",
                    hint="free disk space, or set ECOMFS_CACHE to a folder with room",
                ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    check_bos(gguf, folder)
    return folder


def _convert(gguf: Path, work: Path) -> None:
    transformers = _transformers()
    import torch

    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    with _reading(gguf):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            dtype=torch.float32,
            # Without it the model keeps quantised tensors, which cannot be saved.
            quantization_config=transformers.GgufConfig(dequantize=True),
            **source,
        )
    model.save_pretrained(work)
    tokenizer_to_huggingface(gguf, work)


def tokenizer_to_huggingface(gguf: Path, folder: Path) -> Path:
    """Write the tokenizer of a GGUF model into a folder, as Hugging Face's programs read it.

    Args:
        gguf: the model file.
        folder: where to write; made if need be.

    Raises:
        MissingFileError, ModelError: ``gguf`` is not a model, or transformers does not know its
            architecture.
        EngineUnavailableError: the ``transformers`` extra is not installed.

    >>> tokenizer_to_huggingface(Path("no-such.gguf"), Path("out"))
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such.gguf: no such file (see 'ecomfs models')
    """
    check_gguf(gguf)
    transformers = _transformers()
    with _reading(gguf):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, local_files_only=True
        )
    tokenizer.save_pretrained(folder)
    _restore_bos(gguf, folder)
    return folder


def _transformers() -> Any:
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise EngineUnavailableError(
            f"converting a GGUF model needs {error.name}, which is not installed", hint=_INSTALL
        ) from error
    return transformers


@contextmanager
def _reading(gguf: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(
            f"{gguf}: transformers cannot read this GGUF model: {first_line(error)}",
            hint="use gguf:<file> itself, or the model's original Hugging Face folder",
        ) from error


def _restore_bos(gguf: Path, folder: Path) -> None:
    """Set BOS, which the conversion loses: in the configuration, which vLLM and transformers read,
    and in the post-processor, which the ``tokenizers`` library reads."""
    wanted, bos = _bos_of(gguf)
    config_file = folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["add_bos_token"] = wanted
    config["add_eos_token"] = False
    config_file.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
    if wanted:
        from tokenizers import Tokenizer
        from tokenizers.processors import TemplateProcessing

        file = str(folder / "tokenizer.json")
        tokenizer = Tokenizer.from_file(file)
        name = tokenizer.id_to_token(bos)
        tokenizer.post_processor = TemplateProcessing(
            single=f"{name} $A", pair=f"{name} $A {name} $B", special_tokens=[(name, bos)]
        )
        tokenizer.save(file)


def check_bos(gguf: Path, folder: Path) -> None:
    """Check that a converted folder's tokenizer adds BOS as the GGUF file says.

    Raises:
        ModelError: it does not.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise EngineUnavailableError(
            "checking a converted model needs transformers, which is not installed", hint=_INSTALL
        ) from error
    wanted, bos = _bos_of(gguf)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    plain = list(tokenizer("The", add_special_tokens=False)["input_ids"])
    if list(tokenizer("The")["input_ids"]) != [bos] * wanted + plain:
        raise ModelError(
            f"{folder}: the tokenizer {'lacks' if wanted else 'adds'} the beginning-of-sequence "
            "token",
            hint=f"remove {folder} and convert again",
        )


def _bos_of(gguf: Path) -> tuple[bool, int]:
    """Whether the GGUF file wants BOS, and its id."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    kind = fields.get("tokenizer.ggml.model")
    add = fields.get("tokenizer.ggml.add_bos_token")
    bos = fields.get("tokenizer.ggml.bos_token_id")
    # Without the key, llama.cpp's default applies: SentencePiece models begin with BOS.
    wanted = bool(add.contents()) if add else bool(kind and kind.contents() == "llama")
    return wanted and bos is not None, int(bos.contents()) if bos else -1
