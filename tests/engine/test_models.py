"""The list of models on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecomfs.cli import run
from ecomfs.engine.models import available_models
from ecomfs.engine.packaged import PACKAGED


def test_the_list_as_json(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    listed = {
        model["engine"]: model for model in json.loads(capsys.readouterr().out)["result"]["models"]
    }
    for model in available_models():
        found = listed[model.spec]
        assert found["installed"] == (not found["command"]) == model.ready
        assert (found["size"], found["licence"]) == (model.size, model.licence)
    assert listed["gguf:qwen2.5-coder-1.5b"]["licence"] == "Apache-2.0"
    assert listed["gguf:qwen2.5-coder-1.5b"]["size"] == 1_117_320_768


def test_cached_models_are_listed(own_cache: Path, tmp_path: Path) -> None:
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
        *(f"gguf:{name}" for name in PACKAGED),
        "transformers:Qwen/Qwen3-8B",
        f"gguf:{folder / 'own.gguf'}",
        f"transformers:{folder / 'mine'}",
    ]


def test_the_gemma_licence_is_stated() -> None:
    (demo,) = [m for m in available_models() if m.spec == "gguf:demo"]
    assert demo.licence == "Gemma Terms of Use"
    assert "ai.google.dev/gemma/terms" in demo.notice
