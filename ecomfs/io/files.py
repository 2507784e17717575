"""Open an input file for reading, with errors a person can act on."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, cast

from ecomfs.errors import InputError, MissingFileError
from ecomfs.io.encoding import Encoding, choose_encoding
from ecomfs.io.table_optional import optional_module
from ecomfs.io.text_files import say_once

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


def choose_encoding_of(path: Path, stream: BinaryIO, given: str | None) -> tuple[Encoding, bytes]:
    """The encoding of a table's stream, and the head that was read to find it; what a person
    should know about it is logged.

    Raises:
        DecodingError, ConfigError: see :func:`ecomfs.io.encoding.choose_encoding`.
    """
    found, head = choose_encoding(stream, given, source=path.name)
    if found.note:
        guessed = given is None
        mend = "; if that is wrong, name the encoding with --input-encoding" if guessed else ""
        say_once(path, found.note + mend)
    return found, head


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes from the start; gzip and zstd are unpacked on the way.

    Raises:
        MissingFileError: there is no such file, it is a folder, or it may not be read.
        InputError: the compressed data is damaged.
        ConfigError: a zstd file, and the package for it is not installed.
    """
    check_file(path)
    try:
        with path.open("rb") as raw, _unpacked(raw) as stream:
            yield stream
    except PermissionError as problem:
        hint = "check its permissions"
        raise MissingFileError(f"{path}: it may not be read", hint=hint) from problem


def stored_size(path: Path) -> int | None:
    """Size in bytes; ``None`` for compressed files, which do not tell how much text they hold."""
    with path.open("rb") as raw:
        return None if raw.read(4).startswith((_GZIP, _ZSTD)) else path.stat().st_size


def check_file(path: Path) -> None:
    """Raise :class:`MissingFileError` unless ``path`` is an existing file."""
    if path.is_file():
        return
    if path.is_dir():
        raise MissingFileError(f"{path}: this is a folder, not a file", hint="name a file in it")
    if path.exists():  # a pipe or a device cannot be read twice, and the reader looks first
        raise MissingFileError(f"{path}: not a regular file", hint="save it to a file first")
    folder = path.parent
    if not folder.is_dir():
        raise MissingFileError(f"{path}: no such file, and no folder {folder}")
    near = get_close_matches(path.name, [p.name for p in folder.iterdir() if p.is_file()], n=1)
    hint = f"did you mean {folder / near[0]}?" if near else f"looked in {folder.resolve()}"
    raise MissingFileError(f"{path}: no such file", hint=hint)


@contextmanager
def _unpacked(raw: io.BufferedReader) -> Iterator[io.BufferedReader]:
    magic = raw.peek(4)[:4]
    if magic.startswith(_GZIP):
        with gzip.open(raw) as unpacked:
            yield io.BufferedReader(_Damage(cast("BinaryIO", unpacked), Path(raw.name).name))
    elif magic == _ZSTD:
        module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        zstd = optional_module(module, need="reading .zst files")
        with zstd.open(raw) as unpacked:
            yield io.BufferedReader(_Damage(unpacked, Path(raw.name).name, zstd.ZstdError))
    else:
        yield raw


class _Damage(io.RawIOBase):
    """A decompressor whose complaints name the file."""

    def __init__(
        self, stream: BinaryIO, name: str, problem: type[Exception] = gzip.BadGzipFile
    ) -> None:
        self._stream = stream
        self._name = name
        self._problems = (problem, zlib.error, EOFError)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        try:
            data = self._stream.read(len(view))
        except self._problems as problem:
            hint = "copy the file again"
            message = f"{self._name}: the compressed data is damaged or cut off"
            raise InputError(message, hint=hint) from problem
        view[: len(data)] = data
        return len(data)
