"""Downloads of large files over HTTP: continued where they stopped, every failure in one line.

Both hubs are read here. The download of huggingface_hub 2.4 begins at zero after an interrupted
process and does not compare the SHA-256 of what came over HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ecomfs.core.progress import Progress
from ecomfs.core.retry import is_retried, retry_after, retrying
from ecomfs.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelError,
    ServerStatusError,
)

if TYPE_CHECKING:
    import aiohttp

_ATTEMPTS = 5
_PAUSE = 1.0  # seconds before the second attempt
MB = 1_000_000
"""Bytes, as in messages and progress."""
_AGAIN = (
    "check the network and try again, what has come is kept; mirrors: HF_ENDPOINT, or "
    "gguf:modelscope:ORG/REPO"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something of a model is read.

    Attributes:
        model: spec of the model, for messages.
        url: of the file, list or hub.
        headers: of the request.
    """

    model: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host, for messages.

        >>> Address("gguf:a/b", "https://hub.example/a/b/file").host
        'hub.example'
        """
        return urlsplit(self.url).netloc or self.url

    def refused(self, status: int, seconds: float = 0.0) -> EngineError:
        """The error for an HTTP status; ``seconds``: how long the server asks to wait."""
        message = f"{self.model}: {self.host} answers with HTTP {status}"
        if is_retried(status):
            return ServerStatusError(message, hint=_AGAIN, seconds=seconds)
        return ModelError(message, hint="check access and the address of the hub or mirror")

    def unreachable(self, reason: object) -> EngineUnavailableError:
        """The error for a connection that failed."""
        return EngineUnavailableError(
            f"{self.model}: not on this machine, and {self.host} fails: {reason}", hint=_AGAIN
        )

    async def get(self) -> tuple[int, bytes]:
        """Status and content of the answer.

        Raises:
            EngineError: there is none.
        """
        async with self._response({}) as response:
            return response.status, await response.read()

    async def fetch(self, part: Path, size: int, progress: Progress) -> None:
        """Download into ``part`` until it has ``size`` bytes, or until attempts bring no more.

        Raises:
            EngineError: the last failure.
        """
        most = -1
        while True:
            try:
                return await retrying(
                    lambda: self._continue(part, size, progress),
                    attempts=_ATTEMPTS,
                    base=_PAUSE,
                    sleep=asyncio.sleep,
                )
            except EngineError as error:
                if not error.retryable or size_of(part) <= most:
                    raise
                most = size_of(part)

    async def _continue(self, part: Path, size: int, progress: Progress) -> None:
        """One request for the bytes that ``part`` lacks."""
        have = size_of(part)
        if have == size:
            return
        if have > size:
            have = 0
        phase = f"downloading {PurePosixPath(self.model).name}"
        asked = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        async with self._response(asked) as response:
            if response.status not in (200, 206):
                seconds = retry_after(response.headers.get("Retry-After"))
                raise self.refused(response.status, seconds)
            if response.status == 200:
                have = 0  # the whole file, not the range
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise self.unreachable("another range than the one asked for")
            with part.open("r+b" if have else "wb") as file:
                file.seek(have)
                async for block in response.content.iter_chunked(1 << 20):
                    file.write(block)
                    have += len(block)
                    progress(phase, have // MB, size // MB, "MB")
                    if have > size:
                        break
        if have != size:
            raise self.unreachable(f"it sent {have:,} bytes of {size:,}")

    @asynccontextmanager
    async def _response(self, more: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a GET request; failures, also while it is read, as exceptions of
        ecomfs."""
        import aiohttp

        headers = {"User-Agent": "ecomfs", **self.headers, **more}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        try:
            # aiohttp drops the token when a hub redirects to another host.
            async with (
                aiohttp.ClientSession(trust_env=True, timeout=limits) as session,
                session.get(self.url, headers=headers) as response,
            ):
                yield response
        except TimeoutError as error:
            raise EngineTimeoutError(
                f"{self.model}: {self.host} does not answer in time", hint=_AGAIN
            ) from error
        except aiohttp.ClientError as error:
            raise self.unreachable(error) from error


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0
