"""Models for measuring speed: a shape with random weights, and the upper limit of a device.

The speed of a model depends on its shape and not on its weights, so a folder with ``config.json``
and a tokenizer is enough (vLLM: ``--load-format dummy``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a decoder with gated feed-forward layers, such as Qwen3 and Llama.

    >>> round(SHAPES["qwen3-8b"].parameters / 1e9, 2)
    6.95
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool = False

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The shape in a model folder's ``config.json``."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        return cls(
            config["hidden_size"],
            config["intermediate_size"],
            config["num_hidden_layers"],
            heads,
            config.get("num_key_value_heads") or heads,
            config.get("head_dim") or config["hidden_size"] // heads,
            config["vocab_size"],
            bool(config.get("tie_word_embeddings")),
        )

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Rows and columns of the weight matrices that every token passes in one layer."""
        queries = self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        return [
            (self.hidden_size, queries),
            (self.hidden_size, keys),
            (self.hidden_size, keys),
            (queries, self.hidden_size),
            (self.hidden_size, self.intermediate_size),
            (self.hidden_size, self.intermediate_size),
            (self.intermediate_size, self.hidden_size),
        ]

    @property
    def parameters(self) -> int:
        """Weights that every prompt token passes: neither embeddings, which are looked up, nor the
        head, which only the last token of a prompt passes."""
        return self.num_hidden_layers * sum(rows * columns for rows, columns in self.matrices)

    def config(self) -> dict[str, Any]:
        """A Qwen3 configuration of this shape."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            **asdict(self),
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "max_position_embeddings": 40_960,
            "use_cache": True,
            "dtype": "bfloat16",
        }


SHAPES = {
    "qwen3-8b": Shape(4096, 12288, 36, 32, 8, 128, 151_936),
    "qwen3-1.7b": Shape(2048, 6144, 28, 16, 8, 128, 151_936, tie_word_embeddings=True),
    # To try the script on a CPU.
    "small": Shape(256, 768, 4, 4, 2, 64, 49_152, tie_word_embeddings=True),
}


def write_model(folder: Path, shape: Shape, tokenizer: Path) -> Path:
    """A model folder without weights.

    Parameters
    ----------
    folder
        Where to write; made if need be.
    shape
        Its vocabulary grows to that of the tokenizer where that one is larger.
    tokenizer
        A folder with ``tokenizer.json``.

    Raises
    ------
    FileNotFoundError
        The folder has no ``tokenizer.json``.
    """
    whole = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    ids = [*whole["model"]["vocab"].values(), *(t["id"] for t in whole["added_tokens"])]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer / name).is_file():
            (folder / name).write_bytes((tokenizer / name).read_bytes())
    config = shape.config()
    config["vocab_size"] = max(shape.vocab_size, max(ids) + 1)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return folder


def limit(rate: float, parameters: int, tokens: float, cached: float) -> float:
    """Rows per second that a device reads at most: ``F·MFU / (2·P·L·(1 − c))``.

    Parameters
    ----------
    rate
        ``F·MFU``: floating-point operations per second in the model's matrix products.
    parameters
        ``P``, see :attr:`Shape.parameters`.
    tokens
        ``L``, of a prompt, on average.
    cached
        ``c``, the share of prompt tokens that the server found in its prefix cache.

    >>> limit(2e14, 7_000_000_000, 400, 0.5)
    71.42857142857143
    >>> limit(2e14, 7_000_000_000, 400, 1.0)
    inf
    """
    work = 2 * parameters * tokens * (1 - cached)
    return rate / work if work > 0 else float("inf")
