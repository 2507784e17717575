"""Models by name: packaged ones, GGUF files, models of hubs, Hugging Face folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ecomfs.core.progress import Progress, silent
from ecomfs.engine.conversion import to_huggingface
from ecomfs.engine.files import hub_cache, models_dir
from ecomfs.engine.gguf import choose_files, files_in
from ecomfs.engine.hub import downloaded, hub_file, parse_hub_name
from ecomfs.engine.packaged import PACKAGED, installed_file, packaged_model
from ecomfs.errors import ConfigError, MissingFileError, ModelError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that can be used on this machine, or be had by one command.

    Attributes
    ----------
    spec : str
        Value for ``--engine``.
    about : str
        One line about it.
    path : pathlib.Path or None
        Its file or folder; ``None`` while it is not installed or not put together.
    install : str
        Command to run first; empty when it is ready.
    size : int or None
        Bytes of its files; ``None`` when unknown.
    languages : str
        That it reads well; empty when unknown.
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
    size: int | None = None
    languages: str = ""
    licence: str = ""
    notice: str = ""

    @property
    def ready(self) -> bool:
        """Nothing is left to install."""
        return not self.install


def gguf_file(name: str) -> Path:
    """The GGUF file that a name stands for.

    Args:
        name: a file; a folder of GGUF files, with ``:QUANT`` or without; a packaged model; or
            ``ORG/REPO[:QUANT]`` of a hub (:mod:`ecomfs.engine.hub`), downloaded if it is not here.

    Raises:
        MissingFileError, ModelError: there is no such file or model.
        EngineUnavailableError: it is not on this machine and cannot be downloaded now.

    >>> gguf_file("no-such.gguf").name
    'no-such.gguf'
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
    """Download a model, or its newest version; what is here already is not downloaded again.

    Args:
        name: a packaged model or ``ORG/REPO[:QUANT]`` of a hub, with ``gguf:`` or without.
        progress: told what is downloaded.

    Returns:
        Its GGUF file.

    Raises:
        ConfigError: it names no such model.
        EngineError: as of :func:`packaged_model` and :func:`ecomfs.engine.hub.hub_file`.

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
    """Models on this machine, and packaged ones that one command gets; nothing is put together,
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
    folder = models_dir()
    files = [f for f in sorted(folder.glob("*.gguf")) if f.name not in known]
    configs = sorted(folder.glob("*/config.json"))
    return [
        *(LocalModel(f"gguf:{f}", "file in the cache", f, size=f.stat().st_size) for f in files),
        *(
            LocalModel(f"transformers:{c.parent}", "Hugging Face folder in the cache", c.parent)
            for c in configs
        ),
    ]


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
        check_folder(model)
        return str(path)
    if path.exists() or not _HUB_ID.fullmatch(model):
        raise MissingFileError(
            f"{model}: no such folder",
            hint=f"a Hugging Face folder, a hub id such as Qwen/Qwen3-8B, or {', '.join(PACKAGED)}",
        )
    return model
