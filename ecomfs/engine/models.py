"""Finds models by name: packaged ones, GGUF files, models of hubs, Hugging Face folders, and GGUF
models converted to such folders for runtimes that cannot read GGUF."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.core.messages import first_line
from ecomfs.core.progress import Progress, silent
from ecomfs.engine.files import hub_cache, models_dir
from ecomfs.engine.gguf import check_gguf, choose_files, files_in
from ecomfs.engine.hub import downloaded, hub_file, parse_hub_name
from ecomfs.engine.packaged import PACKAGED, installed_file, packaged_model
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError, ModelError

_INSTALL = "pip install 'ecomfs[transformers]'"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on this machine, or one that a single command installs.

    Attributes
    ----------
    spec : str
        Value for ``--engine``.
    about : str
        One-line description.
    path : pathlib.Path or None
        Its file or folder; ``None`` while it is not installed or not assembled.
    install : str
        Command to run first; empty if it is ready.
    size : int or None
        Size of its files in bytes; ``None`` if unknown.
    languages : str
        Languages that it reads well; empty if unknown.
    licence : str
        Licence of the weights; empty if unknown.
    notice : str
        Text that its licence requires to be shown.

    Examples
    --------
    >>> LocalModel("gguf:m.gguf", "a file", Path("m.gguf")).ready
    True
    """

    spec: str
    about: str
    path: Path | None
    install: str = ""
    size: int | None = None
    languages: str = ""
    licence: str = ""
    notice: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing is left to install."""
        return not self.install


def gguf_file(name: str) -> Path:
    """The GGUF file for a name.

    Args:
        name: a file; a folder of GGUF files, with or without ``:QUANT``; a packaged model; or
            ``ORG/REPO[:QUANT]`` of a hub (:mod:`ecomfs.engine.hub`), downloaded if needed.

    Raises:
        MissingFileError, ModelError: there is no such file or model.
        EngineUnavailableError: the model is not on this machine and cannot be downloaded now.
    """
    if name in PACKAGED:
        return packaged_model(name)
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder, colon, quant = name.rpartition(":")
    place = Path(folder).expanduser() if colon else path
    if place.is_dir() and (files := files_in(place)):
        return place / choose_files(files, quant if colon else "", f"gguf:{place}")[0].path
    model = None if place.is_dir() else parse_hub_name(name)
    return path if model is None else hub_file(model)


def get_model(name: str, *, progress: Progress = silent) -> Path:
    """Download the newest version of a model and return its GGUF file. Files that are on this
    machine are not downloaded again.

    Args:
        name: a packaged model or ``ORG/REPO[:QUANT]`` of a hub, with or without ``gguf:``.
        progress: reports downloads.

    Raises:
        ConfigError: the name is not that of such a model.
        EngineError: see :func:`packaged_model` and :func:`ecomfs.engine.hub.hub_file`.

    >>> get_model("gpt")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 'gpt' names no model to download (...)
    """
    bare = name.removeprefix("gguf:")
    if bare in PACKAGED:
        return packaged_model(bare, download=True, progress=progress)
    model = parse_hub_name(bare)
    if model is None:
        raise ConfigError(
            f"{name!r} names no model to download",
            hint=f"one of {', '.join(PACKAGED)}, or ORG/REPO[:QUANT] of a hub; transformers:ID is "
            "downloaded when it is first used",
        )
    return hub_file(model, refresh=True, progress=progress)


def available_models() -> list[LocalModel]:
    """Models on this machine, and packaged models that can be installed. Nothing is assembled,
    downloaded or loaded.

    Returns
    -------
    list of LocalModel
        Packaged models (ready or not), models downloaded from hubs, GGUF files and Hugging Face
        folders in the cache folder, and models in Hugging Face's own cache.

    Examples
    --------
    >>> [model.spec for model in available_models()][:2]
    ['gguf:demo', 'gguf:smollm2']
    """
    return [*_packaged(), *_from_hubs(), *_unpacked()]


def _packaged() -> list[LocalModel]:
    found = []
    for model in PACKAGED.values():
        whole = models_dir() / model.file
        parts = [installed_file(file) for file in model.parts.values()]
        path = whole if whole.is_file() else parts[0] if len(parts) == 1 else None
        found.append(
            LocalModel(
                spec=f"gguf:{model.name}",
                about=model.about,
                path=path,
                install="" if path or None not in parts else model.install,
                size=model.size,
                languages=model.languages,
                licence=model.licence,
                notice=model.notice,
            )
        )
    return found


def _from_hubs() -> list[LocalModel]:
    found = [
        LocalModel(
            spec,
            "from ModelScope" if spec.startswith("gguf:modelscope:") else "from the hub",
            path,
            size=sum(file.size for file in listing.files),
            licence=listing.licence,
        )
        for spec, listing, path in downloaded()
    ]
    for folder in sorted(hub_cache().glob("models--*")):
        if any(folder.glob("snapshots/*/config.json")):
            name = folder.name.removeprefix("models--").replace("--", "/", 1)
            found.append(LocalModel(f"transformers:{name}", "from the hub", folder))
    return found


def _unpacked() -> list[LocalModel]:
    known = {model.file for model in PACKAGED.values()}
    files = [f for f in sorted(models_dir().glob("*.gguf")) if f.name not in known]
    folders = [config.parent for config in sorted(models_dir().glob("*/config.json"))]
    return [
        *(LocalModel(f"gguf:{f}", "file in the cache", f, size=f.stat().st_size) for f in files),
        *(LocalModel(f"transformers:{f}", "Hugging Face folder in the cache", f) for f in folders),
    ]


def check_folder(name: str) -> None:
    """Refuse a name that is neither a model folder nor a possible hub id, before transformers asks
    the hub."""
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


def huggingface_source(model: str) -> str:
    """The model in a form that vLLM can serve: a Hugging Face folder or hub id unchanged; a GGUF
    model (packaged, or a file) converted to a folder in the cache.

    >>> huggingface_source("Qwen/Qwen3-8B")
    'Qwen/Qwen3-8B'
    >>> huggingface_source("no-such-model")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-model: no such folder ...
    """
    if model in PACKAGED or model.endswith(".gguf"):
        file = packaged_model(model) if model in PACKAGED else Path(model)
        return str(to_huggingface(file, models_dir() / file.stem))
    path = Path(model).expanduser()
    if path.is_dir():
        check_folder(model)
        return str(path)
    if path.exists() or not _HUB_ID.fullmatch(model):
        raise MissingFileError(
            f"{model}: no such folder",
            hint=f"a Hugging Face folder, a hub id such as Qwen/Qwen3-8B, or {', '.join(PACKAGED)}",
        )
    return model


def to_huggingface(gguf: Path, folder: Path) -> Path:
    """Convert a GGUF model to a Hugging Face folder; an existing folder is only checked.

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
            # Another process may have converted the same file in the meantime: its folder is
            # complete, because it is renamed at the end.
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
    """Write the tokenizer of a GGUF model to a folder in Hugging Face's format.

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
    """Set BOS, which the conversion loses, in the configuration (for vLLM and transformers) and in
    the post-processor (for the ``tokenizers`` library)."""
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
    """Check that the tokenizer of a converted folder adds BOS exactly if the GGUF file says so."""
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
    """Whether the GGUF file requires BOS, and the id of BOS."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    kind = fields.get("tokenizer.ggml.model")
    add = fields.get("tokenizer.ggml.add_bos_token")
    bos = fields.get("tokenizer.ggml.bos_token_id")
    # Without the key, llama.cpp's default applies: SentencePiece models begin with BOS.
    wanted = bool(add.contents()) if add else bool(kind and kind.contents() == "llama")
    return wanted and bos is not None, int(bos.contents()) if bos else -1
