"""Models of a hub: parses names, lists repositories, and downloads files.

``ORG/REPO[:QUANT]`` is a repository of the Hugging Face hub, or of the mirror at ``HF_ENDPOINT``;
``modelscope:ORG/REPO[:QUANT]`` is one of ModelScope. Downloaded files are used without the network.
The package huggingface_hub lists repositories and provides the user's token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from pydantic_core import from_json, to_json

from ecomfs.core import event_loop
from ecomfs.core.progress import Progress, silent
from ecomfs.core.retry import is_retried, retry_after, retrying
from ecomfs.engine.files import hub_cache, models_dir, replacing, sha256_cached, sha256_of
from ecomfs.engine.gguf import ModelFile, choose_files, models_of, quant_of
from ecomfs.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    ModelError,
    ServerStatusError,
)

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?:(modelscope):)?([\w.-]+/[\w.-]+)(?::(.+))?", re.ASCII)
_LISTING = ".listing.json"
_ATTEMPTS = 5
_PAUSE = 1.0  # seconds before the second attempt
_MB = 1_000_000  # bytes, as in messages and progress
_AGAIN = (
    "check the network and try again, the download continues; mirrors: HF_ENDPOINT, or "
    "gguf:modelscope:ORG/REPO"
)


@dataclass(frozen=True, slots=True)
class HubModel:
    """The name of a GGUF model on a hub.

    Attributes:
        hub: ``""`` for Hugging Face, or ``"modelscope"``.
        repo: ``ORG/REPO``.
        quant: quantisation or file name; empty: the default.
    """

    hub: str
    repo: str
    quant: str = ""

    @property
    def repository(self) -> str:
        """The name without the quantisation, as in an engine's spec."""
        return f"gguf:{self.hub}{':' if self.hub else ''}{self.repo}"

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return models_dir() / "hub" / (self.hub or "huggingface") / self.repo.replace("/", "--")


def parse_hub_name(name: str) -> HubModel | None:
    """Parse the name of a model on a hub; ``None`` if it is not one.

    >>> parse_hub_name("Qwen/Qwen3-8B-GGUF:q5_k_m")
    HubModel(hub='', repo='Qwen/Qwen3-8B-GGUF', quant='q5_k_m')
    >>> parse_hub_name("modelscope:Qwen/Qwen3-8B-GGUF")
    HubModel(hub='modelscope', repo='Qwen/Qwen3-8B-GGUF', quant='')
    >>> parse_hub_name("models/own.gguf"), parse_hub_name("demo")
    (None, None)
    """
    match = _NAME.fullmatch(name)
    if match is None or (match[3] is None and name.lower().endswith(".gguf")):
        return None
    if any(set(part) <= {"."} for part in match[2].split("/")):
        return None  # "./name" and "../name" are paths
    return HubModel(match[1] or "", match[2], match[3] or "")


@dataclass(frozen=True, slots=True)
class Listing:
    """The listing of a repository, such as ``gguf:ORG/REPO``: its GGUF files, the licence of the
    weights (empty if unknown), and the commit of the files."""

    repository: str
    files: list[ModelFile]
    licence: str = ""
    revision: str = ""


def hub_file(model: HubModel, *, refresh: bool = False, progress: Progress = silent) -> Path:
    """The model's file on this machine, downloaded if needed. An interrupted download continues.

    Args:
        model: the model.
        refresh: ask the hub whether there is a newer version.
        progress: reports downloaded megabytes.

    Returns:
        The GGUF file, the first part of a split model.

    Raises:
        ModelError: there is no such repository or file, access is refused, the file differs from
            the hub's listing, or it cannot be written.
        EngineUnavailableError, EngineTimeoutError, ServerStatusError: the hub does not answer,
            or huggingface_hub is not installed.
    """
    if not refresh and (known := _known(model)) is not None:
        return known
    listing = _list_modelscope(model) if model.hub else _list_huggingface(model)
    gguf = [file for files in models_of(listing.files).values() for file in files]
    listing = replace(listing, files=gguf)
    chosen = choose_files(listing.files, model.quant, model.repository)
    for file in chosen:
        _download(model, file, listing.revision, progress)
    with _writing(model.folder), replacing(model.folder / _LISTING) as temporary:
        temporary.write_bytes(to_json(listing))
    return model.folder / chosen[0].path


