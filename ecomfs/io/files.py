"""Opens input files: decompression, encoding detection, standard input; loads optional packages.

Every error names the file and how to fix it.

The encoding is decided by a byte-order mark, else by strict UTF-8, else by a legacy encoding
(GB18030, cp1252, Shift-JIS …) if one fits the text clearly best (:mod:`ecomfs.io.legacy`). The
decision uses a bounded part of the file. A guess carries a note; a file that fits no encoding
raises :class:`DecodingError`.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import errno
import functools
import gzip
import io
import logging
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import yaml

from ecomfs.errors import (
    ConfigError,
    DecodingError,
    EmptyInputError,
    InputError,
    MissingFileError,
    OutputError,
)
from ecomfs.io.legacy import Guess, guess_encoding

LOOK_BYTES = 1 << 20
"""Bytes of a file that are used to detect its encoding."""

_BOMS = (  # UTF-32-LE begins with UTF-16-LE's mark, so the longer ones come first
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    ("\ufeff".encode("gb18030"), "gb18030"),
)
_GB_NAMES = {"gb2312", "gbk", "cp936", "936", "ms936", "gb18030", "euc-cn", "euc_cn"}
_MAX_ODD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's bytes become text.

    Attributes:
        name: Python codec name.
        bom: length of the byte-order mark or marks in bytes; 0 without one.
        how: what decided it: a mark, the file's content, or the caller.
        note: how the encoding was found, if the user should check it; else empty.
    """

    name: str
    bom: int = 0
    how: Literal["bom", "content", "given"] = "content"
    note: str = ""


@lru_cache(maxsize=64)
def is_by_line(name: str) -> bool:
    """Whether lines can be split as bytes: a line feed is always the byte ``0A``."""
    if name in {"utf-8", "gb18030"}:
        return True
    try:
        return bytes(range(128)).decode(name) == "".join(map(chr, range(128)))
    except UnicodeError:
        return False


def encoding_named(name: str) -> Encoding:
    """The encoding with this name; GB2312 and GBK become their superset GB18030.

    Raises
    ------
    ConfigError
        Python has no such text encoding.

    Examples
    --------
    >>> encoding_named("GBK").name
    'gb18030'
    >>> encoding_named("UTF8").name
    'utf-8'
    """
    if name.lower() in _GB_NAMES:
        return Encoding("gb18030", how="given")
    try:
        found = codecs.lookup(name).name
        b"a".decode(found, "ignore")
    except LookupError:  # unknown, or not a text encoding
        hint = "use utf-8, gb18030, utf-16, cp1252, big5 or another Python codec"
        raise ConfigError(f"unknown text encoding {name!r}", hint=hint) from None
    return Encoding("utf-8" if found == "utf-8-sig" else found, how="given")


