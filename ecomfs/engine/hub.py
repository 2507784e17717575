"""GGUF models of a model hub: which file a name means, and its download.

``ORG/REPO[:QUANT]`` is a repository of the Hugging Face hub, or of the mirror at ``HF_ENDPOINT``;
``modelscope:ORG/REPO[:QUANT]`` one of ModelScope. What was downloaded once is used without the
network.

The package huggingface_hub lists a repository and knows the user's token. The download itself is
done here, for both hubs: the one of huggingface_hub 2.4 begins at zero after an interrupted
process and does not compare the SHA-256 of what came over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from pydantic_core import from_json, to_json

from ecomfs.core import event_loop
from ecomfs.core.cache import cache_folder
from ecomfs.core.progress import Progress, silent
from ecomfs.core.retry import is_retried, retry_after, retrying
from ecomfs.engine.files import hub_cache, replacing, sha256_cached, sha256_of
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

DEFAULT_QUANT = "Q4_K_M"
MODELSCOPE = "modelscope"

_NAME = re.compile(rf"(?:({MODELSCOPE}):)?([\w.-]+/[\w.-]+)(?::(.+))?", re.ASCII)
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})$")
_QUANT = re.compile(
    r"(?<![A-Z0-9])(?:UD-)?"
    r"(?:I?Q\d(?:_(?:\d|K|XXS|XS|S|M|L|XL|NL|P))*|TQ[12]_0|(?:MX|NV)FP4(?:_MOE)?|BF16|FP?16|FP?32)"
    r"(?![A-Z0-9])",
    re.IGNORECASE,
)
_NO_MODELS = ("mmproj", "imatrix")
"""Files of a repository that begin so are no language models: image encoders, statistics."""
_LISTING = ".listing.json"
_ATTEMPTS = 5
_PAUSE = 1.0  # seconds before the second attempt
_MB = 1_000_000
_AGAIN = (
    "check the network and try again, what has come is kept; mirrors: HF_ENDPOINT, or "
    "gguf:modelscope:ORG/REPO"
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a repository or folder.

    Attributes:
        path: below the repository, with ``/``.
        size: bytes.
        sha256: in hex; empty when unknown.
    """

    path: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class HubModel:
    """A name of a GGUF model on a hub.

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
        """The name without the quantisation, as in an engine's spec.

        >>> HubModel("modelscope", "Qwen/Qwen3-8B-GGUF", "Q8_0").repository
        'gguf:modelscope:Qwen/Qwen3-8B-GGUF'
        """
        return f"gguf:{self.hub}{':' if self.hub else ''}{self.repo}"

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return _hub_folder() / (self.hub or "huggingface") / self.repo.replace("/", "--")


def parse_hub_name(name: str) -> HubModel | None:
    """A name as a model of a hub; ``None`` when it is none.

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


# -- which file ------------------------------------------------------------------------------------


def choose_files(files: Iterable[ModelFile], quant: str, where: str) -> list[ModelFile]:
    """The files of one model: those of a quantisation, or of a file's name.

    Args:
        files: all files of a repository or folder.
        quant: such as ``Q4_K_M``, in any case, or a file's name or path. Empty: Q4_K_M, else the
            smallest model of at least 4 bits per weight.
        where: the repository or folder as a spec, for messages.

    Returns:
        One file, or all parts of a split model in order.

    Raises:
        ModelError: there is no GGUF file, none of that quantisation, more than one, or a part of
            a split model is missing.

    >>> files = [ModelFile("m-Q2_K.gguf", 2), ModelFile("m-Q5_K_M.gguf", 5),
    ...          ModelFile("m-Q8_0.gguf", 8)]
    >>> choose_files(files, "", "gguf:a/b")[0].path, choose_files(files, "q8_0", "gguf:a/b")[0].path
    ('m-Q5_K_M.gguf', 'm-Q8_0.gguf')
    """
    models = _models(files)
    if not models:
        raise ModelError(
            f"{where}: there is no GGUF file",
            hint="GGUF repositories often end in -GGUF; for safetensors: transformers:ORG/REPO",
        )
    found = _named(models, quant or DEFAULT_QUANT) or ([] if quant else _smallest(models))
    if not found:
        what = f"no GGUF file is {quant}" if quant else "no GGUF file has at least 4 bits"
        raise ModelError(f"{where}: {what}", hint=_choices(models, where))
    if len(found) > 1:
        names = [f"{where}:{name}" for name in found]
        raise ModelError(
            f"{where}: {len(found)} GGUF files are {quant or quant_of(found[0])}",
            hint=f"name one of them: {', '.join(names)}",
        )
    name = found[0]
    parts = sorted(models[name], key=lambda file: file.path)
    check_parts([file.path for file in parts], where)
    return parts


