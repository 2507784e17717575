"""Write files that are whole or not there, for their user alone."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecomfs_eval.errors import WriteError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of ``path`` when the block ends well.

    Its name is random and it is made new, so no link that somebody laid there is followed. Reports
    and predictions hold the text of rows, so a new file is for its user alone (mode 0600); one
    that is there keeps its mode, and a link stays a link.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.md"
    >>> with whole_file(path) as part:
    ...     _ = part.write_text("done")
    >>> path.read_text(), [p.name for p in path.parent.iterdir()]
    ('done', ['report.md'])
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(
    what: str, folder: Path, hint: str = "choose a folder you may write to"
) -> Iterator[None]:
    """An error of the operating system in the block is one of the harness.

    Raises:
        WriteError: ``what`` cannot be written to the folder.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{folder}: cannot write {what}: {error.strerror or error}", hint=hint
        ) from error


def write_text(path: Path, text: str) -> Path:
    """Write a whole text file."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