def detect_encoding(head: bytes, *, source: str = "input") -> Encoding:
    """Decide a file's encoding from its first bytes.

    Args:
        head: the first bytes; a last incomplete line is tolerated.
        source: the file's name, for the message.

    Raises:
        DecodingError: more than one line in a hundred is not UTF-8, and no other encoding fits
            clearly best. (Fewer such lines become errors of their rows.)

    >>> detect_encoding("id,评论".encode("gb18030")).name
    'gb18030'
    >>> detect_encoding(b"\\xef\\xbb\\xbfid").bom
    3
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, bom=_marks(head, mark), how="bom")
    if wide := _wide(head):
        return Encoding(wide)
    cut = len(head) >= LOOK_BYTES
    if _valid(head, "utf-8", cut=cut):
        return Encoding("utf-8")
    lines = [line for line in head.splitlines() if not line.isascii()]
    if cut and len(lines) > 1 and not head.endswith((b"\n", b"\r")):
        lines.pop()  # it may be cut in the middle of a character
    others = [line for line in lines if not _valid(line, "utf-8", cut=cut and len(lines) == 1)]
    as_utf8 = len(lines) - len(others)
    if as_utf8 >= len(others):
        return Encoding("utf-8")
    found = guess_encoding(others)
    if found.name:
        read = sum(_valid(line, found.name, cut=cut and len(lines) == 1) for line in others)
        return Encoding(found.name, note=_note(found)) if read > as_utf8 else Encoding("utf-8")
    if len(others) <= _MAX_ODD_SHARE * (head.count(b"\n") + 1):
        return Encoding("utf-8")
    likely = ", ".join(found.likely)
    first = found.likely[0] if likely else "cp1252"
    raise DecodingError(
        f"{source}: the text is not UTF-8, and its encoding could not be detected"
        + (f"; likely encodings: {likely}" if likely else ""),
        hint=f"name it with --input-encoding {first} (in Python, encoding={first!r}), or "
        f"save it as UTF-8: iconv -f {first} -t UTF-8",
    )


def _marks(head: bytes, mark: bytes) -> int:
    """Bytes of the byte-order marks at the start: some programs write a second one."""
    end = 0
    while head.startswith(mark, end):
        end += len(mark)
    return end


def _note(found: Guess) -> str:
    others = [name for name in found.likely if name != found.name]
    also = f" (next best: {', '.join(others)})" if others else ""
    return f"read as {found.name}, the encoding that fits best{also}"


def choose_encoding(
    stream: BinaryIO, given: str | None = None, *, source: str = "input"
) -> tuple[Encoding, bytes]:
    """The encoding of a stream at its start, and the bytes that were read to find it.

    ASCII bytes alone do not tell the encoding: without ``given``, reading goes on block by block to
    the first block with another byte. The blocks between are not kept.

    Args:
        given: the encoding named by the caller; then only a byte-order mark is looked for.

    Raises:
        DecodingError: see :func:`detect_encoding`.
        ConfigError: see :func:`encoding_named`.
    """
    head = block = stream.read(LOOK_BYTES)
    if given is not None:
        return _as_given(encoding_named(given), head), head
    line_start = b""
    while block and block.isascii() and b"\0" not in block:
        line_start = block[block.rfind(b"\n") + 1 :]
        block = stream.read(LOOK_BYTES)
    decisive = head if block is head else line_start + block
    return detect_encoding(decisive, source=source), head


def _as_given(given: Encoding, head: bytes) -> Encoding:
    """The caller's encoding; a byte-order mark is skipped and decides the byte order.

    A file that is certainly UTF-8 is read as UTF-8, with a note: the caller names one encoding for
    all tables of a command, and UTF-8 read as cp1252 gives wrong characters without an error.
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            if name.startswith(given.name):
                return Encoding(name, bom=_marks(head, mark), how="given")
            if not given.name.startswith(("utf-16", "utf-32")):
                why = f"read as {name} because of its byte-order mark, not as {given.name}"
                return Encoding(name, bom=_marks(head, mark), how="bom", note=why)
    wide = given.name in {"utf-16", "utf-32"}
    if (
        is_by_line(given.name)
        and given.name not in {"ascii", "utf-8"}
        and is_utf8(head, given.name)
    ):
        return Encoding(
            "utf-8", note=f"the file is UTF-8 and was read as such, not as {given.name}"
        )
    return Encoding(given.name + "-le" if wide else given.name, how="given")


