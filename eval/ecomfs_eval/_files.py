"""Text files of a report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ecomfs_eval.errors import WriteError


def replace(made: Path, path: Path) -> None:
    """Put a finished file in the place of another: a link stays, and so does the other's mode."""
    path = Path(os.path.realpath(path))
    if path.exists():
        shutil.copymode(path, made)
    os.replace(made, path)


def write_texts(folder: str | Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write files (name → text) into a folder, made if need be.

    Raises:
        WriteError: the folder cannot be written.
    """
    folder = Path(folder)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise WriteError(
            f"{folder}: cannot write the report: {error.strerror or error}",
            hint="choose a folder you may write to",
        ) from error
    return tuple(written)
