"""GGUF files: the files of a model, the choice between several models, and the header."""

from __future__ import annotations

import mmap
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecomfs.errors import MissingFileError, ModelError

DEFAULT_QUANT = "Q4_K_M"

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})$")
_QUANT = re.compile(
    r"(?<![A-Z0-9])(?:UD-)?"
    r"(?:I?Q\d(?:_(?:\d|K|XXS|XS|S|M|L|XL|NL|P))*|TQ[12]_0|(?:MX|NV)FP4(?:_MOE)?|BF16|FP?16|FP?32)"
    r"(?![A-Z0-9])",
    re.IGNORECASE,
)
_NO_MODELS = ("mmproj", "imatrix")
"""Prefixes of GGUF files that are not language models: image encoders, statistics."""
_GGUF_HINT = "a GGUF model starts with the bytes 'GGUF'; see 'ecomfs models'"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a repository or folder: relative path with ``/``, size in bytes, and SHA-256 in hex
    (empty if unknown)."""

    path: str
    size: int
    sha256: str = ""


def choose_files(files: Iterable[ModelFile], quant: str, where: str) -> list[ModelFile]:
    """The files of one model, chosen by quantisation or file name.

    Args:
        files: all files of a repository or folder.
        quant: a quantisation such as ``Q4_K_M``, in upper or lower case, or a file name or path.
            Empty: Q4_K_M, else the smallest model of at least 4 bits per weight.
        where: the repository or folder as a spec, for messages.

    Returns:
        One file, or all parts of a split model in order.

    Raises:
        ModelError: there is no GGUF file, none of that quantisation, more than one, or a part of
            a split model is missing.

    >>> files = [ModelFile("m-Q2_K.gguf", 2), ModelFile("m-Q5_K_M.gguf", 5),
    ...          ModelFile("m-Q8_0.gguf", 8)]
    >>> choose_files(files, "", "gguf:a/b")[0].path, choose_files(files, "q8_0", "gguf:a/b")[0].path
    ('m-Q5_K_M.gguf', 'm-Q8_0.gguf')
    """
    models = models_of(files)
    if not models:
        raise ModelError(
            f"{where}: there is no GGUF file",
            hint="GGUF repositories often end in -GGUF; for safetensors: transformers:ORG/REPO",
        )
    found = _named(models, quant or DEFAULT_QUANT) or ([] if quant else _smallest(models))
    if not found:
        what = f"no GGUF file is {quant}" if quant else "no GGUF file has at least 4 bits"
        raise ModelError(f"{where}: {what}", hint=_choices(models, where))
    if len(found) > 1:
        names = [f"{where}:{name}" for name in found]
        raise ModelError(
            f"{where}: {len(found)} GGUF files are {quant or quant_of(found[0])}",
            hint=f"choose one of them: {', '.join(names)}",
        )
    name = found[0]
    parts = sorted(models[name], key=lambda file: file.path)
    check_parts([file.path for file in parts], where)
    return parts


def models_of(files: Iterable[ModelFile]) -> dict[str, list[ModelFile]]:
    """Path of a model's first file → all its files."""
    models: dict[str, list[ModelFile]] = defaultdict(list)
    for file in files:
        name = PurePosixPath(file.path).name.lower()
        if name.endswith(".gguf") and not name.startswith((*_NO_MODELS, ".")):
            first = _SPLIT.sub(r"-00001-of-\2", _stem(file.path)) + file.path[-len(".gguf") :]
            models[first].append(file)
    return models


def quant_of(name: str) -> str:
    """The quantisation in a file name, in upper case; empty if it has none.

    >>> quant_of("Q4/Qwen3-8B-UD-Q4_K_XL-00001-of-00002.gguf"), quant_of("m.iq3_xxs.gguf")
    ('UD-Q4_K_XL', 'IQ3_XXS')
    >>> quant_of("model.gguf")
    ''
    """
    found = _QUANT.findall(PurePosixPath(name).name)
    return found[-1].upper() if found else ""


def check_parts(paths: list[str], where: str) -> None:
    """Check that no part of a split model is missing; ``paths`` are sorted."""
    match = _SPLIT.search(_stem(paths[0]))
    if match is None:
        return
    name = PurePosixPath(paths[0]).name
    there = {_stem(path)[-14:-9] for path in paths}
    for number in range(1, int(match[2]) + 1):
        if f"{number:05d}" not in there:
            raise ModelError(
                f"{where}: part {number} of {int(match[2])} of {name} is missing",
                hint="put all parts of the model into one folder",
            )


