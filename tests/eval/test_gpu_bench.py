"""The benchmark of vLLM on a GPU: models without weights, the limit, the table. Needs no vLLM."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "eval" / "bench"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that writes models."""
    monkeypatch.syspath_prepend(str(BENCH))
    import gpu_model

    yield gpu_model
    sys.modules.pop("gpu_model")


def gpu(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "gpu.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def tokenizer(folder: Path, words: int) -> Path:
    folder.mkdir()
    vocab = {f"w{n}": n for n in range(words)}
    added = [{"id": words, "content": "<s>"}]
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": vocab}, "added_tokens": added})
    )
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(("name", "billions"), [("qwen3-8b", 6.95), ("qwen3-1.7b", 1.4)])
def test_a_shape_has_the_parameters_that_its_makers_state(
    name: str, billions: float, model: ModuleType
) -> None:
    """Qwen3's model cards: 6.95 and 1.4 billion without embeddings."""
    assert model.SHAPES[name].parameters / 1e9 == pytest.approx(billions, abs=0.02)


def test_a_folder_that_is_written_is_read_as_the_same_shape(
    tmp_path: Path, model: ModuleType
) -> None:
    source = tokenizer(tmp_path / "tokenizer", 100)
    for name, shape in model.SHAPES.items():
        folder = model.write_model(tmp_path / name, shape, source)
        assert model.Shape.of(folder) == shape
        config = json.loads((folder / "config.json").read_text())
        assert config["architectures"] == ["Qwen3ForCausalLM"]
        assert {path.name for path in folder.iterdir()} == {
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }


def test_the_vocabulary_has_room_for_the_tokenizer(tmp_path: Path, model: ModuleType) -> None:
    source = tokenizer(tmp_path / "tokenizer", 60_000)
    folder = model.write_model(tmp_path / "m", model.SHAPES["small"], source)
    assert model.Shape.of(folder).vocab_size == 60_001


def test_a_configuration_without_head_sizes_has_those_of_llama(
    tmp_path: Path, model: ModuleType
) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 10}
    config = {**sizes, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = model.Shape.of(tmp_path)
    assert (shape.head_dim, shape.num_key_value_heads) == (2, 4)
    assert shape.parameters == 2 * (4 * 8 * 8 + 3 * 8 * 32)


def report() -> dict[str, object]:
    def turn(layout: str, system: str, number: int, seconds: float, **more: float) -> object:
        return {
            "model": "m",
            "layout": layout,
            "system": system,
            "round": number,
            "rows": 100,
            "seconds": seconds,
            "cached": None,
            "failed": 0,
            **more,
        }

    return {
        "machine": {"device": "a device"},
        "rates": {"m": 2e9},
        "parameters": {"m": 100_000},
        "tokens": {"m": {"retrieved": 200.0, "shared": 200.0}},
        "turns": [
            turn("retrieved", "load generator", 0, 4.0, cached=0.2),
            turn("retrieved", "load generator", 1, 5.0, cached=0.2),
            turn("retrieved", "ecomfs, HTTP", 0, 5.0, cached=0.2),
            turn("retrieved", "ecomfs, HTTP", 1, 5.0, cached=0.2),
            turn("shared", "ecomfs, HTTP", 1, 1.0),
            turn("retrieved", "ecomfs, in process", 0, 2.0),
        ],
        "notes": ["no time for the rest"],
    }


def test_the_table_compares_turns_of_one_round_and_the_limit(tmp_path: Path) -> None:
    (tmp_path / "gpu.json").write_text(json.dumps(report()))
    done = gpu("--table", tmp_path / "gpu.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # 2e9 operations a second, 2 * 100,000 * 200 * 0.8 a row: 62.5 rows/s. Where its reference was
    # not measured, or what was cached, there is a dash.
    assert lines[2:6] == [
        "| m | retrieved | 200 | load generator | 100 × 2 | 22.5 [20.0, 25.0] | – | 20.0% | 62.5 "
        "| 36.0% |",
        "| m | retrieved | 200 | ecomfs, HTTP | 100 × 2 | 20.0 [20.0, 20.0] "
        "| 0.900 [0.800, 1.000] | 20.0% | 62.5 | 32.0% |",
        "| m | retrieved | 200 | ecomfs, in process | 100 × 1 | 50.0 | – | – | – | – |",
        "| m | shared | 200 | ecomfs, HTTP | 100 × 1 | 100.0 | – | – | – | – |",
    ]
    assert "- m, ecomfs, HTTP: shared ÷ retrieved 5.00" in lines
    assert "- m: F·MFU 2e+09 FLOP/s" in lines
    assert {"- device: a device", "- no time for the rest"} <= set(lines)


def test_without_rows_it_says_what_is_missing() -> None:
    done = gpu()
    assert done.returncode == 2
    assert "name the rows, and --pool" in done.stderr