def is_utf8(raw: bytes, instead_of: str) -> bool:
    """Whether bytes are certainly UTF-8, in a file for which another encoding was given.

    Short words of two-byte encodings can be valid two-byte UTF-8 ("联通" in GBK is). If such an
    encoding was given, every character that is not ASCII must take three bytes or more.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")("strict").decode(raw)
    except UnicodeDecodeError:
        return False
    if text.isascii():
        return False
    return is_single_byte(instead_of) or all(c < "\x80" or c >= "\u0800" for c in text)


@lru_cache(maxsize=64)
def is_single_byte(name: str) -> bool:
    """Whether every character of an encoding is one byte."""
    try:
        return len(bytes(range(256)).decode(name, "replace")) == 256
    except LookupError:
        return False


def is_gb18030(line: bytes) -> bool:
    """Whether GB18030 fits a line that is not UTF-8 clearly best."""
    return _valid(line, "gb18030", cut=False) and guess_encoding([line]).name == "gb18030"


def _valid(line: bytes, name: str, *, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder(name)("strict").decode(line, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _wide(head: bytes) -> str:
    """The byte order of UTF-16 without a mark; empty if the text is not UTF-16. It must begin with
    two ASCII characters and give lines of text as UTF-16. UTF-8 may contain zero bytes too, but not
    in its line ends."""
    if len(head) < LOOK_BYTES and len(head) % 2:
        return ""
    for name, high in (("utf-16-le", slice(1, 4, 2)), ("utf-16-be", slice(0, 4, 2))):
        first = head[:4].replace(b"\0", b"")
        if head[high] != b"\0\0" or len(first) != 2 or not first.isascii():
            continue
        # An invalid character becomes an error of its row later.
        text = head.decode(name, "replace")
        if (
            first.decode().isprintable()
            and "\0" not in text
            and ("\n" in text or b"\n" not in head)
        ):
            return name
    return ""


BOOKS = frozenset({".xlsx", ".xlsm", ".xls"})
PACKED = {".gz", ".zst", ".zstd"}


def split_book(where: str) -> tuple[str, tuple[str, ...]]:
    """Split ``book.xlsx#SHEET/SHEET`` into the workbook and its sheets; ``*`` means all sheets. No
    name of a sheet contains ``/``.

    Returns
    -------
    tuple[str, tuple[str, ...]]
        The file and the named sheets; any other input unchanged and no sheets.

    Examples
    --------
    >>> split_book("book.xlsx#May/June"), split_book("a#b.csv")
    (('book.xlsx', ('May', 'June')), ('a#b.csv', ()))
    """
    book, mark, sheets = where.partition("#")
    if not mark or Path(book).suffix.lower() not in BOOKS:
        return where, ()
    return book, tuple(name for name in sheets.split("/") if name)


def is_workbook(where: str) -> bool:
    """Whether an input is a workbook without named sheets.

    Examples
    --------
    >>> is_workbook("book.xlsx"), is_workbook("book.xlsx#May"), is_workbook("a.csv")
    (True, False, False)
    """
    return Path(where).suffix.lower() in BOOKS


def is_saved_folder(path: Path) -> bool:
    """Whether the folder holds a data set saved by the package ``datasets``."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def format_suffix(path: str | Path) -> str:
    """The suffix of a file name that tells the format; a suffix of a compression is skipped.

    >>> format_suffix("in.CSV.gz"), format_suffix(Path("-"))
    ('.csv', '')
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    while suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes; gzip and zstd are decompressed.

    Raises:
        MissingFileError: there is no such file, it is a folder, or there is no permission.
        InputError: the compressed data is damaged, or the system cannot open the file.
        ConfigError: a zstd file, and the package to read it is not installed.
    """
    check_file(path)
    with _opened(path) as raw:
        magic = raw.peek(4)[:4]
        if magic.startswith(_GZIP):
            with gzip.open(raw) as unpacked:
                yield io.BufferedReader(_Damage(cast("BinaryIO", unpacked), path.name))
        elif magic == _ZSTD:
            zstd = zstd_module("reading .zst files")
            with zstd.open(raw) as unpacked:
                yield io.BufferedReader(_Damage(unpacked, path.name, zstd.ZstdError))
        else:
            yield raw


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except PermissionError as problem:
        hint = "check its permissions"
        raise MissingFileError(f"{path}: no permission to read it", hint=hint) from problem
    except OSError as problem:  # no file handles left, a disk that fails
        few = problem.errno in (errno.EMFILE, errno.ENFILE)
        hint = "allow more open files: ulimit -n 1024" if few else "check the disk"
        message = f"{path}: cannot be opened: {problem.strerror}"
        raise InputError(message, hint=hint) from problem


