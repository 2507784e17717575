"""Standard input as a table: kept in a temporary file, because inputs are read more than once."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from ecomfs.errors import EmptyInputError, MissingFileError, OutputError
from ecomfs.io.files import open_binary

STANDARD = "-"
_MAGIC = ((b"PAR1", ".parquet"), (b"PK\x03\x04", ".xlsx"), (b"{", ".jsonl"), (b"[", ".json"))
"""How the formats begin; everything else is delimited text, packed or not."""


@functools.cache
def standard_input() -> Path:
    """The file with all that came by standard input; removed when the process ends.

    Its format is found by its first bytes.

    Raises:
        MissingFileError: standard input is a terminal, or closed.
        EmptyInputError: nothing came.
        OutputError: there is no space for it.
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
        raise EmptyInputError("standard input: nothing came")
    with open_binary(path) as unpacked:  # JSON Lines may be packed too
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


__all__ = ["STANDARD", "standard_input"]
