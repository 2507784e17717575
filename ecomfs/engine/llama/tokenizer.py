"""llama.cpp's tokenizer, which xllamacpp offers only over HTTP: on loopback, a free port, with a
key of this process."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ecomfs.engine.threads import check_not_forked
from ecomfs.errors import EngineResponseError, EngineUnavailableError


class LlamaTokenizer:
    """The model's own tokenizer (:class:`ecomfs.engine.protocol.Tokenizer`); any thread may use
    it, also while a prompt is computed.

    Args:
        name: the model's name, for messages.
        address: where llama.cpp listens.
        key: what opens it.
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
        body = {"content": text, "add_special": bos, "parse_special": False}
        ids: list[int] = self._call("POST", "/tokenize", body)["tokens"]
        return ids

    def encode_control(self, text: str) -> list[int]:
        """Token ids of a part of a chat template's frame: control tokens in it are parsed."""
        body = {"content": text, "add_special": False, "parse_special": True}
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

    def loop_answers(self, seconds: float) -> bool:
        """Whether llama.cpp's main loop answers a tiny request within ``seconds``; on a
        connection of its own, so that nothing else is waited for."""
        host, port = self.address.hostname or "127.0.0.1", self.address.port
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
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
            host, port = self.address.hostname or "127.0.0.1", self.address.port
            self._connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            self._connection.request(method, path, payload, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()
            self._connection = None
            raise
