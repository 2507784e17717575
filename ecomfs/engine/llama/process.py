"""llama.cpp's server object: its tokenizer, its start, and its safe destruction.

xllamacpp's destructor signals llama.cpp's main loop to end and joins its thread while it holds
Python's lock (GIL). The constructor returns *before* that loop runs, and a starting loop resets the
signal. So the destructor of a server that is destroyed too early never returns, and the lock blocks
Ctrl-C, signals and all other threads. In a forked child, which does not have the thread, the join
never returns either.

Therefore only :func:`_destroy` runs the destructor, in the process that made the server and after
its loop has answered. Until then an extra reference keeps the object alive through exceptions,
garbage collection and interpreter exit. If the loop does not answer, the memory is leaked until
the process ends.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from ecomfs.engine.in_process import check_not_forked
from ecomfs.errors import EngineResponseError, EngineUnavailableError

logger = logging.getLogger(__name__)

READY_SECONDS = 600.0
"""Longest wait for the first answer: a large model must be read from the disk."""
CLOSE_SECONDS = 60.0
"""Longest wait for the last answer before the server is destroyed."""


class LlamaTokenizer:
    """The model's own tokenizer (:class:`ecomfs.engine.protocol.Tokenizer`), for any thread, also
    while a prompt is computed. xllamacpp offers it only over HTTP: on loopback, on a free port
    (``address``), with a random key.
    """

    def __init__(self, name: str, address: str, key: str) -> None:
        self._name = name
        self.address = urlsplit(address)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None
        # Reentrant: the garbage collector may close it in the middle of a call.
        self._lock = threading.RLock()
        self._closed = False
        self._owner = os.getpid()

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids; text that looks like a control token stays plain text."""
        if not text and not bos:
            return []
        return self._ids({"content": text, "add_special": bos, "parse_special": False})

    def encode_control(self, text: str) -> list[int]:
        """Token ids of a part of a chat template's frame: control tokens in it are parsed."""
        return self._ids({"content": text, "add_special": False, "parse_special": True})

    def _ids(self, body: dict[str, Any]) -> list[int]:
        ids: list[int] = self._call("POST", "/tokenize", body)["tokens"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        text: str = self._call("POST", "/detokenize", {"tokens": list(ids)})["content"]
        return text

    def model_meta(self) -> dict[str, Any]:
        """Metadata of the model file: ``n_vocab``, ``n_ctx``, ``n_ctx_train``…"""
        meta: dict[str, Any] = self._call("GET", "/v1/models", None)["data"][0]["meta"]
        return meta

    def control_tokens(self) -> dict[str, str]:
        """Text of the control tokens that a chat template may name."""
        props = self._call("GET", "/props", None)
        return {name: str(props.get(name) or "") for name in ("bos_token", "eos_token")}

    def _connected(self, seconds: float) -> http.client.HTTPConnection:
        host = self.address.hostname or "127.0.0.1"
        return http.client.HTTPConnection(host, self.address.port, timeout=seconds)

    def loop_answers(self, seconds: float) -> bool:
        """Whether llama.cpp's main loop answers a small request within ``seconds``. It uses its own
        connection, so that it waits for nothing else."""
        connection = self._connected(seconds)
        # An answer to this can only come from the loop: other paths (tokens, the model's
        # description) are answered by the HTTP threads, also while there is no loop yet.
        body = json.dumps({"prompt": "a", "n_predict": 0, "cache_prompt": False})
        try:
            connection.request("POST", "/completion", body, self._headers)
            response = connection.getresponse()
            response.read()
            return response.status == 200
        except (http.client.HTTPException, OSError):
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        payload = None if body is None else json.dumps(body)
        # Before the lock: another thread may have held it when the process was forked.
        check_not_forked(self._owner, self._name)
        with self._lock:
            if self._closed:
                raise EngineUnavailableError(f"{self._name}: the engine is closed")
            try:
                status, content = self._exchange(method, path, payload)
            except (http.client.HTTPException, ConnectionError):
                # llama.cpp ends a connection after 100 requests or some idle seconds.
                try:
                    status, content = self._exchange(method, path, payload)
                except (http.client.HTTPException, OSError) as error:
                    raise EngineUnavailableError(
                        f"{self._name}: the tokenizer does not answer"
                    ) from error
        if status != 200:
            raise EngineResponseError(f"{self._name}: {path} answered HTTP {status}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def _exchange(self, method: str, path: str, payload: str | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connected(60)
        try:
            self._connection.request(method, path, payload, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            self._connection = None
            raise


class LlamaProcess:
    """A llama.cpp server whose main loop runs.

    Args:
        start: makes xllamacpp's server; its exceptions are raised here.
        name: name of the model, for messages.
        key: API key of the server's HTTP port.

    Attributes:
        http: the tokenizer, which is the server's HTTP port.

    Raises:
        EngineUnavailableError: the loop does not answer.
    """

    def __init__(self, start: Callable[[], Any], name: str, key: str) -> None:
        server = start()
        _pinned.add(id(server))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
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
    """Make a :class:`LlamaProcess` in a thread: Ctrl-C raises in the main thread only, where it
    could interrupt between construction and the next line. If the caller stops waiting, the thread
    continues and frees the server."""
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
        _pinned.discard(id(held[0]))
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(held[0]))
        held.clear()
    else:
        logger.warning("%s: llama.cpp does not answer; its memory stays until the end", name)


_pinned: set[int] = set()  # ids of servers that an extra reference keeps alive


def _in_forked_child() -> None:
    """At the end of a forked child, llama.cpp's static destructors would join threads that it does
    not have, and crash or hang. End before them, with the same exit status; Python has written its
    files by then."""
    libc = ctypes.CDLL(None)
    if _pinned and hasattr(libc, "on_exit"):  # glibc's; calls the function with the exit status
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