def split_parts(file: Path) -> list[Path]:
    """All files of a GGUF model on disk, given the first or only one.

    Raises:
        ModelError: ``file`` is a later part of a split model, or a part is missing.
    """
    match = _SPLIT.search(file.stem)
    if match is None:
        return [file]
    total = int(match[2])
    names = [f"{_SPLIT.sub('', file.stem)}-{n:05d}-of-{match[2]}.gguf" for n in range(1, total + 1)]
    if int(match[1]) != 1:
        raise ModelError(f"{file}: a later part of a split model", hint=f"name {names[0]}")
    parts = [file.with_name(name) for name in names]
    check_parts([p.name for p in parts if p.is_file()] or [file.name], str(file.parent))
    return parts


def files_in(folder: Path) -> list[ModelFile]:
    """The GGUF files in a folder and its subfolders."""
    return [
        ModelFile(path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".gguf" and path.is_file()
    ]


def _stem(path: str) -> str:
    return path[: -len(".gguf")]


def _named(models: Iterable[str], quant: str) -> list[str]:
    """The models that match a path, else a file name, else a quantisation."""
    for text_of in (
        str,
        lambda name: PurePosixPath(name).name,
        quant_of,
        lambda name: quant_of(name).removeprefix("UD-"),
    ):
        if found := [name for name in models if text_of(name).casefold() == quant.casefold()]:
            return found
    return []


def _smallest(models: Mapping[str, list[ModelFile]]) -> list[str]:
    if len(models) == 1 and not quant_of(next(iter(models))):
        return list(models)
    sizes = {
        name: sum(file.size for file in files)
        for name, files in models.items()
        if (bits := re.search(r"\d+", quant_of(name))) and int(bits[0]) >= 4
    }
    if not sizes:
        return []
    best = min(sizes, key=lambda name: sizes[name])
    return [name for name in sizes if quant_of(name) == quant_of(best)]


def _choices(models: Iterable[str], where: str) -> str:
    quants = list(dict.fromkeys(quant_of(name) or PurePosixPath(name).name for name in models))
    return f"{where}:QUANT with QUANT one of: {', '.join(sorted(quants))}"


def check_gguf(file: Path) -> None:
    """Refuse a file that is not GGUF, before C++ code reads it.

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


_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def header_text(file: Path, key: str) -> str | None:
    """Value of a text key in the header of a GGUF file; ``None`` if it has no such key.

    The model is not loaded. The ``gguf`` package reads the whole vocabulary into Python objects,
    which takes half a minute for 200,000 tokens; here it is skipped.

    Raises:
        ModelError: the header is incomplete or has an unknown format.

    >>> header_text(Path("model.gguf"), "tokenizer.chat_template")        # doctest: +SKIP
    '{% for message in messages %}...'
    """
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            if data[:4] != b"GGUF" or _U32.unpack_from(data, 4)[0] not in (2, 3):
                raise ValueError("not GGUF 2 or 3")
            (count,) = _U64.unpack_from(data, 16)
            at = 24
            for _ in range(count):
                name, at = _header_text(data, at)
                (kind,) = _U32.unpack_from(data, at)
                if kind == _STRING and name == key:
                    return _header_text(data, at + 4)[0]
                at = _after_value(data, at + 4, kind)
            return None
    except (struct.error, ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"{file}: the header of this GGUF file cannot be read",
            hint="the file may be incomplete: download it again",
        ) from error


def _header_text(data: mmap.mmap, at: int) -> tuple[str, int]:
    (size,) = _U64.unpack_from(data, at)
    end = at + 8 + size
    if end > len(data):
        raise ValueError("cut short")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _after_value(data: mmap.mmap, at: int, kind: int) -> int:
    """The offset after a value."""
    if kind == _STRING:
        return at + 8 + int(_U64.unpack_from(data, at)[0])
    if kind != _ARRAY:
        return at + _SIZES[kind]
    (inner,) = _U32.unpack_from(data, at)
    (count,) = _U64.unpack_from(data, at + 4)
    at += 12
    if inner in _SIZES:
        return at + _SIZES[inner] * int(count)
    for _ in range(count):
        at = _after_value(data, at, inner)
    return at
