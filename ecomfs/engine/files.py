"""Model files: where the hub keeps them, writing them whole, hashes of their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecomfs.core.cache import ByteCache, cache_folder

_BLOCK = 1 << 20


def hub_cache() -> Path:
    """Where Hugging Face's own tools keep models from the hub."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that takes its place on success and is removed on
    failure, so that no reader sees half a file."""
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
    """As :func:`sha256_of`, kept between runs by path, size and modification time: models have
    hundreds of megabytes and are opened at every start."""
    path = path.resolve()
    stat = path.stat()
    key = f"{path}|{stat.st_size}|{stat.st_mtime_ns}".encode()
    cache = ByteCache(cache_folder() / "sha256.sqlite")
    try:
        if found := cache.get("sha256", [key]):
            return found[key].decode()
        digest = sha256_of(path)
        cache.put("sha256", {key: digest.encode()})
        return digest
    finally:
        cache.close()


def folder_digest(folder: Path) -> str:
    """SHA-256 of a model folder: of small files the whole content; of large ones (weights) name,
    size, first and last MiB, so that a model of many gigabytes takes no time."""
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
