"""Indexes by kind and size, and their update when the pool changes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest

from ecomfs.embed import Embedder, HashedEmbedder, Vectors
from ecomfs.errors import ConfigError
from ecomfs.retrieve import DenseIndex, Retriever, build, build_index
from ecomfs.retrieve.ivf import IVFIndex
from ecomfs.types import Example


class FixedEmbedder:
    """Hashed n-grams without weights, so that nothing is learnt; remembers what it was asked."""

    dimensions = 64

    def __init__(self, name: str = "fixed") -> None:
        self.fingerprint = name
        self.asked: list[str] = []

    def fit(self, texts: Sequence[str]) -> FixedEmbedder:
        return self

    def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        self.asked += texts
        return HashedEmbedder(64).embed(texts, query=query)


TEXTS = [f"{a} {b} {n}" for n in range(8) for a in ("red", "blue") for b in ("shoe", "hat", "cup")]


def make(texts: list[str], embedder: Embedder, index: str = "auto") -> Retriever:
    examples = [Example(f"{n}-{t}", {"text": t}, "ab"[n % 2]) for n, t in enumerate(texts)]
    return Retriever(examples, texts, embedder, index=index)


QUERIES = ["red shoe", "green cup", "blue hat 3"]


def shown(retriever: Retriever) -> list[list[str]]:
    return [[d.example.id for d in one] for one in retriever.retrieve(QUERIES, 4)]


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_an_updated_retriever_equals_a_new_one(index: str) -> None:
    embedder = FixedEmbedder()
    retriever = make(TEXTS, embedder, index)
    before = shown(retriever)
    changed = [*TEXTS[5:], "green cup", "a red shoe"]
    examples = make(changed, FixedEmbedder()).examples
    embedder.asked.clear()
    updated = retriever.updated(examples, changed)
    assert embedder.asked == ["green cup", "a red shoe"]
    assert shown(updated) == shown(make(changed, FixedEmbedder(), index))
    assert shown(retriever) == before
    assert shown(updated) != before


def test_an_embedder_that_learns_is_fitted_again() -> None:
    retriever = make(TEXTS, HashedEmbedder(256))
    changed = ["green cup", *TEXTS[9:]]
    fresh = make(changed, HashedEmbedder(256))
    updated = retriever.updated(fresh.examples, changed)
    assert updated.embedder.fingerprint == fresh.embedder.fingerprint
    assert shown(updated) == shown(fresh)


def test_a_relabelled_example_shows_its_new_label() -> None:
    retriever = make(TEXTS, FixedEmbedder())
    examples = [Example(e.id, e.fields, "c") for e in retriever.examples]
    updated = retriever.updated(examples, TEXTS)
    assert updated.labels == ("c",)
    assert {d.example.label for d in updated.retrieve(["red shoe"], 3)[0]} == {"c"}


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_texts_that_stand_twice_are_all_found_after_an_update(index: str) -> None:
    retriever = make([*TEXTS, "red shoe 0", "red shoe 0"], FixedEmbedder(), index)
    changed = [*TEXTS[3:], "red shoe 0", "red shoe 0", "red shoe 0", "red shoe 0"]
    examples = make(changed, FixedEmbedder()).examples
    found = retriever.updated(examples, changed).neighbours(["red shoe 0"], 4)[0]
    assert sorted(found.positions.tolist()) == [len(changed) - n for n in (4, 3, 2, 1)]


def test_the_kind_follows_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(build, "EXACT_UP_TO", len(TEXTS))
    retriever = make(TEXTS, FixedEmbedder())
    assert isinstance(retriever.index, DenseIndex)
    grown = [*TEXTS, "one more"]
    updated = retriever.updated(make(grown, FixedEmbedder()).examples, grown)
    assert isinstance(updated.index, IVFIndex)


def test_kinds() -> None:
    vectors = HashedEmbedder(64).embed(TEXTS * 3, query=False)
    assert build_index(vectors).description == f"exact, {len(vectors)} vectors"
    assert "recall@10" in build_index(vectors, "ivf").description
    with pytest.raises(ConfigError, match="choose auto, exact or ivf"):
        build_index(vectors, "best")


def test_faiss_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match="faiss"):
        build_index(np.eye(50, dtype=np.float32), "ivf")
