"""The tokenizer of a model that another process serves.

Read from the model's own ``tokenizer.json`` when that lies on this machine and gives the very
tokens the server gives; else asked from the server, text by text.
"""

from __future__ import annotations

import importlib.util
import json
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecomfs.core.retry import permanent
from ecomfs.engine.files import hub_cache
from ecomfs.engine.protocol import Tokenizer
from ecomfs.errors import EngineResponseError, EngineUnavailableError

PROBE = "Review: très bien, 很好!  7/10\nLabel: positive"
"""A text that tokenizers which differ would tokenize differently."""
# What control tokens look like: <|im_start|>, <bos>, </s>, <start_of_turn>, [INST], <|eot_id|>
_CONTROL = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")


class ServerApi:
    """A model server's small, blocking side: used once at the start, and for tokenizing."""

    def __init__(self, url: str, *, api_key: str | None, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = timeout

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET, or POST when there is a body.

        Raises:
            EngineUnavailableError: nothing answers, or the key is refused.
            EngineResponseError: the answer is not a JSON object, or an error.
        """
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers=self._headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (401, 403):
                    raise refused(self.url, error.code) from None
                raise EngineResponseError(
                    f"{self.url}{path} answered HTTP {error.code}",
                    hint="is this a vLLM server? its address has no path: http://host:8000",
                ) from None
        except OSError as error:
            raise nobody(self.url, error) from error
        except ValueError as error:
            raise EngineResponseError(f"{self.url}{path}: the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise EngineResponseError(f"{self.url}{path}: the answer is not a JSON object")
        return answer


def nobody(url: str, error: BaseException) -> EngineUnavailableError:
    """The error for an address where no server listens."""
    reason = getattr(error, "reason", None) or error
    return EngineUnavailableError(
        f"no model server answers at {url}: {reason}",
        hint="start one with 'ecomfs up --model …', or use --engine gguf:demo",
    )


def refused(url: str, status: int) -> EngineUnavailableError:
    """The error for a server that wants a (different) key; repeating would not help."""
    return permanent(
        EngineUnavailableError(
            f"{url} refuses the API key (HTTP {status})", hint="set ECOMFS_VLLM_API_KEY"
        )
    )


class RemoteTokenizer:
    """Asks the server. Text that looks like a control token is cut after its first character and
    tokenized in parts, because the server has no switch to read it as plain text."""

    def __init__(self, api: ServerApi, model: str) -> None:
        self._api = api
        self._model = model
        self._bos = tuple(self._ids("a", special=True)[: -len(self._ids("a")) or None])

    @property
    def bos(self) -> tuple[int, ...]:
        """What the server puts before a text."""
        return self._bos

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        ids = list(self._bos) if bos else []
        start = 0
        for match in _CONTROL.finditer(text):
            cut = match.start() + 1
            ids += self._ids(text[start:cut])
            start = cut
        return ids + (self._ids(text[start:]) if text[start:] else [])

    def decode(self, ids: Sequence[int]) -> str:
        body = {"model": self._model, "tokens": list(ids)}
        return str(self._api.call("/detokenize", body)["prompt"])

    def _ids(self, text: str, *, special: bool = False) -> list[int]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": special}
        answer = self._api.call("/tokenize", body)
        try:
            return [int(i) for i in answer["tokens"]]
        except (KeyError, TypeError, ValueError) as error:
            raise EngineResponseError(f"{self._api.url}/tokenize gave no tokens") from error


class FileTokenizer:
    """A ``tokenizer.json``, through the ``tokenizers`` library.

    Args:
        file: the ``tokenizer.json``.
        bos: what stands before a text.
    """

    def __init__(self, file: Path, bos: Sequence[int] = ()) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        self._tokenizer = FastTokenizer.from_file(str(file))
        # Control tokens in a text are then encoded as ordinary characters.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._bos = list(bos)

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        return self.encode_all([text], bos=bos)[0]

    def encode_all(self, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
        """See :meth:`ecomfs.engine.protocol.Batching.encode_all`: the other threads of Python are
        stopped and let go once, and the texts are shared among the cores."""
        # The fast call differs in that it keeps no offsets: a quarter less time.
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[*self._bos, *one.ids] if bos else one.ids for one in found]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def served_tokenizer(api: ServerApi, *, model: str, root: str | None) -> Tokenizer:
    """The tokenizer of ``model``: from its file if there is one here and the server agrees with
    it, else remote."""
    remote = RemoteTokenizer(api, model)
    file = tokenizer_file(root) if root else None
    if file is None or importlib.util.find_spec("tokenizers") is None:
        return remote
    local = FileTokenizer(file, remote.bos)
    # A file of that name need not be the file the server reads.
    return local if local.encode(PROBE) == remote.encode(PROBE) else remote


def tokenizer_file(root: str) -> Path | None:
    """``tokenizer.json`` of a model folder or of a hub id in the hub's cache, if it is here."""
    direct = Path(root) / "tokenizer.json"
    if direct.is_file():
        return direct
    folder = hub_cache() / f"models--{root.strip('/').replace('/', '--')}" / "snapshots"
    found = sorted(folder.glob("*/tokenizer.json"), key=lambda f: f.stat().st_mtime)
    return found[-1] if found else None
