"""The model of a vLLM server: name, context, fingerprint, tokenizer, chat template."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecomfs.core import event_loop
from ecomfs.core.http import HttpClient, masked
from ecomfs.core.retry import permanent
from ecomfs.engine.chat import CONTROL, SWITCHES, ChatModel, ChatTemplate
from ecomfs.engine.files import folder_digest, hub_cache
from ecomfs.engine.protocol import Tokenizer
from ecomfs.engine.shared_prefix import PrefixTokenizer, cuts_by_words
from ecomfs.errors import ConfigError, EngineResponseError, EngineUnavailableError, ModelError
from ecomfs.types import Turn

_CONTEXT = 2048  # tokens, for servers that do not report it
_API_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that one or several servers serve.

    Attributes:
        name: its name in the API.
        context: longest prompt plus answer that all servers accept, in tokens.
        tokenizer: its tokenizer.
        fingerprint: model, its content if its folder is on this machine, and vLLM's version.
        root: folder or hub id that it is served from, if the server reports it.
    """

    name: str
    context: int
    tokenizer: Tokenizer
    fingerprint: str
    root: str | None = None


def served_model(http: HttpClient, urls: Sequence[str], *, model: str | None) -> ServedModel:
    """Get the model from the servers; see :class:`ecomfs.engine.vllm.engine.VllmEngine` for the
    errors."""
    apis = [ServerApi(http, url) for url in urls]
    cards = [_card(api, model) for api in apis]
    if len({card["id"] for card in cards}) > 1:
        raise ModelError(
            f"the servers serve different models: {', '.join(c['id'] for c in cards)}",
            hint="name one with model=…, or give servers of one model",
        )
    name, root = cards[0]["id"], cards[0].get("root")
    served = ServedModel(
        name,
        context=min(int(card.get("max_model_len") or _CONTEXT) for card in cards),
        tokenizer=served_tokenizer(apis[0], model=name, root=root),
        fingerprint=_fingerprint(apis[0], name, root),
        root=root,
    )
    for api, card in zip(apis[1:], cards[1:], strict=True):
        _require_same(api, card, served)
    return served


def check_still_served(http: HttpClient, url: str, served: ServedModel) -> None:
    """Check that the server at ``url`` still serves the same model with the same vLLM version."""
    api = ServerApi(http, url)
    _require_same(api, _card(api, served.name), served)


def _require_same(api: ServerApi, card: dict[str, Any], served: ServedModel) -> None:
    theirs = _fingerprint(api, card["id"], card.get("root"))
    hint = "give servers of one vLLM version and one model, served from the same path"
    if theirs != served.fingerprint:
        raise ModelError(
            f"the servers serve different models: {api.url} is {theirs}, not {served.fingerprint}",
            hint=hint,
        )
    if (context := int(card.get("max_model_len") or _CONTEXT)) < served.context:
        raise ModelError(f"{api.url} takes {context} tokens now, not {served.context}", hint=hint)
    if RemoteTokenizer(api, card["id"]).encode(PROBE) != served.tokenizer.encode(PROBE):
        raise ModelError(f"{api.url} has another tokenizer than the other servers", hint=hint)


