"""Model files: their folders, atomic writing, and hashes of their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from ecomfs.core.cache import ByteCache, cache_folder
from ecomfs.core.retry import permanent
from ecomfs.errors import EngineUnavailableError, ModelError

_PIECES, _PIECE = 64, 256 << 10


def models_dir() -> Path:
    """Folder of assembled, downloaded and converted models: ``models`` in the cache folder."""
    return cache_folder() / "models"


def hub_cache() -> Path:
    """Cache folder of Hugging Face's own tools."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``target``, which replaces it on success and is removed on
    failure, so that no reader sees an incomplete file."""
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_cached(path: Path) -> str:
    """As :func:`sha256_of`, but cached between runs by path, inode, size and times of change, since
    models have hundreds of megabytes and are opened at every start. The change time of the inode is
    included because a copied file can have any modification time.

    Raises:
        ModelError: the file changes while it is read.
    """
    path = path.resolve()
    before = file_state(path)
    key = f"{path}|{before}".encode()
    with closing(ByteCache(cache_folder() / "sha256.sqlite")) as cache:
        if found := cache.get("sha256", [key]):
            return found[key].decode()
        digest = sha256_of(path)
        if file_state(path) != before:
            raise ModelError(f"{path} changes while it is read", hint="wait until it is written")
        cache.put("sha256", {key: digest.encode()})
        return digest


class FileState(NamedTuple):
    """State of a file that changes with its content; times are of content and inode, in
    nanoseconds."""

    inode: int
    size: int
    modified: int
    changed: int


def file_state(path: Path) -> FileState:
    """The state of a file now."""
    found = path.stat()
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class OpenFiles:
    """Open files of a model that a runtime reads when needed (llama.cpp maps them into memory), so
    that writing to them would change the model in use.

    Args:
        digests: file → SHA-256.
    """

    def __init__(self, digests: Mapping[Path, str]) -> None:
        self._digests = dict(digests)
        self._states = {path: file_state(path) for path in digests}

    def check(self) -> None:
        """Check that the files were not written to. For a process with open files, replaced or
        deleted files do not change.

        Raises:
            EngineUnavailableError: the content of a file has changed.
        """
        for path, then in self._states.items():
            try:
                now = file_state(path)
            except OSError:
                continue
            if now == then or now.inode != then.inode:
                continue
            # A new link or mode changes the inode as well, and its times.
            if now.size != then.size or sha256_cached(path) != self._digests[path]:
                raise permanent(
                    EngineUnavailableError(
                        f"{path} was overwritten while the model was in use",
                        hint="start again; write models under another name, then rename them",
                    )
                )
            self._states[path] = now


def folder_digest(folder: Path) -> str:
    """SHA-256 of a model folder: the content of small files; for large ones (weights) name, size
    and 64 pieces of 256 KiB, so that many gigabytes take little time."""
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.name}|{size}|".encode())
        with file.open("rb") as opened:
            if size <= _PIECES * _PIECE:
                digest.update(opened.read())
                continue
            for n in range(_PIECES):
                opened.seek(n * (size - _PIECE) // (_PIECES - 1))
                digest.update(opened.read(_PIECE))
    return digest.hexdigest()
