"""A GGUF file as a Hugging Face folder, for vLLM and transformers.

The weights are those of the GGUF file made wide again (float32 of the quantised values), so both
engines read the same model as llama.cpp does, up to its int8 activations.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ecomfs.engine.llama.engine import check_gguf
from ecomfs.errors import EngineUnavailableError, ModelError

_INSTALL = "pip install 'ecomfs[transformers]'"


def to_huggingface(gguf: Path, folder: Path) -> Path:
    """Convert a GGUF model to a Hugging Face folder, once.

    Args:
        gguf: the model file.
        folder: where the folder shall stand; when it is there already it is only checked.

    Returns:
        ``folder``.

    Raises:
        MissingFileError, ModelError: ``gguf`` is not a model, its architecture is not known to
            transformers, or the converted tokenizer does not do what the GGUF file says.
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
            raise ModelError(
                f"{folder}: the converted model cannot be written: {error.strerror or error}",
                hint="free disk space, or set ECOMFS_CACHE to a folder with room",
            ) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    check_bos(gguf, folder)
    return folder


def _convert(gguf: Path, work: Path) -> None:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise EngineUnavailableError(
            f"converting a GGUF model needs {error.name}, which is not installed", hint=_INSTALL
        ) from error
    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            dtype=torch.float32,
            # Without it the model keeps quantised tensors, which cannot be saved.
            quantization_config=GgufConfig(dequantize=True),
            **source,
        )
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(
            f"{gguf}: transformers cannot read this GGUF model: {str(error).splitlines()[0]}",
            hint="use gguf:<file> itself, or the model's original Hugging Face folder",
        ) from error
    model.save_pretrained(work)
    tokenizer.save_pretrained(work)
    _restore_bos(gguf, work)


def _restore_bos(gguf: Path, folder: Path) -> None:
    """The conversion forgets that the model wants BOS; a model trained with it babbles without.
    Both places are set: vLLM and transformers read the configuration, the ``tokenizers`` library
    reads the post-processor."""
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
    """Prove that a converted folder's tokenizer begins texts as the GGUF file says.

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
    # Files that do not say follow llama.cpp's default: SentencePiece models begin with BOS.
    wanted = bool(add.contents()) if add else bool(kind and kind.contents() == "llama")
    return wanted and bos is not None, int(bos.contents()) if bos else -1
