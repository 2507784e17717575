"""ecomfs's lexical mode: bm25s, with the project's terms."""

from __future__ import annotations

from pathlib import Path

from worker import K, read_texts

from ecomfs.retrieve import LexicalIndex


class System:
    def __init__(self, folder: Path) -> None:
        self._queries = read_texts(folder, "query_texts.txt")
        self._index = LexicalIndex(read_texts(folder))

    def search(self, numbers: list[int]) -> tuple[list[list[int]], None]:
        hits = self._index.search([self._queries[n] for n in numbers], K)
        return [h.positions.tolist() for h in hits], None
