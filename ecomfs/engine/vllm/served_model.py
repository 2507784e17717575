"""What a vLLM server says of itself before the first prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecomfs.engine.files import folder_digest
from ecomfs.engine.protocol import Tokenizer
from ecomfs.engine.vllm.served_tokenizer import PROBE, RemoteTokenizer, ServerApi, served_tokenizer
from ecomfs.errors import ConfigError, EngineResponseError, ModelError

_CONTEXT = 2048  # tokens, of servers that do not tell


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that one or several servers serve.

    Attributes:
        name: its name in the API.
        context: longest prompt plus answer that all the servers take, in tokens.
        tokenizer: its tokenizer.
        fingerprint: model, its content where its folder is on this machine, and vLLM's version.
    """

    name: str
    context: int
    tokenizer: Tokenizer
    fingerprint: str


def served_model(urls: Sequence[str], *, model: str | None, api_key: str | None) -> ServedModel:
    """Ask the servers; see :class:`ecomfs.engine.vllm.http.VllmEngine` for the errors."""
    apis = [ServerApi(url, api_key=api_key) for url in urls]
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
    )
    for api, card in zip(apis[1:], cards[1:], strict=True):
        _require_same(api, card, served)
    return served


def check_still_served(url: str, served: ServedModel, *, api_key: str | None) -> None:
    """Whether the server at ``url``, which was gone, serves what it served.

    Raises:
        EngineUnavailableError: nothing answers yet.
        ModelError: it is another model now, another vLLM, or has a shorter context.
    """
    api = ServerApi(url, api_key=api_key)
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
        raise ConfigError(f"{url!r} is not an address", hint="write vllm:http://host:8000")
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
