"""The provenance of a report: command, data and versions."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ecomfs.batch import input_identity
from ecomfs.core.messages import mask_passwords

_PACKAGES = ("ecomfs", "numpy", "scipy", "scikit-learn")


def numbers_source(command: Sequence[str], files: Iterable[str | Path]) -> dict[str, str]:
    """The provenance shown in the last section of a report.

    Args:
        command: arguments after ``ecomfs``; empty for a call in Python. Passwords in URLs are
            masked.
        files: the inputs; for a file, its size and the beginning of its SHA-256 are added.

    Returns:
        ``command``, ``data`` and ``versions``, for :func:`ecomfs_eval.report.build_report`.

    >>> found = numbers_source(["ab", "v1", "v2"], [])
    >>> found["command"], found["versions"].split(",")[0].startswith("ecomfs ")
    ('ecomfs ab v1 v2', True)
    """
    data = []
    for source in dict.fromkeys(str(file) for file in files):
        name = mask_passwords(source)
        if Path(source).is_file():
            found = input_identity(source)
            name += f" ({found['bytes']:,} bytes, SHA-256 {found['sha256'][:12]})"
        data.append(name)
    line = shlex.join(["ecomfs", *map(mask_passwords, command)]) if command else ""
    return {"command": line, "data": "; ".join(data), "versions": _versions()}


def _versions() -> str:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # an extra, or ecomfs run from a folder
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


__all__ = ["numbers_source"]