def stored_size(path: Path) -> int | None:
    """Size in bytes; ``None`` for compressed files, whose decompressed size is unknown."""
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


class _Damage(io.RawIOBase):
    """A decompressor whose errors name the file."""

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
            message = f"{self._name}: the compressed data is damaged or incomplete"
            raise InputError(message, hint=hint) from problem
        view[: len(data)] = data
        return len(data)


def zstd_module(need: str) -> Any:
    """The module for ``.zst`` files; ``need`` and errors are those of :func:`optional_module`."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return optional_module(name, need=need)


def optional_module(name: str, *, need: str, extra: str = "formats") -> Any:
    """Import a module that one of the extras of ecomfs installs.

    Parameters
    ----------
    name : str
        Full name of the module.
    need : str
        What the module is needed for, for the message.
    extra : str
        The extra of ecomfs that installs it.

    Raises
    ------
    ConfigError
        The module is not installed.

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
    """Read a text file: decoded like a table, without byte-order mark, line ends as line feeds.

    Raises
    ------
    OSError
        The file cannot be read.
    DecodingError
        Its encoding cannot be detected.

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
        log_once(path, f"{found.note}; if that is wrong, {hint}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def log_once(path: Path, note: str) -> None:
    """Log a note on a file once, although a run opens the file several times."""
    key = (str(path.resolve()), path.stat().st_mtime_ns, note)
    if key not in _said:
        _said.add(key)
        _log.warning("%s: %s", path.name, note)


YAML_HINT = "look there and just above for a wrong indent, a repeated key, an open bracket or quote"
"""The hint for errors of :func:`yaml_problem`."""


def yaml_problem(error: yaml.YAMLError) -> str:
    """The message for an error in a YAML file, with line and column where they are known.

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


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                problem = f"{key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The value in a YAML text. A key that is given twice in one mapping is an error: YAML itself
    would take the last one and drop the others without a word.

    Raises:
        yaml.YAMLError: see :func:`yaml_problem` for its message.

    >>> load_yaml("tasks: {a: 1, b: 2}")
    {'tasks': {'a': 1, 'b': 2}}
    >>> try:
    ...     load_yaml("B: {k: 4}\\nB: {k: 8}\\n")
    ... except yaml.YAMLError as error:
    ...     print(yaml_problem(error))
    not valid YAML: line 2, column 1: 'B' is given twice
    """
    return yaml.load(text, _UniqueKeys)


STANDARD = "-"
_MAGIC = ((b"PAR1", ".parquet"), (b"PK\x03\x04", ".xlsx"), (b"{", ".jsonl"), (b"[", ".json"))
"""First bytes of the formats; everything else is delimited text, compressed or not."""


@functools.cache
def standard_input() -> Path:
    """A file with the content of standard input; it is removed when the process ends.

    Its first bytes tell the format.

    Raises:
        MissingFileError: standard input is a terminal, or closed.
        EmptyInputError: standard input is empty.
        OutputError: there is no disk space for it.
    """
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None or sys.stdin.closed or sys.stdin.isatty():
        raise MissingFileError(
            "-: nothing is piped into standard input", hint="name a table, or pipe one: cat IN |"
        )
    handle, name = tempfile.mkstemp(prefix="ecomfs-stdin-")
    atexit.register(_remove, name)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(stream, file)
    except OSError as problem:
        raise OutputError(
            f"standard input cannot be kept in {Path(name).parent}: {problem.strerror}",
            hint="free some space, or set TMPDIR to another folder",
        ) from problem
    path = Path(name)
    if not path.stat().st_size:
        raise EmptyInputError("standard input is empty")
    with open_binary(path) as unpacked:  # JSON Lines may be compressed too
        head = unpacked.read(64).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    suffix = next((suffix for begin, suffix in _MAGIC if head.startswith(begin)), ".csv")
    if suffix == ".xlsx" and not zipfile.is_zipfile(path):
        suffix = ".csv"
    named = path.with_name(path.name + suffix)
    path.rename(named)
    atexit.register(_remove, str(named))
    return named


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)
