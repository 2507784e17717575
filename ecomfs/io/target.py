"""Output targets: a file that is complete or does not exist, a pipe, a device, standard output.

Every output of ecomfs is written by this module, with the same rules:

- ``-`` is standard output; text that a command prints goes to standard error instead
  (:func:`standard_output`).
- A named pipe or character device is written when the result is complete. Other special files are
  refused.
- Symbolic links are followed: the file that a link names is replaced, the link stays.
- Only its user may read a new file (mode 0600), because results contain the text of rows. An
  existing file keeps its mode and its hard links.
- A temporary file has a random name, is created new (``O_EXCL``) and follows no link.
- Files that the run reads (:func:`reading`) and databases are never overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from ecomfs.errors import ConfigError, OutputError

_STANDARD = {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}
_SQLITE = b"SQLite format 3\0"
_DUCKDB = (8, b"DUCK")
"""Offset and value of the magic number in a DuckDB file."""
_BESIDE_DATABASE = ("-wal", "-shm", "-journal", ".wal")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class InputFile(NamedTuple):
    """A file that a run reads, and the option that names it.

    Attributes
    ----------
    option : str
        The option that names it, for messages.
    path : Path
        The file.

    Examples
    --------
    >>> InputFile("--examples", Path("pool.csv")).option
    '--examples'
    """

    option: str
    path: Path


_reads: ContextVar[tuple[InputFile, ...]] = ContextVar("reads", default=())
_standard: ContextVar[TextIO | None] = ContextVar("standard", default=None)


@contextmanager
def reading(files: Iterable[InputFile]) -> Iterator[None]:
    """While the block runs, these files are refused as outputs.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "pool.csv").write_text("text,label\\n")
    >>> (folder / "link.csv").symlink_to("pool.csv")
    >>> with reading([InputFile("--examples", folder / "pool.csv")]):
    ...     check_target(folder / "link.csv", "-o")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: -o .../link.csv and --examples are the same file ...
    """
    token = _reads.set((*_reads.get(), *files))
    try:
        yield
    finally:
        _reads.reset(token)


@contextmanager
def standard_output() -> Iterator[None]:
    """While the block runs, standard output is reserved for a result; printed text goes to standard
    error.

    Examples
    --------
    >>> with standard_output():
    ...     print("this goes to standard error")
    """
    token = _standard.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _standard.reset(token)


def is_standard(path: str | os.PathLike[str]) -> bool:
    """Whether an output is standard output.

    Examples
    --------
    >>> is_standard("-"), is_standard("./-")
    (True, False)
    """
    return os.fspath(path) in _STANDARD


def is_stream(path: Path) -> bool:
    """Whether an output is standard output, a pipe or a device, and not a file.

    Examples
    --------
    >>> is_stream(Path("-")), is_stream(Path("out.csv"))
    (True, False)
    """
    if is_standard(path):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    # Open files of a process have a name there too.
    opened = os.fspath(path).startswith(("/dev/fd/", "/dev/std", "/proc/self/fd/"))
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or opened


def check_target(path: Path, what: str = "output") -> None:
    """Refuse an output that cannot be written, before any work is done.

    Parameters
    ----------
    path : Path
        The output, as the user gave it.
    what : str
        Name of the output in messages, such as its option.

    Raises
    ------
    ConfigError
        The run reads this file.
    OutputError
        The path is a database, a folder, or a special file other than a pipe or character device.

    Examples
    --------
    >>> check_target(Path(tempfile.mkdtemp()))
    Traceback (most recent call last):
    ecomfs.errors.OutputError: ...: this is a folder (name a file in it)
    """
    if is_standard(path):
        return
    try:
        there = path.stat()
    except FileNotFoundError:
        there = None
    except OSError as problem:
        raise output_failure(path, problem) from problem
    check_read(path, what)
    if is_stream(path):
        return
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise OutputError(f"{path}: this is a folder", hint="name a file in it")
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise OutputError(f"{path}: neither a file nor a pipe", hint="name a file")
    if _is_database(path):  # also its log, which need not exist yet
        raise OutputError(
            f"{what} {path} is a database, such as a pool of labelled examples",
            hint="choose another name for the result",
        )


def check_read(path: Path, what: str) -> None:
    """Refuse an output that is a file which the run reads (:func:`reading`).

    Raises
    ------
    ConfigError
        The run reads this file.

    Examples
    --------
    >>> with reading([InputFile("--examples", Path("pool.csv"))]):
    ...     check_read(Path("./pool.csv"), "-o")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: -o pool.csv and --examples are the same file ...
    """
    for read in _reads.get():
        try:  # one file by device and inode, so that links count
            same = path.samefile(read.path)
        except OSError:  # by name, where there is none yet
            same = os.path.realpath(path) == os.path.realpath(read.path)
        if same:
            raise ConfigError(
                f"{what} {path} and {read.option} are the same file",
                hint="choose another name for the result",
            )


class Target:
    """One output: written to a temporary file first, which takes its place when it is whole.

    Args:
        path: the output, as the user gave it.
        private: only its user may read a new file; otherwise the umask decides.

    Raises:
        ConfigError, OutputError: see :func:`check_target`; or the folder cannot be written to.

    >>> path = Path(tempfile.mkdtemp()) / "out.csv"
    >>> target = Target(path)
    >>> _ = target.raw.write(b"a")
    >>> path.exists()
    False
    >>> target.publish()
    >>> path.read_text()
    'a'
    """

    def __init__(self, path: Path, *, private: bool = True) -> None:
        check_target(path)
        self.path = path
        self._stream = is_stream(path)
        self._file = path if self._stream else Path(os.path.realpath(path))
        try:
            if self._stream:
                handle, name = tempfile.mkstemp(prefix="ecomfs-")
                self.temporary = Path(name)
            else:
                self.temporary = temporary_name(self._file)
                # Users who may not read the old file must not read the new one while it is written.
                mode = 0o600 if private or self._file.exists() else 0o666
                handle = os.open(self.temporary, _NEW | _NO_LINK, mode)
        except OSError as problem:
            raise output_failure(path, problem) from problem
        self.raw: BinaryIO = os.fdopen(handle, "wb")

    @property
    def partial(self) -> Path:
        """The file that keeps the rows when writing fails."""
        return self._file.with_name(self._file.name + ".partial")

    def publish(self, last: Callable[[], object] = lambda: None) -> None:
        """Move the temporary file to its final name.

        Args:
            last: writes the last bytes to :attr:`raw`.

        Raises:
            OutputError: the file cannot be written or moved.
            BrokenPipeError: the reader of standard output or a pipe has ended; nothing is kept.
        """
        try:
            last()
            if not self.raw.closed:
                self.raw.flush()
                os.fsync(self.raw.fileno())
                self.raw.close()
            if self._stream:
                with self.temporary.open("rb") as whole:
                    _pour(whole, self.path)
                self.temporary.unlink(missing_ok=True)
                return
            check_target(self._file)  # the path may have changed since
            old = self._file.stat() if self._file.exists() else None
            if old is not None and old.st_nlink > 1:
                # After a rename, its other hard links would have the old content.
                handle = os.open(self._file, os.O_WRONLY | os.O_TRUNC | _NO_LINK)
                with self.temporary.open("rb") as whole, os.fdopen(handle, "wb") as file:
                    shutil.copyfileobj(whole, file)
                    file.flush()
                    os.fsync(file.fileno())
                self.temporary.unlink(missing_ok=True)
                return
            if old is not None:
                # Without permission to change the owner, the file becomes this user's.
                with contextlib.suppress(OSError):
                    os.chown(self.temporary, old.st_uid, old.st_gid)
                self.temporary.chmod(stat.S_IMODE(old.st_mode))
            os.replace(self.temporary, self._file)
            with contextlib.suppress(OSError):  # not every system syncs folders
                folder = os.open(self._file.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except BrokenPipeError:
            self.discard()
            raise
        except OSError as problem:
            raise output_failure(self.path, problem) from problem

    def keep(self) -> Path | None:
        """Stop and keep what was written; returns its path, ``None`` if nothing is kept."""
        with contextlib.suppress(OSError):
            self.raw.close()
        if self._stream:
            self.temporary.unlink(missing_ok=True)
            return None
        try:
            check_target(self.partial)
            os.replace(self.temporary, self.partial)
        except (OSError, ConfigError, OutputError):
            return self.temporary if self.temporary.exists() else None
        return self.partial

    def discard(self) -> None:
        """Give up and keep nothing; does nothing after :meth:`publish`."""
        with contextlib.suppress(OSError):
            self.raw.close()
        self.temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A random name in the folder of a file, for the temporary file that will replace it.

    Examples
    --------
    >>> name = temporary_name(Path("out/scored.csv")).name
    >>> name.startswith(".scored.csv."), name.endswith(".tmp"), len(name)
    (True, True, 32)
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def write_text(path: Path, text: str, *, private: bool = True) -> None:
    """Write a text file, by the rules of every output; unpaired surrogates are escaped.

    Parameters
    ----------
    path : Path
        The file, or ``-`` for standard output.
    text : str
        Its content.
    private : bool
        Whether only its user may read a new file; otherwise the umask decides.

    Raises
    ------
    ConfigError, OutputError
        See :func:`check_target`; or the file cannot be written.

    Examples
    --------
    >>> path = Path(tempfile.mkdtemp()) / "report.txt"
    >>> write_text(path, "done")
    >>> path.read_text()
    'done'
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"), private=private)