def quant_of(name: str) -> str:
    """The quantisation in a file's name, in capitals; empty when it has none.

    >>> quant_of("Q4/Qwen3-8B-UD-Q4_K_XL-00001-of-00002.gguf"), quant_of("m.iq3_xxs.gguf")
    ('UD-Q4_K_XL', 'IQ3_XXS')
    >>> quant_of("model.gguf")
    ''
    """
    found = _QUANT.findall(PurePosixPath(name).name)
    return found[-1].upper() if found else ""


def check_parts(paths: list[str], where: str) -> None:
    """Check that the parts of a split model are all there; ``paths`` are sorted.

    Raises:
        ModelError: one is missing.
    """
    match = _SPLIT.search(_stem(paths[0]))
    if match is None:
        return
    name = PurePosixPath(paths[0]).name
    there = {_stem(path)[-14:-9] for path in paths}
    for number in range(1, int(match[2]) + 1):
        if f"{number:05d}" not in there:
            raise ModelError(
                f"{where}: part {number} of {int(match[2])} of {name} is missing",
                hint="all parts of a split model must lie in one folder",
            )


def split_parts(file: Path) -> list[Path]:
    """All files of a GGUF model on disk, of which ``file`` is the first or only one.

    Raises:
        ModelError: it is a later part of a split model, or a part is missing.
    """
    match = _SPLIT.search(file.stem)
    if match is None:
        return [file]
    total = int(match[2])
    names = [f"{_SPLIT.sub('', file.stem)}-{n:05d}-of-{match[2]}.gguf" for n in range(1, total + 1)]
    if int(match[1]) != 1:
        raise ModelError(f"{file}: a later part of a split model", hint=f"name {names[0]}")
    parts = [file.with_name(name) for name in names]
    check_parts([p.name for p in parts if p.is_file()] or [file.name], str(file.parent))
    return parts


