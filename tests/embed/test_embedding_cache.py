from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ecomfs.embed import CachedEmbedder, EmbeddingCache, HashedEmbedder, Vectors
from ecomfs.embed.cache import cache_folder


class CountingEmbedder:
    """The hashed embedder, counting the texts it computes."""

    fingerprint = "counting"
    dimensions = 64

    def __init__(self) -> None:
        self.computed = 0

    def fit(self, texts: Sequence[str]) -> CountingEmbedder:
        return self

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        self.computed += len(texts)
        sign = -1 if query else 1
        return sign * HashedEmbedder(64).embed(texts, query=query)


TEXTS = ["red shoes", "blue shoes", "red shoes", "好用"]


def test_each_text_is_computed_once(tmp_path: Path) -> None:
    inner = CountingEmbedder()
    cached = CachedEmbedder(inner, EmbeddingCache.open(tmp_path))
    first = cached.embed(TEXTS, query=False)
    assert inner.computed == 3
    np.testing.assert_array_equal(cached.embed(TEXTS[::-1], query=False), first[::-1])
    assert inner.computed == 3
    np.testing.assert_array_equal(cached.embed(TEXTS, query=True), -first)
    assert inner.computed == 6
    again = CountingEmbedder()
    fresh = CachedEmbedder(again, EmbeddingCache.open(tmp_path)).embed(TEXTS, query=False)
    assert again.computed == 0
    np.testing.assert_array_equal(fresh, first)


def test_rows_keep_length_one_and_stay_near_the_exact_ones(tmp_path: Path) -> None:
    cached = CachedEmbedder(CountingEmbedder(), EmbeddingCache.open(tmp_path))
    vectors = cached.embed(TEXTS, query=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, HashedEmbedder(64).embed(TEXTS, query=False), atol=1e-3)


def test_embedders_do_not_share_vectors(tmp_path: Path) -> None:
    cache = EmbeddingCache.open(tmp_path)
    one, other = HashedEmbedder(64), HashedEmbedder(64).fit(TEXTS)
    CachedEmbedder(one, cache).embed(TEXTS, query=False)
    np.testing.assert_allclose(
        CachedEmbedder(other, cache).embed(TEXTS, query=False),
        other.embed(TEXTS, query=False),
        atol=1e-3,
    )
    assert len(cache) == 6


def test_a_fitted_cached_embedder_stays_cached(tmp_path: Path) -> None:
    cached = CachedEmbedder(HashedEmbedder(64), EmbeddingCache.open(tmp_path))
    assert cached.fit(TEXTS).fingerprint != cached.fingerprint
    assert cached.fit(TEXTS).cache is cached.cache


def test_no_texts(tmp_path: Path) -> None:
    cached = CachedEmbedder(HashedEmbedder(64), EmbeddingCache.open(tmp_path))
    assert cached.embed([], query=True).shape == (0, 64)


def test_a_cache_that_cannot_be_written_warns_once_and_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cached = CachedEmbedder(CountingEmbedder(), EmbeddingCache.open(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        first = cached.embed(TEXTS, query=False)
        second = cached.embed(TEXTS, query=False)
    np.testing.assert_array_equal(first, second)
    assert len([r for r in caplog.records if "is not used" in r.message]) == 1


def test_a_damaged_cache_warns_and_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "embeddings.sqlite").write_text("not a database " * 100)
    cache = EmbeddingCache.open(tmp_path)
    with caplog.at_level(logging.WARNING):
        vectors = CachedEmbedder(CountingEmbedder(), cache).embed(TEXTS, query=False)
    assert vectors.shape == (4, 64)
    assert len(cache) == 0
    assert len(caplog.records) == 1


def fill(folder: Path, worker: int) -> int:
    cached = CachedEmbedder(HashedEmbedder(64), EmbeddingCache.open(folder))
    texts = [f"text {n}" for n in range(worker * 50, worker * 50 + 300)]
    return len(cached.embed(texts, query=False))


def test_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as workers:
        assert list(workers.map(fill, [tmp_path] * 2, range(2))) == [300, 300]
    assert len(EmbeddingCache.open(tmp_path)) == 350


def test_the_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ECOMFS_CACHE")
    assert cache_folder() != tmp_path
