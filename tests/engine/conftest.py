"""Real engines for the tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer

from ecomfs.core import event_loop
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.packaged import packaged_model


@pytest.fixture(scope="session")
def smollm2() -> Iterator[GgufEngine]:
    """SmolLM2 135M, read by llama.cpp."""
    engine = GgufEngine(packaged_model("smollm2"), context=1024)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture(scope="session")
def gemma() -> Iterator[GgufEngine]:
    """Gemma 3 270M, which wants BOS, read by llama.cpp."""
    engine = GgufEngine(packaged_model("demo"), context=1024)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """A server that speaks vLLM's protocol, on the background loop."""
    server = FaultServer()
    event_loop.run(server.start())
    yield server
    event_loop.run(server.stop())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test, and an empty cache of Hugging Face's own tools."""
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"
