"""Texts to unit vectors, and vectors cached between runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.embed import (
    Embedder,
    HashedEmbedder,
    open_embedder,
)
from ecomfs.errors import ConfigError

TEXTS = ["red running shoes", "blue leather boots", "红色跑步鞋", "蓝色皮靴", "wireless mouse"]


def test_embedders_follow_the_protocol() -> None:
    assert isinstance(HashedEmbedder(), Embedder)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), max_size=8))
def test_rows_have_length_one_or_nothing(texts: list[str]) -> None:
    vectors = HashedEmbedder(256).fit(texts).embed(texts, query=True)
    assert vectors.shape == (len(texts), 256)
    assert vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab 好用!1👍", max_size=20), min_size=1, max_size=6))
def test_a_vector_depends_on_its_own_text_only(texts: list[str]) -> None:
    embedder = HashedEmbedder(256)
    together = embedder.embed(texts, query=False)
    alone = np.vstack([embedder.embed([text], query=False) for text in texts])
    np.testing.assert_array_equal(together, alone)


def test_case_width_and_punctuation_do_not_matter() -> None:
    vectors = HashedEmbedder().embed(["Red SHOES!", "ｒｅｄ shoes", "red,shoes"], query=True)
    np.testing.assert_allclose(vectors @ vectors.T, 1, atol=1e-6)


@pytest.mark.parametrize(
    ("query", "nearest"), [("leather boot", 1), ("跑步鞋子", 2), ("皮靴很好", 3), ("WIRELESS", 4)]
)
def test_the_nearest_text_shares_words_or_characters(query: str, nearest: int) -> None:
    embedder = HashedEmbedder().fit(TEXTS)
    scores = embedder.embed(TEXTS, query=False) @ embedder.embed([query], query=True)[0]
    assert int(scores.argmax()) == nearest


def test_word_order_across_words_does_not_matter_but_letters_do() -> None:
    a, b, c = HashedEmbedder().embed(["soft shirt", "shirt soft", "tfos trihs"], query=False)
    assert a @ b > 0.99
    assert a @ c < 0.5


def test_fitting_weighs_rare_grams_more() -> None:
    pool = ["the shoe", "the boot", "the mouse", "the lamp"]
    plain, fitted = HashedEmbedder(), HashedEmbedder().fit(pool)

    def likeness(embedder: HashedEmbedder) -> float:
        a, b = embedder.embed(["the shoe", "the boot"], query=False)
        return float(a @ b)

    assert likeness(fitted) < likeness(plain)
    assert fitted.fingerprint != plain.fingerprint
    assert fitted.fingerprint == HashedEmbedder().fit(pool).fingerprint


def test_a_very_long_text_and_halves_of_surrogates_are_embedded() -> None:
    vectors = HashedEmbedder(256).embed(["好 word " * 200_000, "\ud83d", ""], query=True)
    assert np.linalg.norm(vectors, axis=1).round(3).tolist()[0] == 1
    assert not vectors[2].any()


def test_more_texts_than_one_batch() -> None:
    texts = [f"item number {n}" for n in range(1300)]
    embedder = HashedEmbedder(1024)
    np.testing.assert_array_equal(
        embedder.embed(texts, query=False)[1234], embedder.embed([texts[1234]], query=False)[0]
    )


@pytest.mark.parametrize("dimensions", [0, 1, 1000])
def test_dimensions_must_be_a_power_of_two(dimensions: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        HashedEmbedder(dimensions)


@pytest.mark.parametrize("spec", ["nonsense", "st:", "hashed:7", ""])
def test_an_unknown_name_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="no embedder"):
        open_embedder(spec)
