"""One engine per spec and process, checked before its first row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer
from stand_in_model import serving
from tiny import tiny_model

from ecomfs.core import event_loop
from ecomfs.engine import canary as canary_module
from ecomfs.engine.cached import CachedEngine
from ecomfs.engine.factory import open_engine
from ecomfs.engine.shared import canary_reports, close_shared, shared_engine
from ecomfs.errors import CanaryError


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    close_shared()
    yield
    close_shared()


def test_a_server_that_fails_the_canary_is_not_used(fault_server: FaultServer) -> None:
    spec = f"vllm:{fault_server.url}"
    with pytest.raises(CanaryError):
        shared_engine(spec)
    assert canary_reports(spec) == ()


@pytest.mark.torch
class TestSeveral:
    @pytest.fixture
    def servers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
        folder = tiny_model(tmp_path / "tiny", context=2048)
        engine = open_engine(f"transformers:{folder}?device=cpu")
        servers = [serving(engine, folder, 259), serving(engine, folder, 259)]
        # An untrained model of bytes: no sense, and a code is a byte.
        monkeypatch.setattr(canary_module, "_SURE", 0.0)
        monkeypatch.setattr(canary_module, "CODES", tuple("ABCDEFGHIJ"))
        yield servers
        for server in servers:
            event_loop.run(server.stop())
        event_loop.run(engine.aclose())

    def test_each_server_is_checked_and_reported(self, servers: list[Any]) -> None:
        spec = f"vllm:{servers[0].url},{servers[1].url}"
        engine = shared_engine(spec)
        assert isinstance(engine, CachedEngine)
        assert shared_engine(spec) is engine
        reports = canary_reports(spec)
        assert [r.engine for r in reports] == [f"vllm:{s.url}" for s in servers]
        assert all(r.ok and r.fingerprint == engine.fingerprint for r in reports)
        assert json.loads(json.dumps([r.as_dict() for r in reports]))[0]["ok"] is True
        assert canary_reports(engine.spec) == reports

    def test_a_process_that_ends_leaves_no_connection_open(self, servers: list[Any]) -> None:
        script = (
            "import sys\n"
            "from ecomfs.engine import canary\n"
            "canary._SURE, canary.CODES = 0.0, tuple('ABCDEFGHIJ')\n"
            "from ecomfs import FewShotClassifier\n"
            "classifier = FewShotClassifier('review_sentiment', f'vllm:{sys.argv[1]}', k=0)\n"
            "fitted = classifier.fit(['good', 'bad'], ['pos', 'neg'])\n"
            "print(len(fitted.predict(['fine'])))\n"
        )
        command = [sys.executable, "-c", script, servers[0].url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert (done.stdout, done.stderr) == ("1\n", "")

    def test_a_recovered_server_is_reported_too(self, servers: list[Any]) -> None:
        spec = f"vllm:{servers[0].url}?attempts=1"
        engine = shared_engine(spec)
        port = int(servers[0].url.rsplit(":", 1)[1])
        event_loop.run(servers[0].stop())
        with pytest.raises(Exception, match="no server answers"):
            event_loop.run(engine.generate([_prompt()], max_tokens=1))
        event_loop.run(servers[0].start(port))
        event_loop.run(engine.generate([_prompt()], max_tokens=1))
        first, again = canary_reports(spec)
        assert first.engine == again.engine
        assert again.ok


def _prompt() -> Any:
    from prompts import of_tokens

    return of_tokens(5, 6)
