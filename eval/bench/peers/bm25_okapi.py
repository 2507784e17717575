"""rank_bm25's BM25Okapi over the same terms (``terms.txt``: written beside the texts)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rank_bm25 import BM25Okapi
from worker import K, read_texts


class System:
    def __init__(self, folder: Path) -> None:
        self._queries = [line.split() for line in read_texts(folder, "query_terms.txt")]
        self._index = BM25Okapi([line.split() for line in read_texts(folder, "terms.txt")])

    def search(self, numbers: list[int]) -> tuple[list[list[int]], None]:
        return [
            np.argsort(self._index.get_scores(self._queries[n]))[::-1][:K].tolist() for n in numbers
        ], None
