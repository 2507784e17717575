"""When llama.cpp's server object may be used, and when it may be destroyed.

xllamacpp's destructor signals llama.cpp's main loop to end and joins its thread while it holds
Python's lock. The constructor returns *before* that loop runs, and a starting loop resets the
signal: the destructor of a server that is destroyed too early never returns, and the lock blocks
Ctrl-C, signals and all other threads. In a forked child, which has no such thread, the join never
returns either.

So only :func:`_destroy` runs the destructor, in the process that made the server and after its loop
has answered. Until then an extra reference keeps the object alive through exceptions, garbage
collection and interpreter exit. If the loop does not answer, the memory is leaked until the
process ends.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ecomfs.engine.llama.tokenizer import LlamaTokenizer
from ecomfs.errors import EngineUnavailableError

logger = logging.getLogger(__name__)

READY_SECONDS = 600.0
"""Longest wait for the first answer: a large model is read from the disk for it."""
CLOSE_SECONDS = 60.0
"""Longest wait for the last answer before the server is destroyed."""


class LlamaProcess:
    """A llama.cpp server whose main loop runs.

    Args:
        start: makes xllamacpp's server; its exceptions are raised here.
        name: the model's name, for messages.
        key: opens the server's HTTP port.

    Attributes:
        http: the tokenizer, which is the server's HTTP port.

    Raises:
        EngineUnavailableError: the loop does not answer.
    """

    def __init__(self, start: Callable[[], Any], name: str, key: str) -> None:
        server = start()
        _pin(server)
        self.http = LlamaTokenizer(name, server.listening_address, key)
        if not self.http.loop_answers(READY_SECONDS):
            raise EngineUnavailableError(
                f"{name}: llama.cpp has loaded the model and does not answer",
                hint="start again; if it stays so, try a smaller context",
            )
        self._held = [server]
        # Also for an engine that was not closed: on garbage collection and at exit.
        self._end = weakref.finalize(self, _destroy, self._held, self.http, name, os.getpid())

    def complete(self, request: dict[str, Any]) -> Any:
        """llama.cpp's answer to a completion request."""
        return self._held[0].handle_completions(request)

    def close(self) -> None:
        """Free the model; does nothing the second time."""
        self._end()


def open_process(start: Callable[[], Any], name: str, key: str) -> LlamaProcess:
    """A :class:`LlamaProcess`, made in a thread: Ctrl-C raises in the main thread only, where it
    could drop a server between its construction and the next line. When the caller gives up, the
    thread goes on and frees the server."""
    outcome: Future[LlamaProcess] = Future()

    def run() -> None:
        try:
            outcome.set_result(LlamaProcess(start, name, key))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="ecomfs-gguf-open", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()


def _destroy(held: list[Any], http: LlamaTokenizer, name: str, owner: int) -> None:
    """Run the destructor if it will return; ``held``: the only reference to the server."""
    if os.getpid() != owner:
        return
    # A connection that stays open, or a call on it, is something the destructor would wait for.
    http.close()
    if http.loop_answers(CLOSE_SECONDS):
        _unpin(held[0])
        held.clear()
    else:
        logger.warning("%s: llama.cpp does not answer; its memory stays until the end", name)


_pinned: set[int] = set()


def _pin(server: Any) -> None:
    _pinned.add(id(server))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))


def _unpin(server: Any) -> None:
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(server))
    _pinned.discard(id(server))


def _in_forked_child() -> None:
    """When the child ends, llama.cpp's static destructors join threads that it does not have,
    which crashes or hangs: end before them, with the same exit status. Python has written its
    files by then."""
    libc = ctypes.CDLL(None)
    if _pinned and hasattr(libc, "on_exit"):  # glibc's; calls the function with the exit status
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
