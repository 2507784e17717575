"""Work in the thread of an engine that loads a model itself."""

from __future__ import annotations

import asyncio
import os

import pytest

from ecomfs.engine.in_process import Worker
from ecomfs.errors import EngineUnavailableError


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_an_error_at_once() -> None:
    worker = Worker("test", "gguf:some")
    assert asyncio.run(worker.run(lambda _: 7)) == 7
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(worker.run(lambda _: 7))
        except EngineUnavailableError as error:
            worker.close()
            status = 0 if "gguf:some" in str(error) and worker.forked else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(worker.run(lambda _: 7)) == 7
    worker.close()