def _known(model: HubModel) -> Path | None:
    """The first file of a model all of whose files are on this machine."""
    listing = _read_listing(model.folder)
    if listing is None:
        return None
    try:
        chosen = choose_files(listing.files, model.quant, model.repository)
    except ModelError:
        return None  # the hub may have it now
    whole = all(_is_whole(model.folder / file.path, file) for file in chosen)
    return model.folder / chosen[0].path if whole else None


def downloaded() -> list[tuple[str, Listing, Path]]:
    """Models of hubs on this machine: spec, listing, first file. Only listings are read."""
    found = []
    for place in sorted(models_dir().glob(f"hub/*/*/{_LISTING}")):
        if (listing := _read_listing(place.parent)) is None:
            continue
        for name, files in models_of(listing.files).items():
            paths = [place.parent / file.path for file in files]
            if all(path.is_file() for path in paths):
                quant = quant_of(name) or PurePosixPath(name).name
                own = replace(listing, files=files)
                found.append((f"{listing.repository}:{quant}", own, min(paths)))
    return found


def _read_listing(folder: Path) -> Listing | None:
    try:
        found = from_json((folder / _LISTING).read_bytes())
        files = [ModelFile(**file) for file in found.pop("files")]
        return Listing(files=files, **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _list_huggingface(model: HubModel) -> Listing:
    try:
        from huggingface_hub import HfApi, errors
    except ImportError as error:
        raise EngineUnavailableError(
            f"{model.repository}: downloading from the Hugging Face hub needs {error.name}, which "
            "is not installed",
            hint="pip install 'ecomfs[hub]'",
        ) from error
    api = HfApi(endpoint=_endpoint())
    site = _Address(model.repository, api.endpoint)
    try:
        info = api.model_info(model.repo, files_metadata=True, timeout=30)
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{model.repository}: {api.endpoint} refuses access to this repository",
            hint="accept its terms on its page, then set HF_TOKEN",
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"{model.repository}: {api.endpoint} has no repository {model.repo}",
            hint="check the name; a private repository needs HF_TOKEN, a file ends in .gguf",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise EngineUnavailableError(
            f"{model.repository}: not on this machine, and HF_HUB_OFFLINE is set",
            hint="unset it for the download",
        ) from error
    except errors.HfHubHTTPError as error:
        raise site.refused(error.response.status_code) from error
    except (errors.HTTPError, OSError) as error:
        raise site.unreachable(error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _no_listing(site) from error
    files = [
        ModelFile(s.rfilename, s.lfs.size, s.lfs.sha256)
        if s.lfs
        else ModelFile(s.rfilename, s.size or 0)
        for s in info.siblings or ()
    ]
    licences = [tag[8:] for tag in info.tags or () if tag.startswith("license:")]
    return Listing(model.repository, files, ", ".join(licences), info.sha or "main")


def _list_modelscope(model: HubModel) -> Listing:
    site = _modelscope()
    query = urlencode({"Revision": "master", "Recursive": "true"})
    where = _Address(model.repository, f"{site}/api/v1/models/{model.repo}/repo/files?{query}")
    status, content = event_loop.run(where.get())
    if status not in (200, 404):
        raise where.refused(status)
    try:
        answer = from_json(content)
        if answer["Code"] != 200:
            raise ModelError(
                f"{model.repository}: {site} has no repository {model.repo}: {answer['Message']}",
                hint="check the name; only public repositories can be read",
            )
        found = [
            ModelFile(file["Path"], int(file["Size"]), (file.get("Sha256") or "").lower())
            for file in answer["Data"]["Files"]
            if file.get("Type") != "tree"
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _no_listing(where) from error
    return Listing(model.repository, found, revision="master")


def _no_listing(site: _Address) -> ModelError:
    return ModelError(
        f"{site.model}: {site.host} did not return a list of files",
        hint="check the address of the hub or mirror, and whether a proxy or login page answers",
    )


def _file_address(model: HubModel, file: ModelFile, revision: str) -> _Address:
    """The download address of a file, with the user's token for Hugging Face only."""
    if model.hub:
        query = urlencode({"Revision": revision, "FilePath": file.path})
        url = f"{_modelscope()}/api/v1/models/{model.repo}/repo?{query}"
        return _Address(model.repository, url)
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(model.repo, file.path, revision=revision, endpoint=_endpoint())
    return _Address(model.repository, url, build_hf_headers(library_name="ecomfs"))


def _endpoint() -> str | None:
    """The current ``HF_ENDPOINT``; huggingface_hub reads it only at import."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _modelscope() -> str:
    """The address of ModelScope; its own environment variable names other sites and mirrors."""
    site = os.environ.get("MODELSCOPE_DOMAIN") or "www.modelscope.cn"
    return (site if "://" in site else f"https://{site}").rstrip("/")


def _download(model: HubModel, file: ModelFile, revision: str, progress: Progress) -> None:
    target = model.folder / file.path
    if ".." in PurePosixPath(file.path).parts or not target.is_relative_to(model.folder):
        raise ModelError(f"{model.repository}: the hub names a file outside the repository")
    if not file.sha256:
        raise ModelError(
            f"{model.repository}: the hub names no SHA-256 of {file.path}",
            hint="download it yourself and use gguf:FILE",
        )
    if _is_whole(target, file):
        return
    # The name has the hash, so that a partial download of an older version is not continued.
    part = target.with_name(f".{target.name}.{file.sha256[:16]}.part")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Hugging Face's own tools may have the file: their blobs are named by SHA-256.
        blob = hub_cache() / f"models--{model.repo.replace('/', '--')}" / "blobs" / file.sha256
        if blob.is_file() and _size_of(blob) == file.size:
            part.unlink(missing_ok=True)
            shutil.copyfile(blob, part)
        missing = file.size - _size_of(part)
        if (free := shutil.disk_usage(target.parent).free) < missing:
            raise ModelError(
                f"{target}: {missing / _MB:,.0f} MB to download, {free / _MB:,.0f} MB free",
                hint="free disk space, or set ECOMFS_CACHE to a folder with room",
            )
        if missing:
            logger.warning(
                "%s: downloading %s, %s MB", model.repository, file.path, f"{missing / _MB:,.0f}"
            )
            address = _file_address(model, file, revision)
            event_loop.run(address.fetch(part, file.size, progress))
        if sha256_of(part) != file.sha256:
            part.unlink()
            raise ModelError(
                f"{model.repository}: {file.path} does not have the SHA-256 that the hub lists "
                f"({file.sha256[:12]}…); it was removed",
                hint="try again; behind a proxy or a mirror, check what that delivers",
            )
        os.replace(part, target)


def _is_whole(path: Path, file: ModelFile) -> bool:
    return _size_of(path) == file.size and sha256_cached(path) == file.sha256


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{target}: cannot be written: {error.strerror or error}",
            hint="free disk space, or set ECOMFS_CACHE to a folder with room",
        ) from error


def _size_of(path: Path) -> int:
    """Size of a file in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.is_file() else 0


@dataclass(frozen=True, slots=True)
class _Address:
    """An address of a hub: requests that can be continued, with failures as one-line errors.

    It is used for both hubs. The download of huggingface_hub 2.4 starts again after an interrupted
    process, and does not check the SHA-256 of files from HTTP.

    Attributes:
        model: spec of the model, for messages.
        url: address of the file, list or hub.
        headers: headers of the request.
    """

    model: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host, for messages."""
        return urlsplit(self.url).netloc or self.url

    def refused(self, status: int, seconds: float = 0.0) -> EngineError:
        """The error for an HTTP status; ``seconds``: pause that the server asks for."""
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
        """Send a GET request; returns status and content."""
        async with self._response({}) as response:
            return response.status, await response.read()

    async def fetch(self, part: Path, size: int, progress: Progress) -> None:
        """Download into ``part`` until it has ``size`` bytes. If attempts bring no more bytes, the
        last failure is raised."""
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
                if not error.retryable or _size_of(part) <= most:
                    raise
                most = _size_of(part)

    async def _continue(self, part: Path, size: int, progress: Progress) -> None:
        """Send one request for the missing bytes of ``part``."""
        have = _size_of(part)
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
                have = 0  # the server sends the whole file and not the range
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise self.unreachable("another range than the one asked for")
            with part.open("r+b" if have else "wb") as file:
                file.seek(have)
                async for block in response.content.iter_chunked(1 << 20):
                    file.write(block)
                    have += len(block)
                    progress(phase, have // _MB, size // _MB, "MB")
                    if have > size:
                        break
        if have != size:
            raise self.unreachable(f"it sent {have:,} bytes of {size:,}")

    @asynccontextmanager
    async def _response(self, more: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a GET request; failures, also while reading it, become errors of
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
