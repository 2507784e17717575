"""One open engine a spec and process: a model is loaded once however many classifiers use it."""

from __future__ import annotations

import os
import threading

from ecomfs import aio
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.canary import canary
from ecomfs.engine.factory import open_engine
from ecomfs.engine.protocol import Engine
from ecomfs.errors import EcomfsError

_SERVED = ("vllm:",)
_lock = threading.Lock()
_open: dict[str, Engine] = {}


def shared_engine(spec: str = "auto") -> Engine:
    """The process's engine for ``spec``, opened at first use, with its readings kept in the
    user's cache folder (``ECOMFS_READING_CACHE=off`` switches that off). A server is checked by
    the start-up canary before it is used.

    Engines opened here are never closed by their users; they end with the process, or with
    :func:`close_shared`.
    """
    with _lock:
        if spec not in _open:
            engine = open_engine(spec)
            if engine.spec.startswith(_SERVED):
                # A server may ignore what it does not know and answer all the same: see first.
                try:
                    aio.run(canary(engine)).require()
                except EcomfsError:
                    aio.run(engine.aclose())
                    raise
            off = os.environ.get("ECOMFS_READING_CACHE", "").casefold() in ("0", "off", "no")
            _open[spec] = engine if off else CachedEngine(engine, ReadingCache.open())
        return _open[spec]


def close_shared() -> None:
    """Close every shared engine (their memory is freed); the next use opens anew."""
    with _lock:
        while _open:
            _, engine = _open.popitem()
            aio.run(engine.aclose())
