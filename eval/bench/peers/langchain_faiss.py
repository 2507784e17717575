"""LangChain's SemanticSimilarityExampleSelector with its FAISS store (a flat index)."""

from __future__ import annotations

import langchain_memory
from langchain_community.vectorstores import FAISS


class System(langchain_memory.System):
    store = FAISS
