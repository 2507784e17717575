"""Open an input file for reading, with errors a person can act on."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, cast

from ecomfs.errors import InputError, MissingFileError

_GZIP = b"\x1f\x8b"


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes from the start; gzip is opened on the way.

    Raises:
        MissingFileError: there is no such file, it is a folder, or it may not be read.
        InputError: the compressed data is damaged.
    """
    check_file(path)
    try:
        with path.open("rb") as raw:
            if raw.peek(2).startswith(_GZIP):
                with gzip.open(raw) as unpacked:
                    yield cast("BinaryIO", io.BufferedReader(unpacked))
            else:
                yield raw
    except PermissionError as problem:
        raise MissingFileError(
            f"{path}: it may not be read", hint="check its permissions"
        ) from problem
    except (gzip.BadGzipFile, EOFError) as problem:
        raise InputError(
            f"{path.name}: the compressed data is damaged or cut off", hint="copy the file again"
        ) from problem


def stored_size(path: Path) -> int | None:
    """Size in bytes; ``None`` for compressed files, which do not tell how much text they hold."""
    with path.open("rb") as raw:
        return None if raw.read(2) == _GZIP else path.stat().st_size


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
