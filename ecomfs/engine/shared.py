"""Engines shared by all classifiers of a process: one per spec, so that a model is loaded once."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import platform
import threading
from collections.abc import Sequence
from dataclasses import replace

from ecomfs.core import event_loop
from ecomfs.core.cache import ByteCache, cache_folder
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.canary import CHECKS, CanaryReport, canary, canary_each
from ecomfs.engine.factory import is_rechecked, open_engine
from ecomfs.engine.protocol import Engine, SupportsDowngrade, SupportsProbe, has_model
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EngineUnavailableError,
    MissingFileError,
    ModelError,
)

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_open: dict[str, Engine] = {}
_seen: dict[str, tuple[CanaryReport, ...]] = {}


def shared_engine(spec: str = "auto") -> Engine:
    """The shared engine of this process for a spec, opened at first use.

    Its readings are cached in the user's cache folder (``ECOMFS_READING_CACHE=off`` switches this
    off). Every server, and every model that is loaded for the first time on this machine, is
    checked by the canary before use (:func:`canary_reports`). Do not close the engine: it is closed
    at exit, or by :func:`close_shared`.

    Parameters
    ----------
    spec : str
        See :func:`open_engine`.

    Returns
    -------
    Engine
        The same object for the same spec.

    Raises
    ------
    CanaryError
        A required check failed; see also :func:`open_engine`.

    Examples
    --------
    >>> shared_engine("gpt")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 'gpt' names no engine (one of: gguf:<file>, ...)
    """
    with _lock:
        if spec not in _open:
            engine = open_engine(spec)
            try:
                _seen[spec] = _checked(engine)
            except EcomfsError:
                event_loop.run(engine.aclose())
                raise
            if not _open:
                atexit.register(_close_at_exit)
            off = os.environ.get("ECOMFS_READING_CACHE", "").casefold() in ("0", "off", "no")
            cached = has_model(engine) and not off
            _open[spec] = CachedEngine(engine, ReadingCache.open()) if cached else engine
        return _open[spec]


def _checked(engine: Engine) -> tuple[CanaryReport, ...]:
    """The canary's reports of an engine; raises if a required check failed."""
    if not has_model(engine):
        return ()
    if not is_rechecked(engine):
        return (_checked_once(engine).require(),)
    # A server may ignore unknown fields and answer all the same.
    reports = [report.require() for report in event_loop.run(canary_each(engine))]
    drop_lacking(engine, reports)
    if isinstance(engine, SupportsProbe):
        event_loop.run(engine.remember())
    return tuple(replace(report, fingerprint=engine.fingerprint) for report in reports)


def _checked_once(engine: Engine) -> CanaryReport:
    """The canary's report of a model in this process. The same files and runtime give the same
    answers on one machine, so a model that passed is not checked at every start."""
    key = f"{engine.fingerprint}|{CHECKS}|{platform.machine()}|{platform.node()}".encode()
    with contextlib.closing(ByteCache(cache_folder() / "canary.sqlite")) as cache:
        if kept := cache.get("passed", [key]):
            return CanaryReport.from_dict(json.loads(kept[key]))
        report = event_loop.run(canary(engine))
        if report.ok:
            cache.put("passed", {key: json.dumps(report.as_dict()).encode()})
        return report


def drop_lacking(engine: Engine, reports: Sequence[CanaryReport]) -> None:
    """Remove capabilities that the canary did not find on all servers of an engine, and log a
    warning, because labels are then read in another way."""
    for report in reports:
        for check in report.checks:
            if check.lacks:
                logger.warning("%s: %s: %s", report.engine, check.name, check.detail)
    lacking = frozenset[str]().union(*(report.lacking for report in reports))
    if lacking and isinstance(engine, SupportsDowngrade):
        engine.drop_capabilities(lacking)


def canary_reports(spec: str = "auto") -> tuple[CanaryReport, ...]:
    """Canary reports of the shared engine ``spec``: one per server at the start, and one each time
    a server recovered. For a model in this process, the report of its first check on this machine.
    Empty for engines that are not open."""
    with _lock:
        asked = next((a for a, e in _open.items() if spec in (a, e.spec)), spec)
        engine = _open.get(asked)
        inner = engine.engine if isinstance(engine, CachedEngine) else engine
        return (*_seen.get(asked, ()), *getattr(inner, "rechecks", ()))


def reopen_engine(spec: str) -> Engine:
    """:func:`shared_engine` for a classifier from another process, in which the engine was given as
    an object."""
    try:
        return shared_engine(spec)
    except (ConfigError, ModelError, MissingFileError) as error:
        raise EngineUnavailableError(
            f"the classifier was fitted with an engine object, and {spec!r} cannot be opened "
            f"in this process: {error.message}",
            hint='name the engine (engine="gguf:…") before fit, or set_params(engine=…) here',
        ) from error


def close_shared() -> None:
    """Close all shared engines and free their memory; the next use opens them again."""
    atexit.unregister(_close_at_exit)
    with _lock:
        _seen.clear()
        while _open:
            _, engine = _open.popitem()
            event_loop.run(engine.aclose())


def _close_at_exit() -> None:
    # aiohttp warns about connections that are left open.
    with contextlib.suppress(Exception):
        close_shared()


def _after_fork() -> None:
    """A forked process opens its own engines: it cannot use threads and connections of the
    parent."""
    global _lock
    _lock = threading.Lock()
    for engine in _open.values():
        event_loop.abandon(engine)
    _open.clear()
    _seen.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
