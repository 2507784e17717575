"""The cache folder and its files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ecomfs.core.cache import cache_folder
from ecomfs.engine import files
from ecomfs.engine.files import OpenFiles, folder_digest, hub_cache, replacing, sha256_cached
from ecomfs.errors import EngineUnavailableError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_the_users_unless_named(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == own_cache
    monkeypatch.delenv("ECOMFS_CACHE")
    assert cache_folder().name == "ecomfs"
    assert cache_folder().is_absolute()


def test_the_hubs_cache_follows_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", "/models/hf")
    assert hub_cache() == Path("/models/hf/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    assert hub_cache() == Path("/elsewhere")


def test_the_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    plain = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: read.append(path) or plain(path))
    file = tmp_path / "model"
    for content in (b"one", b"two!"):
        file.write_bytes(content)
        for _ in range(2):
            assert sha256_cached(file) == hashlib.sha256(content).hexdigest()
    assert len(read) == 2


def test_a_touched_file_of_equal_size_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"one")
    first = sha256_cached(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert sha256_cached(file) != first


def test_a_file_that_is_overwritten_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"one")
    first, stat = sha256_cached(file), file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sha256_cached(file) == hashlib.sha256(b"two").hexdigest() != first
    other = tmp_path / "other"
    other.write_bytes(b"six")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(other, file)
    assert sha256_cached(file) == hashlib.sha256(b"six").hexdigest()


def test_writing_into_an_open_model_file_is_detected_and_replacing_it_is_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"one")
    opened = OpenFiles({file: sha256_cached(file)})
    file.chmod(0o600)
    os.link(file, tmp_path / "link")
    opened.check()
    (tmp_path / "link").write_bytes(b"two")
    with pytest.raises(EngineUnavailableError, match="overwritten"):
        opened.check()
    opened = OpenFiles({file: sha256_cached(file)})
    (tmp_path / "new").write_bytes(b"new")
    os.replace(tmp_path / "new", file)
    opened.check()
    file.unlink()
    opened.check()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\xff"])
def test_a_broken_cache_is_only_slower(own_cache: Path, tmp_path: Path, content: str) -> None:
    own_cache.mkdir()
    (own_cache / "sha256.sqlite").write_text(content, encoding="latin-1")
    file = tmp_path / "model"
    file.write_bytes(b"one")
    assert sha256_cached(file) == hashlib.sha256(b"one").hexdigest()


def test_a_cache_that_cannot_be_written_is_only_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"one")
    monkeypatch.setenv("ECOMFS_CACHE", str(blocked / "below"))
    assert sha256_cached(blocked) == hashlib.sha256(b"one").hexdigest()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    with replacing(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_folders_digest_sees_names_sizes_and_pieces_of_the_weights(tmp_path: Path) -> None:
    big, stretch = 20 << 20, b"x" * (1 << 20)
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(big))
    seen = {folder_digest(tmp_path)}
    assert folder_digest(tmp_path) in seen
    for change in (0, big // 2, big - len(stretch)):
        content = bytearray(big)
        content[change : change + len(stretch)] = stretch
        weights.write_bytes(content)
        seen.add(folder_digest(tmp_path))
    weights.write_bytes(bytes(big + 1))
    seen.add(folder_digest(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    seen.add(folder_digest(tmp_path))
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    seen.add(folder_digest(tmp_path))
    assert len(seen) == 7
