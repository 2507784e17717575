"""Where ecomfs keeps files between runs, and how it knows a file's content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

_BLOCK = 1 << 20


def cache_dir() -> Path:
    """The user's cache folder: ``$ECOMFS_CACHE``, else the platform's own place.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.environ["ECOMFS_CACHE"] = folder
    ...     cache_dir() == Path(folder)
    True
    >>> del os.environ["ECOMFS_CACHE"]
    """
    override = os.environ.get("ECOMFS_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("ecomfs"))


def hub_cache() -> Path:
    """Where Hugging Face's own tools keep models from the hub."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that takes its place on success and is removed on
    failure, so that nobody ever sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_cached(path: Path) -> str:
    """As :func:`sha256_of`, remembered between runs by path, size and modification time: models
    are hundreds of megabytes and are opened at every start."""
    path = path.resolve()
    stat = path.stat()
    key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
    ledger = cache_dir() / "sha256.json"
    known = _read_ledger(ledger)
    if key in known:
        return known[key]
    digest = sha256_of(path)
    # The path's older contents are forgotten, or the ledger would grow for ever. A cache that
    # cannot be written costs time, never a result.
    known = {k: v for k, v in known.items() if not k.startswith(f"{path}|")} | {key: digest}
    with suppress(OSError), replacing(ledger) as temporary:
        temporary.write_text(json.dumps(known, indent=0), encoding="utf-8")
    return digest


def folder_digest(folder: Path) -> str:
    """SHA-256 that stands for a model folder's content: the whole of its small files, and of the
    large ones (weights) name, size, first and last MiB, so that it takes no time to know a model
    of many gigabytes again."""
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.name}|{size}|".encode())
        with file.open("rb") as opened:
            if size <= 16 * _BLOCK:
                digest.update(opened.read())
            else:
                digest.update(opened.read(_BLOCK))
                opened.seek(-_BLOCK, os.SEEK_END)
                digest.update(opened.read(_BLOCK))
    return digest.hexdigest()


def _read_ledger(ledger: Path) -> dict[str, str]:
    try:
        known = json.loads(ledger.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {k: v for k, v in known.items() if isinstance(k, str) and isinstance(v, str)}
