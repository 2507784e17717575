"""Conversion of GGUF models to Hugging Face folders."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from tiny import tiny_model

from ecomfs.engine.factory import open_engine
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.models import check_bos, to_huggingface
from ecomfs.engine.packaged import packaged_model
from ecomfs.errors import MissingFileError, ModelError
from ecomfs.types import Question, Reading
from prompts import review


@pytest.mark.torch
def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
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
        to_huggingface(packaged_model("smollm2"), folder)
    assert str(folder) in caught.value.hint
    check_bos(packaged_model("smollm2"), tiny_model(tmp_path / "n", bos=False))


@pytest.mark.torch
@pytest.mark.model
def test_a_packaged_model_is_opened_by_name_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path))
    tiny_model(tmp_path / "models" / packaged_model("smollm2").stem, bos=False)
    spec = "transformers:smollm2?dtype=bfloat16"  # names no path: it is written into results
    engine = open_engine(spec, device="cpu")
    assert engine.spec == spec
    assert "-bfloat16-cpu-" in engine.fingerprint
    asyncio.run(engine.aclose())


@pytest.mark.torch
@pytest.mark.model
def test_the_second_process_uses_the_conversion_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(work: Path, folder: Path) -> None:
        shutil.copytree(work, folder)  # the other process, a moment before
        Path(work).rename(folder)

    monkeypatch.setattr(os, "replace", replace)
    folder = tmp_path / "m"
    assert to_huggingface(packaged_model("smollm2"), folder) == folder
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.torch
@pytest.mark.model
@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_the_converted_model_reads_like_the_gguf_file(
    tmp_path: Path, gemma: GgufEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma: its conversion forgets BOS, and every second block slides its window."""
    folder = to_huggingface(packaged_model("demo"), tmp_path / "gemma")
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