def write_bytes(path: Path, content: bytes, *, private: bool = True) -> None:
    """Write a binary file; arguments and errors are those of :func:`write_text`.

    >>> path = Path(tempfile.mkdtemp()) / "result.parquet"
    >>> write_bytes(path, b"PAR1")
    >>> path.read_bytes()
    b'PAR1'
    """
    target = Target(path, private=private)
    try:
        target.publish(lambda: target.raw.write(content))
    finally:
        target.discard()


def output_failure(path: Path, problem: OSError) -> OutputError:
    """The error for a file that cannot be written, with a hint.

    >>> output_failure(Path("out.csv"), OSError(errno.ENOSPC, "no space")).message
    'out.csv: the disk is full'
    """
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutputError(f"{path}: the disk is full", hint="free some space and resume")
    if problem.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        hint = "choose another folder with -o"
        return OutputError(f"{path}: no permission to write there", hint=hint)
    if problem.errno in {errno.ENOENT, errno.ENOTDIR}:
        hint = f"create it first: mkdir -p {path.parent}"
        return OutputError(f"{path}: its folder does not exist", hint=hint)
    return OutputError(f"{path}: cannot be written: {problem.strerror or problem}")


def _pour(whole: BinaryIO, path: Path) -> None:
    if not is_standard(path):
        with path.open("wb") as stream:
            shutil.copyfileobj(whole, stream)
        return
    stream_ = _standard.get() or sys.stdout
    stream_.flush()
    if (binary := getattr(stream_, "buffer", None)) is not None:
        shutil.copyfileobj(whole, binary)
        binary.flush()
    else:  # a program replaced standard output by a text stream
        stream_.write(whole.read().decode("utf-8"))


def _is_database(path: Path) -> bool:
    """Whether a file is a SQLite or DuckDB database, also an empty one whose rows are in its log,
    or a log of one."""
    name = os.path.realpath(path)
    for end in ("", *_BESIDE_DATABASE):
        if not name.endswith(end):
            continue
        base = Path(name.removesuffix(end))
        try:
            with base.open("rb") as file:
                head = file.read(32)
            logged = not head and base.with_name(f"{base.name}-wal").stat().st_size > 0
        except OSError:
            continue
        if logged or head.startswith(_SQLITE) or head.startswith(_DUCKDB[1], _DUCKDB[0]):
            return True
    return False


__all__ = [
    "InputFile",
    "Target",
    "check_read",
    "check_target",
    "is_standard",
    "is_stream",
    "output_failure",
    "reading",
    "standard_output",
    "temporary_name",
    "write_bytes",
    "write_text",
]
