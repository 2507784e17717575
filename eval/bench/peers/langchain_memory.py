"""LangChain's SemanticSimilarityExampleSelector with its in-memory vector store.

It has no batch call: 64 queries are sent one after another.
"""

from __future__ import annotations

from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import SemanticSimilarityExampleSelector
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from worker import K, read_texts, vectors


class Looked(Embeddings):
    """Vectors that were computed before; a query's text is its number."""

    def __init__(self, folder: Path) -> None:
        self._vectors = vectors(folder)
        self._queries = [row.tolist() for row in vectors(folder, "queries.npy")]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        assert len(texts) == len(self._vectors), "asked once, for the whole pool"
        return [row.tolist() for row in self._vectors]

    def embed_query(self, text: str) -> list[float]:
        return self._queries[int(text)]


class System:
    store: type[VectorStore] = InMemoryVectorStore

    def __init__(self, folder: Path) -> None:
        examples = [{"text": t, "number": str(n)} for n, t in enumerate(read_texts(folder))]
        self._selector = SemanticSimilarityExampleSelector.from_examples(
            examples, Looked(folder), self.store, k=K, input_keys=["text"]
        )

    def search(self, numbers: list[int]) -> tuple[list[list[int]], None]:
        return [
            [int(e["number"]) for e in self._selector.select_examples({"text": str(number)})]
            for number in numbers
        ], None