def checked_url(url: str) -> str:
    """An http(s) address without a trailing slash or ``/v1``.

    >>> checked_url("http://localhost:8000/v1/")
    'http://localhost:8000'
    >>> checked_url("localhost:8000")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 'localhost:8000' is not an address (write vllm:http://host:8000)
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{masked(url)!r} is not an address", hint="write vllm:http://host:8000")
    if "@" in parts.netloc:  # addresses are written into results
        raise ConfigError(
            f"{masked(url)}: the address has a user name or password",
            hint="remove it from the address, and set ECOMFS_VLLM_API_KEY",
        )
    return url.rstrip("/").removesuffix("/v1")


def _card(api: ServerApi, model: str | None) -> dict[str, Any]:
    cards = api.call("/v1/models").get("data")
    if not isinstance(cards, list) or not cards or not all("id" in card for card in cards):
        raise EngineResponseError(f"{api.url}/v1/models names no model")
    card: dict[str, Any] | None = next((c for c in cards if model in (None, c["id"])), None)
    if card is None:
        raise ModelError(
            f"{api.url} does not serve {model!r}",
            hint=f"it serves: {', '.join(c['id'] for c in cards)}",
        )
    return card


def _fingerprint(api: ServerApi, model: str, root: str | None) -> str:
    version = api.call("/version").get("version", "unknown")
    if root and (Path(root) / "config.json").is_file():
        content = folder_digest(Path(root))
    else:
        content = hashlib.sha256(json.dumps([model, root]).encode()).hexdigest()
    return f"vllm-{content[:12]}-{version}"


PROBE = "Review: très bien, 很好!  7/10\nLabel: positive"
"""A text on which different tokenizers give different tokens."""


class ServerApi:
    """Blocking calls to a model server, at the start and for tokenization."""

    def __init__(self, http: HttpClient, url: str) -> None:
        self.url = url
        self._http = http

    def call(
        self, path: str, body: dict[str, Any] | None = None, *, refused: Collection[int] = ()
    ) -> dict[str, Any]:
        """The JSON object that GET, or POST with a body, returns; an empty one for a status in
        ``refused``.

        Raises:
            EngineUnavailableError: nothing answers, or the key is refused.
            EngineTimeoutError: no answer within half a minute.
            EngineResponseError: another status, or the answer is not a JSON object.
        """
        method = "GET" if body is None else "POST"
        request = self._http.request(method, self.url, path, body, timeout=_API_SECONDS)
        response = event_loop.run(request)
        if response.status in (401, 403):
            raise key_refused(self.url, response.status)
        if response.status in refused:
            return {}
        if response.status != 200:
            raise EngineResponseError(
                f"{self.url}{path} answered HTTP {response.status}",
                hint="is this a vLLM server? its address has no path: http://host:8000",
            )
        answer = response.json_object()
        if answer is None:
            raise EngineResponseError(f"{self.url}{path}: the answer is not a JSON object")
        return answer


def key_refused(url: str, status: int) -> EngineUnavailableError:
    """The error for a server that refuses the API key; a retry would not help."""
    return permanent(
        EngineUnavailableError(
            f"{url} refuses the API key (HTTP {status})", hint="set ECOMFS_VLLM_API_KEY"
        )
    )


class RemoteTokenizer:
    """Tokenizes through the server. Text that looks like a control token is split after its first
    character and tokenized in parts, because the server would parse it as a control token.

    Attributes:
        bos: token ids that the server puts before a text.
    """

    def __init__(self, api: ServerApi, model: str) -> None:
        self._api = api
        self._model = model
        self.bos = self._ids("a", special=True)[: -len(self._ids("a")) or None]

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        ids = [*self.bos] if bos else []
        start = 0
        for match in CONTROL.finditer(text):
            cut = match.start() + 1
            ids += self._ids(text[start:cut])
            start = cut
        return ids + (self._ids(text[start:]) if text[start:] else [])

    def encode_control(self, text: str) -> list[int]:
        """Token ids of a part of a chat template's frame: control tokens in it are parsed."""
        return self._ids(text)

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
        bos: token ids before a text.
    """

    def __init__(self, file: Path, bos: Sequence[int] = ()) -> None:
        # Threads that spin while waiting cost a fifth of the tokenization time, and no server reads
        # prompts as fast as one core makes them. A setting of the user is kept.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer as FastTokenizer

        self._tokenizer = FastTokenizer.from_file(str(file))
        # Control tokens in a text are then encoded as ordinary characters.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._bos = list(bos)
        known = json.loads(self._tokenizer.to_str())
        self._by_prefix: PrefixTokenizer | None = None
        if cuts_by_words(known):
            added = [token["content"] for token in known.get("added_tokens") or []]
            words = self._tokenizer.pre_tokenizer.pre_tokenize_str
            self._by_prefix = PrefixTokenizer(self._encoded, words, added)

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        return self.encode_all([text], bos=bos)[0]

    def encode_all(self, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
        """See :func:`ecomfs.engine.protocol.encode_all`; it releases Python's lock (GIL)."""
        encode = self._encoded if self._by_prefix is None else self._by_prefix.encode_all
        found = encode(texts)
        return [[*self._bos, *ids] for ids in found] if bos and self._bos else found

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        # The fast call computes no offsets and takes a quarter less time.
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in found]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def served_chat(http: HttpClient, url: str, served: ServedModel) -> ChatModel | None:
    """The chat template of a server's model: the server's own, which its tokenizer renders, else
    the one in the model's folder, if it is on this machine. ``None`` if there is none."""
    api = ServerApi(http, url)
    remote = RemoteTokenizer(api, served.name)

    def tokens(turns: Sequence[Turn]) -> list[int] | None:
        body = {
            "model": served.name,
            "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
            "add_generation_prompt": True,
            "chat_template_kwargs": dict(SWITCHES),
        }
        answer = api.call("/tokenize", body, refused=(400, 404, 405, 422, 501))
        return [int(i) for i in answer["tokens"]] if answer else None

    def render(turns: Sequence[Turn]) -> str:
        ids = tokens(turns)
        if ids is None:
            raise ModelError(
                f"{url}: its chat template refuses the turns", hint="use --format completion"
            )
        return remote.decode(ids)

    trial = tokens([Turn("user", "a")])
    if trial is not None and remote.encode_control(text := remote.decode(trial)) == trial:
        identity = hashlib.sha256(text.encode()).hexdigest()[:12]
        return ChatModel(identity, render, remote.encode_control)
    template = None if served.root is None else _folder_template(Path(served.root))
    if template is None:
        return None
    return ChatModel(template.identity, template.render, remote.encode_control)


def _folder_template(folder: Path) -> ChatTemplate | None:
    """The chat template in a model folder; ``None`` if there is none."""
    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    try:
        named = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        source = file.read_text(encoding="utf-8") if file.is_file() else named.get("chat_template")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: its tokenizer's files cannot be read: {error}") from error
    if isinstance(source, list):  # several, by use
        source = next((one["template"] for one in source if one.get("name") == "default"), None)
    if not source:
        return None
    tokens = {name: value for name, value in named.items() if name.endswith("_token")}
    texts = {n: v["content"] if isinstance(v, dict) else str(v or "") for n, v in tokens.items()}
    return ChatTemplate(source, texts, str(folder))


def served_tokenizer(api: ServerApi, *, model: str, root: str | None) -> Tokenizer:
    """The tokenizer of ``model``: from its file if it is on this machine and gives the same tokens
    as the server, else remote."""
    remote = RemoteTokenizer(api, model)
    file = tokenizer_file(root) if root else None
    if file is None or importlib.util.find_spec("tokenizers") is None:
        return remote
    local = FileTokenizer(file, remote.bos)
    # A file with this name may differ from the file that the server reads.
    return local if local.encode(PROBE) == remote.encode(PROBE) else remote


def tokenizer_file(root: str) -> Path | None:
    """The ``tokenizer.json`` of a model folder, or of a hub id in the cache; ``None`` without
    one."""
    direct = Path(root) / "tokenizer.json"
    if direct.is_file():
        return direct
    folder = hub_cache() / f"models--{root.strip('/').replace('/', '--')}" / "snapshots"
    found = sorted(folder.glob("*/tokenizer.json"), key=lambda f: f.stat().st_mtime)
    return found[-1] if found else None
