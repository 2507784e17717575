"""Open an input file, packed or not; read a small text file whole; import an optional package.

Every error names the file and how to fix it.
"""

from __future__ import annotations

import errno
import gzip
import io
import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

import yaml

from ecomfs.errors import ConfigError, DecodingError, InputError, MissingFileError
from ecomfs.io.encoding import Encoding, choose_encoding, detect_encoding

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


def choose_encoding_of(path: Path, stream: BinaryIO, given: str | None) -> tuple[Encoding, bytes]:
    """The encoding of a table's stream, and the head that was read to find it; a
    guess is logged.

    Raises:
        DecodingError, ConfigError: see :func:`ecomfs.io.encoding.choose_encoding`.
    """
    found, head = choose_encoding(stream, given, source=path.name)
    if found.note:
        guessed = given is None
        how_to_fix = (
            "; if that is wrong, name the encoding with --input-encoding" if guessed else ""
        )
        say_once(path, found.note + how_to_fix)
    return found, head


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes from the start; gzip and zstd are unpacked on the way.

    Raises:
        MissingFileError: there is no such file, it is a folder, or it may not be read.
        InputError: the compressed data is damaged, or the system does not open the file.
        ConfigError: a zstd file, and the package for it is not installed.
    """
    check_file(path)
    with _opened(path) as raw, _unpacked(raw) as stream:
        yield stream


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except PermissionError as problem:
        hint = "check its permissions"
        raise MissingFileError(f"{path}: it may not be read", hint=hint) from problem
    except OSError as problem:  # no file handles left, a disk that fails
        few = problem.errno in (errno.EMFILE, errno.ENFILE)
        hint = "allow more open files: ulimit -n 1024" if few else "check the disk"
        message = f"{path}: it cannot be opened: {problem.strerror}"
        raise InputError(message, hint=hint) from problem


def stored_size(path: Path) -> int | None:
    """Size in bytes; ``None`` for compressed files, whose text has an unknown size."""
    with _opened(path) as raw:
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
        zstd = zstd_module("reading .zst files")
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


def zstd_module(need: str) -> Any:
    """The module that packs and unpacks ``.zst`` files; arguments and errors as of
    :func:`optional_module`."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return optional_module(name, need=need)


def optional_module(name: str, *, need: str, extra: str = "formats") -> Any:
    """Import a module of one of the package's extras.

    Parameters
    ----------
    name : str
        Full name of the module.
    need : str
        What needs it, for the message.
    extra : str
        The extra of ecomfs that installs it.

    Returns
    -------
    object
        The module.

    Raises
    ------
    ConfigError
        It is not installed; the message names what needs it.

    Examples
    --------
    >>> optional_module("no_such_package", need="reading Excel files", extra="formats")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: reading Excel files needs no_such_package
    (pip install 'ecomfs[formats]')
    """
    try:
        return import_module(name)
    except ImportError as problem:
        package = name.partition(".")[0]
        hint = f"pip install 'ecomfs[{extra}]'"
        raise ConfigError(f"{need} needs {package}", hint=hint) from problem


_log = logging.getLogger(__name__)
_said: set[tuple[str, int, str]] = set()


def read_text(path: Path) -> str:
    """The text of a file, decoded as tables are, without its byte-order mark; every line ends in
    a line feed.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        The decoded text.

    Raises
    ------
    OSError
        It cannot be read.
    DecodingError
        Its encoding is not clear.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "en.v1.jinja"
    >>> _ = path.write_text("Review: {{ text }}\\r\\n", encoding="utf-16", newline="")
    >>> read_text(path)
    'Review: {{ text }}\\n'
    """
    raw = path.read_bytes()
    hint = "save it as UTF-8"
    try:
        found = detect_encoding(raw, source=str(path))
    except DecodingError as problem:
        raise DecodingError(problem.message, hint=hint) from problem
    try:
        text = raw[found.bom :].decode(found.name)
    except UnicodeDecodeError as problem:
        raise DecodingError(
            f"{path}: byte {found.bom + problem.start + 1} of the file is not {found.name}",
            hint=hint,
        ) from problem
    if found.note:
        say_once(path, f"{found.note}; if that is wrong, {hint}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def say_once(path: Path, note: str) -> None:
    """Log a note on a file; once, though a run opens it several times."""
    key = (str(path.resolve()), path.stat().st_mtime_ns, note)
    if key not in _said:
        _said.add(key)
        _log.warning("%s: %s", path.name, note)


YAML_HINT = "look there and just above for an indent, a bracket or a quote that is not closed"
"""The hint for errors of :func:`yaml_problem`."""


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong with the text of a YAML file, with line and column where they are known.

    Parameters
    ----------
    error : yaml.YAMLError
        What PyYAML raised.

    Returns
    -------
    str
        One line for an error message.

    Examples
    --------
    >>> try:
    ...     yaml.safe_load("name: x\\nlabels: [a, b\\n")
    ... except yaml.YAMLError as error:
    ...     print(yaml_problem(error))
    not valid YAML: line 3, column 1: expected ',' or ']', but got '<stream end>'
    """
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or not problem:
        return f"not valid YAML: {' '.join(str(error).split())}"
    return f"not valid YAML: line {mark.line + 1}, column {mark.column + 1}: {problem}"