def files_in(folder: Path) -> list[ModelFile]:
    """The GGUF files of a folder on disk and of the folders in it."""
    return [
        ModelFile(path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".gguf" and path.is_file()
    ]


def _models(files: Iterable[ModelFile]) -> dict[str, list[ModelFile]]:
    """Path of a model's only or first file → its files."""
    models: dict[str, list[ModelFile]] = defaultdict(list)
    for file in files:
        name = PurePosixPath(file.path).name.lower()
        if name.endswith(".gguf") and not name.startswith((*_NO_MODELS, ".")):
            models[_first_part(file.path)].append(file)
    return models


def _stem(path: str) -> str:
    return path[: -len(".gguf")]


def _first_part(path: str) -> str:
    return _SPLIT.sub(r"-00001-of-\2", _stem(path)) + path[-len(".gguf") :]


def _named(models: Mapping[str, list[ModelFile]], quant: str) -> list[str]:
    def matching(texts: Mapping[str, str]) -> list[str]:
        return [name for name, text in texts.items() if text.casefold() == quant.casefold()]

    return (
        matching({name: name for name in models})
        or matching({name: PurePosixPath(name).name for name in models})
        or matching({name: quant_of(name) for name in models})
        or matching({name: quant_of(name).removeprefix("UD-") for name in models})
    )


def _smallest(models: Mapping[str, list[ModelFile]]) -> list[str]:
    if len(models) == 1 and not quant_of(next(iter(models))):
        return list(models)
    sizes = {
        name: sum(file.size for file in files)
        for name, files in models.items()
        if _bits(quant_of(name)) >= 4
    }
    if not sizes:
        return []
    best = min(sizes, key=lambda name: sizes[name])
    return [name for name in sizes if quant_of(name) == quant_of(best)]


def _bits(quant: str) -> int:
    match = re.search(r"\d+", quant)
    return int(match[0]) if match else 0


def _choices(models: Iterable[str], where: str) -> str:
    quants = list(dict.fromkeys(quant_of(name) or PurePosixPath(name).name for name in models))
    return f"{where}:QUANT with QUANT one of: {', '.join(sorted(quants))}"


# -- from a hub to the disk ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listing:
    """What a hub says of a repository.

    Attributes:
        repository: such as ``gguf:ORG/REPO``.
        files: its GGUF files.
        licence: of the weights; empty when it names none.
        revision: the commit that the files belong to.
    """

    repository: str
    files: list[ModelFile]
    licence: str = ""
    revision: str = ""


def hub_file(model: HubModel, *, refresh: bool = False, progress: Progress = silent) -> Path:
    """The model's file on this machine, downloaded if it is not there. An interrupted download
    goes on where it stopped.

    Args:
        model: which.
        refresh: ask the hub whether there is a newer version.
        progress: told of downloaded megabytes.

    Returns:
        The GGUF file, the first part of a split model.

    Raises:
        ModelError: there is no such repository or file, access is refused, what came is not what
            the hub lists, or it cannot be written.
        EngineUnavailableError, EngineTimeoutError, ServerStatusError: the hub does not answer,
            or huggingface_hub is not installed.
    """
    if not refresh and (known := _known(model)) is not None:
        return known
    listing = _list_modelscope(model) if model.hub else _list_huggingface(model)
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
        return None  # it may be new there
    whole = all(_is_whole(model.folder / file.path, file) for file in chosen)
    return model.folder / chosen[0].path if whole else None


def downloaded() -> list[tuple[str, Listing, Path]]:
    """Models of hubs on this machine: spec, listing, first file. Nothing is read but listings."""
    found = []
    for place in sorted(_hub_folder().glob(f"*/*/{_LISTING}")):
        listing = _read_listing(place.parent)
        for name, files in _models(listing.files).items() if listing else ():
            paths = [place.parent / file.path for file in files]
            if listing and all(path.is_file() for path in paths):
                sizes = Listing(listing.repository, files, listing.licence, listing.revision)
                quant = quant_of(name) or PurePosixPath(name).name
                found.append((f"{listing.repository}:{quant}", sizes, min(paths)))
    return found


def _hub_folder() -> Path:
    return cache_folder() / "models" / "hub"


def _read_listing(folder: Path) -> Listing | None:
    try:
        found = from_json((folder / _LISTING).read_bytes())
        files = [ModelFile(**file) for file in found.pop("files")]
        return Listing(files=files, **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _list_huggingface(model: HubModel) -> Listing:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            HTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise EngineUnavailableError(
            f"{model.repository}: downloading from the Hugging Face hub needs {error.name}, which "
            "is not installed",
            hint="pip install 'ecomfs[hub]'",
        ) from error
    api = HfApi(endpoint=_endpoint())
    try:
        info = api.model_info(model.repo, files_metadata=True, timeout=30)
    except GatedRepoError as error:
        raise ModelError(
            f"{model.repository}: {api.endpoint} refuses access to this repository",
            hint="accept its terms on its page, then set HF_TOKEN",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"{model.repository}: {api.endpoint} has no repository {model.repo}",
            hint="check the name; a private repository needs HF_TOKEN, a file ends in .gguf",
        ) from error
    except OfflineModeIsEnabled as error:
        raise EngineUnavailableError(
            f"{model.repository}: not on this machine, and HF_HUB_OFFLINE is set",
            hint="unset it for the download",
        ) from error
    except HfHubHTTPError as error:
        raise _status_error(model, api.endpoint, error.response.status_code) from error
    except (HTTPError, OSError) as error:
        raise _unreachable(model, api.endpoint, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _no_listing(model, api.endpoint) from error
    files = [
        ModelFile(s.rfilename, s.lfs.size, s.lfs.sha256)
        if s.lfs
        else ModelFile(s.rfilename, s.size or 0)
        for s in info.siblings or ()
    ]
    licences = [tag[8:] for tag in info.tags or () if tag.startswith("license:")]
    return _listing(model, files, licence=", ".join(licences), revision=info.sha or "main")


def _list_modelscope(model: HubModel) -> Listing:
    site = _modelscope()
    query = urlencode({"Revision": "master", "Recursive": "true"})
    url = f"{site}/api/v1/models/{model.repo}/repo/files?{query}"
    status, content = event_loop.run(_get(model, url))
    if status not in (200, 404):
        raise _status_error(model, site, status)
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
        raise _no_listing(model, site) from error
    return _listing(model, found, revision="master")


def _no_listing(model: HubModel, site: str) -> ModelError:
    return ModelError(
        f"{model.repository}: {_host(site)} answers with something else than a list of files",
        hint="check the address of the hub or mirror, and whether a proxy or login page answers",
    )


def _listing(
    model: HubModel, files: list[ModelFile], *, licence: str = "", revision: str
) -> Listing:
    models = [file for files_of in _models(files).values() for file in files_of]
    return Listing(model.repository, models, licence, revision)


def _file_address(model: HubModel, file: ModelFile, revision: str) -> tuple[str, dict[str, str]]:
    """URL and headers of a download."""
    if model.hub:
        query = urlencode({"Revision": revision, "FilePath": file.path})
        return f"{_modelscope()}/api/v1/models/{model.repo}/repo?{query}", {}
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(model.repo, file.path, revision=revision, endpoint=_endpoint())
    return url, dict(build_hf_headers(library_name="ecomfs"))


def _endpoint() -> str | None:
    """``HF_ENDPOINT`` as it is now: huggingface_hub reads it when it is imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _modelscope() -> str:
    """ModelScope's own environment variable for its other sites and for mirrors."""
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
    # The name has the hash, so that what is left of an older version is never continued.
    part = target.with_name(f".{target.name}.{file.sha256[:16]}.part")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _take_from_cache(model, file, part)
        missing = file.size - _size(part)
        if (free := shutil.disk_usage(target.parent).free) < missing:
            raise ModelError(
                f"{target}: {missing / _MB:,.0f} MB to download, {free / _MB:,.0f} MB free",
                hint="free disk space, or set ECOMFS_CACHE to a folder with room",
            )
        if missing:
            logger.warning(
                "%s: downloading %s, %s MB", model.repository, file.path, f"{missing / _MB:,.0f}"
            )
            url, headers = _file_address(model, file, revision)
            event_loop.run(_fetch(model, url, headers, part, file.size, progress))
        if sha256_of(part) != file.sha256:
            part.unlink()
            raise ModelError(
                f"{model.repository}: {file.path} does not have the SHA-256 that the hub lists "
                f"({file.sha256[:12]}…); it was removed",
                hint="try again; behind a proxy or a mirror, check what that delivers",
            )
        os.replace(part, target)


def _take_from_cache(model: HubModel, file: ModelFile, part: Path) -> None:
    """Use what Hugging Face's own tools have downloaded: blobs there have their SHA-256 as name."""
    blob = hub_cache() / f"models--{model.repo.replace('/', '--')}" / "blobs" / file.sha256
    if blob.is_file() and blob.stat().st_size == file.size:
        part.unlink(missing_ok=True)
        shutil.copyfile(blob, part)


async def _fetch(
    model: HubModel,
    url: str,
    headers: dict[str, str],
    part: Path,
    size: int,
    progress: Progress,
) -> None:
    """Download into ``part`` until it is whole, or until attempts bring no more bytes."""
    most = -1
    while True:
        try:
            return await retrying(
                lambda: _continue(model, url, headers, part, size, progress),
                attempts=_ATTEMPTS,
                base=_PAUSE,
                sleep=asyncio.sleep,
            )
        except EngineError as error:
            if not error.retryable or _size(part) <= most:
                raise
            most = _size(part)


async def _continue(
    model: HubModel,
    url: str,
    headers: dict[str, str],
    part: Path,
    size: int,
    progress: Progress,
) -> None:
    """One request for the bytes that ``part`` lacks."""
    have = _size(part)
    if have == size:
        return
    if have > size:
        have = 0
    asked = {"Accept-Encoding": "identity", "User-Agent": "ecomfs", **headers}
    if have:
        asked["Range"] = f"bytes={have}-"
    phase = f"downloading {PurePosixPath(model.repo).name}"
    async with _response(model, url, asked) as response:
        if response.status not in (200, 206):
            seconds = retry_after(response.headers.get("Retry-After"))
            raise _status_error(model, url, response.status, seconds)
        if response.status == 200:
            have = 0  # the whole file, not the range
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _unreachable(model, url, "another range than the one asked for")
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            async for block in response.content.iter_chunked(1 << 20):
                file.write(block)
                have += len(block)
                progress(phase, have // _MB, size // _MB, "MB")
                if have > size:
                    break
    if have != size:
        raise _unreachable(model, url, f"it sent {have:,} bytes of {size:,}")


@asynccontextmanager
async def _response(
    model: HubModel, url: str, headers: dict[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a GET request; failures, also while it is read, as exceptions of ecomfs."""
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
    try:
        # aiohttp drops the token when a hub redirects to another host.
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=limits) as session,
            session.get(url, headers=headers) as response,
        ):
            yield response
    except TimeoutError as error:
        raise EngineTimeoutError(
            f"{model.repository}: {_host(url)} does not answer in time", hint=_AGAIN
        ) from error
    except aiohttp.ClientError as error:
        raise _unreachable(model, url, error) from error


async def _get(model: HubModel, url: str) -> tuple[int, bytes]:
    async with _response(model, url, {"User-Agent": "ecomfs"}) as response:
        return response.status, await response.read()


def _status_error(model: HubModel, url: str, status: int, seconds: float = 0.0) -> EngineError:
    message = f"{model.repository}: {_host(url)} answers with HTTP {status}"
    if is_retried(status):
        return ServerStatusError(message, hint=_AGAIN, seconds=seconds)
    return ModelError(message, hint="check access and the address of the hub or mirror")


def _unreachable(model: HubModel, url: str, reason: object) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{model.repository}: not on this machine, and {_host(url)} fails: {reason}", hint=_AGAIN
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc or url


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_whole(path: Path, file: ModelFile) -> bool:
    return _size(path) == file.size and sha256_cached(path) == file.sha256


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{target}: cannot be written: {error.strerror or error}",
            hint="free disk space, or set ECOMFS_CACHE to a folder with room",
        ) from error
