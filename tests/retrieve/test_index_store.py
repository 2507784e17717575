from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ecomfs.embed import Embedder, HashedEmbedder, Vectors
from ecomfs.retrieve import Retriever, VectorIndex
from ecomfs.retrieve.half import HalfRows
from ecomfs.retrieve.index_store import open_index
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


def same(one: VectorIndex, other: VectorIndex) -> bool:
    everything = np.arange(len(one))
    return len(one) == len(other) and bool(
        np.array_equal(one.vectors[everything], other.vectors[everything])
    )


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_a_kept_index_embeds_nothing_again(tmp_path: Path, kind: str) -> None:
    first = open_index(TEXTS, FixedEmbedder(), tmp_path, kind)
    embedder = FixedEmbedder()
    second = open_index(TEXTS, embedder, tmp_path, kind)
    assert embedder.asked == []
    assert same(first, second)


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_a_changed_pool_embeds_only_what_is_new(tmp_path: Path, kind: str) -> None:
    open_index(TEXTS, FixedEmbedder(), tmp_path, kind)
    embedder = FixedEmbedder()
    changed = ["new one", *TEXTS[3:], "new two"]
    updated = open_index(changed, embedder, tmp_path, kind)
    assert embedder.asked == ["new one", "new two"]
    assert same(updated, open_index(changed, FixedEmbedder(), tmp_path / "other", kind))


def test_a_much_changed_pool_is_kept_anew_and_the_old_one_goes(tmp_path: Path) -> None:
    open_index(TEXTS, FixedEmbedder(), tmp_path)
    other = [text.upper() + "!" for text in TEXTS[10:]] + TEXTS[:10]
    open_index(other, FixedEmbedder(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    embedder = FixedEmbedder()
    open_index(other, embedder, tmp_path)
    assert embedder.asked == []


def test_embedders_and_kinds_do_not_share(tmp_path: Path) -> None:
    open_index(TEXTS, FixedEmbedder(), tmp_path, "exact")
    for embedder, kind in ((FixedEmbedder("other"), "exact"), (FixedEmbedder(), "ivf")):
        open_index(TEXTS, embedder, tmp_path, kind)
        assert len(embedder.asked) == len(TEXTS)


@pytest.mark.parametrize("file", ["meta.json", "keys.npy", "vectors.npy"])
def test_a_damaged_index_is_built_again(
    tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_index(TEXTS, FixedEmbedder(), tmp_path)
    (damaged,) = tmp_path.glob(f"*/{file}")
    damaged.write_bytes(b"\x80\x04not this")
    embedder = FixedEmbedder()
    with caplog.at_level(logging.WARNING):
        again = open_index(TEXTS, embedder, tmp_path)
    assert len(embedder.asked) == len(TEXTS)
    assert same(first, again)
    assert "is not used" in caplog.text


def test_a_folder_that_cannot_be_written_costs_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        index = open_index(TEXTS, FixedEmbedder(), tmp_path / "file" / "folder")
    assert len(index) == len(TEXTS)
    assert "is not kept" in caplog.text


def make(texts: list[str], embedder: Embedder, folder: Path | None = None) -> Retriever:
    examples = [Example(f"{n}-{t}", {"text": t}, "ab"[n % 2]) for n, t in enumerate(texts)]
    return Retriever(examples, texts, embedder, index_dir=folder)


QUERIES = ["red shoe", "green cup", "blue hat 3"]


def shown(retriever: Retriever) -> list[list[str]]:
    return [[d.example.id for d in one] for one in retriever.retrieve(QUERIES, 4)]


@pytest.mark.parametrize("folder", [None, "kept"])
def test_an_updated_retriever_equals_a_new_one(tmp_path: Path, folder: str | None) -> None:
    home = tmp_path / folder if folder else None
    embedder = FixedEmbedder()
    retriever = make(TEXTS, embedder, home)
    before = shown(retriever)
    changed = [*TEXTS[5:], "green cup", "a red shoe"]
    examples = make(changed, FixedEmbedder()).examples
    embedder.asked.clear()
    updated = retriever.updated(examples, changed)
    assert embedder.asked == ["green cup", "a red shoe"]
    assert shown(updated) == shown(make(changed, FixedEmbedder(), home))
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


def test_a_kept_retriever_answers_as_before(tmp_path: Path) -> None:
    first = shown(make(TEXTS, FixedEmbedder(), tmp_path))
    assert shown(make(TEXTS, FixedEmbedder(), tmp_path)) == first


def test_a_text_that_stands_twice_does_not_cost_the_memory_map(tmp_path: Path) -> None:
    texts = [f"{text} {n}" for n in range(500) for text in TEXTS[:40]] + TEXTS[:2] + TEXTS[:2]
    first = open_index(texts, FixedEmbedder(), tmp_path, "exact")
    second = open_index(texts, FixedEmbedder(), tmp_path, "exact")
    assert same(first, second)
    assert isinstance(second.vectors, HalfRows)
    base = second.vectors.stored
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
