"""The client of ``ecomfs serve``, with the methods of the local classifier."""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import aiohttp
import numpy as np
from numpy.typing import NDArray

from ecomfs.client import wire
from ecomfs.core import event_loop
from ecomfs.core.http import HttpClient, Response, masked
from ecomfs.core.json import plain
from ecomfs.core.retry import permanent, retrying
from ecomfs.errors import (
    ConfigError,
    ConflictError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InputError,
    MissingFileError,
    OutputError,
    ServerStatusError,
)
from ecomfs.io import InputFile, check_target, reading, write_bytes
from ecomfs.task import label_text
from ecomfs.types import Prediction, Row

if TYPE_CHECKING:
    import pandas as pd

    from ecomfs.pipeline import Explanation

P = ParamSpec("P")
T = TypeVar("T")
REQUEST_ROWS = 64
"""Rows per request: enough to keep a server busy, few enough for the time limit."""
_PAGE = 500  # reviews or examples fetched at a time
_READS = 5  # times the examples are read from the start because the pool has changed meanwhile
_PART = 128  # reviews or examples sent in one request
_MOST_BYTES = 2**31  # largest result of a run (it is larger than the upload)
_FIRST_PAUSE = 0.25  # seconds before the first retry
_CSV = (".csv", ".txt", "")  # suffixes of a result
_FINAL = ("done", "failed", "cancelled")


def _sync_and_async(
    core: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> tuple[
    Callable[Concatenate[Client, P], T],
    Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
]:
    """A synchronous and an asynchronous method. Both run on the background event loop, which owns
    the connections."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return event_loop.run(core(self, *args, **kwargs))

    async def async_method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await event_loop.run_async(core(self, *args, **kwargs))

    for form, prefix in ((method, ""), (async_method, "a")):
        functools.update_wrapper(form, core)
        form.__name__ = prefix + core.__name__.removeprefix("_")
        form.__qualname__ = f"Client.{form.__name__}"
    return method, async_method


class Client:
    """A classifier served by ``ecomfs serve``.

    Connections open at first use; :meth:`close` (or a ``with`` block) closes them. Every method has
    an asynchronous form with the prefix ``a``: ``await client.aclassify(rows)``. Changes have an
    idempotency key, so that a retry changes nothing twice.

    Parameters
    ----------
    url : str
        URL of ``ecomfs serve``.
    api_key : str, optional
        API key, if the service has keys; default ``$ECOMFS_API_KEY``.
    task : str, optional
        The task, if the service has several (:meth:`tasks` lists them).
    timeout : float
        Time limit of one request in seconds.
    retries : int
        Number of retries while the service is busy or restarting (429, 502, 503, a broken
        connection), with exponential backoff, or after the time that it asks for (at most a
        minute).
    concurrency : int
        Number of requests in flight.

    Raises
    ------
    ConfigError
        The URL is invalid, or the key is refused.
    InputError
        The rows are not rows of the served task; same class and message as from the local
        classifier. A change of an outdated version is a ``ConflictError``.
    EngineUnavailableError
        The service, or the model behind it, is not available.
    EngineTimeoutError
        No response within ``timeout``.
    EngineResponseError
        The server is not ``ecomfs serve``.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8080") as client:                  # doctest: +SKIP
    ...     client.predict(["Stopped working within a week"])
    array(['negative'], dtype=object)
    >>> Client("http://127.0.0.1:8080/")
    Client('http://127.0.0.1:8080')
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        api_key: str | None = None,
        *,
        task: str | None = None,
        timeout: float = 300.0,
        retries: int = 4,
        concurrency: int = 2,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{masked(url)!r} is not a URL", hint="use a URL such as http://127.0.0.1:8080"
            )
        if "@" in parts.netloc:
            raise ConfigError(
                f"{masked(url)} contains a user name or password", hint="use api_key= instead"
            )
        # A key from a file often ends with a line feed, which a header cannot have.
        key = (api_key or os.environ.get("ECOMFS_API_KEY") or "").strip()
        if any(ord(character) < 32 or ord(character) == 127 for character in key):
            raise ConfigError("the API key contains a control character", hint="check api_key=")
        if concurrency < 1 or retries < 0 or timeout <= 0:
            raise ConfigError("concurrency, retries or timeout out of range")
        self.url = url.rstrip("/")
        self._http = HttpClient(
            api_key=key or None,
            timeout=timeout,
            start_hint="start it with: ecomfs serve --task TASK --examples POOL.csv",
            slow_hint="send fewer rows at once, or raise timeout=",
            most_bytes=_MOST_BYTES,
        )
        self._task = task
        self._attempts = retries + 1
        self._slots = asyncio.Semaphore(concurrency)
        self._known: dict[str, Any] | None = None

    async def _classify(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803 (the scikit-learn name)
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One :class:`~ecomfs.types.Prediction` per row, in order, for any number of rows."""
        encoded = wire.encode_rows(X)
        names = [str(i) for i in (range(len(encoded)) if ids is None else ids)]
        if len(names) != len(encoded):
            raise InputError(f"{len(encoded)} rows but {len(names)} ids")
        if not encoded:
            return []
        limits = self._known or await self._health()
        wanted = wire.requests(
            encoded,
            names,
            most_rows=min(REQUEST_ROWS, int(limits["max_rows"])),
            most_bytes=int(limits["max_body_bytes"]),
            task=self._task,
        )
        tasks: list[asyncio.Task[list[Prediction]]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._answered(request)) for request in wanted]
        except BaseExceptionGroup as errors:
            # Raise one error: the other requests were cancelled or have the same cause.
            raise errors.exceptions[0] from None
        return [prediction for task in tasks for prediction in task.result()]

    classify, aclassify = _sync_and_async(_classify)

    async def _answered(self, request: wire.Request | Prediction) -> list[Prediction]:
        if isinstance(request, Prediction):
            return [request]
        async with self._slots:
            answer = await self._request("POST", "/v1/classify", request.body)
        found = wire.predictions(answer, request.ids, self.url)
        if self._known is not None:
            self._known["labels"] = answer["labels"]  # a new pool version may have new labels
        return found

    async def _predict(self, X: pd.DataFrame | Iterable[Any]) -> NDArray[Any]:  # noqa: N803
        """Labels, shape (n,), dtype object; ``None`` for rows without one."""
        predictions = await self._classify(X)
        out = np.empty(len(predictions), dtype=object)
        out[:] = [p.label for p in predictions]
        return out

    predict, apredict = _sync_and_async(_predict)

    async def _predict_proba(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
    ) -> NDArray[np.float64]:
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``; a row
        that failed is a row of NaN."""
        predictions = await self._classify(X)
        names = sorted((self._known or await self._health())["labels"])
        shares = [[p.probabilities.get(name, np.nan) for name in names] for p in predictions]
        return np.array(shares, dtype=np.float64).reshape(len(predictions), len(names))

    predict_proba, apredict_proba = _sync_and_async(_predict_proba)

    async def _explain(self, row: str | Row) -> Explanation:
        """How one row is classified: demonstrations, prompt, reading, the experts' answers,
        prediction. The service does not send the shortlist, the nearest examples and the facts."""
        [encoded] = wire.encode_rows([row])
        body = b"{" + wire.task_field(self._task) + b'"row":' + encoded + b"}"
        return wire.explanation(await self._request("POST", "/v1/explain", body), self.url)

    explain, aexplain = _sync_and_async(_explain)

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels, sorted; requested once."""
        return np.array(sorted((self._known or self.health())["labels"]), dtype=object)

    async def _health(self) -> dict[str, Any]:
        """The state of the service: task, labels, engine, pool size and version, limits."""
        query = "" if self._task is None else f"?task={quote(self._task, safe='')}"
        answer = await self._request("GET", f"/healthz{query}")
        if not {"labels", "max_rows", "max_body_bytes"} <= answer.keys():
            raise EngineResponseError(
                f"{self.url}: /healthz is not that of ecomfs serve", hint=wire.WRONG_SERVER
            )
        self._known = answer
        return answer

    health, ahealth = _sync_and_async(_health)

    # -- reviews, examples and runs ------------------------------------------------------------

    async def _tasks(self) -> list[dict[str, Any]]:
        """The tasks that the key may see, with their labels and open reviews."""
        found: list[dict[str, Any]] = (await self._request("GET", "/v1/tasks"))["tasks"]
        return found

    tasks, atasks = _sync_and_async(_tasks)

    async def _send_to_review(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Queue rows for review; the result has one row per review."""
        encoded = [json.loads(row) for row in wire.encode_rows(X)]
        if ids is not None and len(ids) != len(encoded):
            raise InputError(f"{len(encoded)} rows but {len(ids)} ids")
        found: list[dict[str, Any]] = []
        for start in range(0, len(encoded), _PART):
            body: dict[str, Any] = {"rows": encoded[start : start + _PART]}
            if ids is not None:
                body["ids"] = [str(i) for i in ids[start : start + _PART]]
            with wire.part_from(start, "rows are in the queue"):
                found += (await self._write("/v1/reviews", body))["reviews"]
        return _frame(found)

    send_to_review, asend_to_review = _sync_and_async(_send_to_review)

    async def _reviews(self, n: int = 50, *, state: str = "open") -> pd.DataFrame:
        """The open reviews, the most useful to label first; or with ``state="decided"`` the decided
        ones, the latest first."""
        found: list[dict[str, Any]] = []
        while len(found) < n:
            size = min(_PAGE, n - len(found))
            part = {"limit": size, "offset": len(found), "state": state}
            got = (await self._read("/v1/reviews", part))["reviews"]
            found += got
            if len(got) < size:
                break
        return _frame(found)

    reviews, areviews = _sync_and_async(_reviews)

    async def _decide(
        self, id: str, label: str, *, version: int | None = None, reviewer: str | None = None
    ) -> dict[str, Any]:
        """Label a review: the row becomes an example of the pool at once. Returns the review, and
        new predictions for it and for the most similar open rows.

        Args:
            version: version of the review as you saw it; a later change is a ``ConflictError``.
            reviewer: who decides, if the service has no keys.
        """
        named = _label(label)
        return await self._change(id, "decide", label=named, version=version, reviewer=reviewer)

    decide, adecide = _sync_and_async(_decide)

    async def _undo(self, id: str, *, version: int | None = None) -> dict[str, Any]:
        """Undo a decision."""
        return await self._change(id, "undo", version=version)

    undo, aundo = _sync_and_async(_undo)

    async def _skip(self, id: str) -> dict[str, Any]:
        """Skip a review: it comes again after the others."""
        return await self._change(id, "skip")

    skip, askip = _sync_and_async(_skip)

    async def _second_opinion(
        self, id: str, label: str, *, reviewer: str | None = None
    ) -> dict[str, Any]:
        """Add another person's label for a decided review; the pool keeps the first."""
        return await self._change(id, "second", label=_label(label), reviewer=reviewer)

    second_opinion, asecond_opinion = _sync_and_async(_second_opinion)

    async def _change(self, id: str, action: str, **values: Any) -> dict[str, Any]:
        given = {name: value for name, value in values.items() if value is not None}
        return await self._write(f"/v1/reviews/{quote(id, safe='')}/{action}", given)

    async def _examples(self, *, label: str | None = None, q: str | None = None) -> pd.DataFrame:
        """The labelled examples of one version of the pool; optionally those with a label, or that
        contain a text."""
        given = {name: value for name, value in (("label", label), ("q", q)) if value}
        for _ in range(_READS):
            found: list[dict[str, Any]] = []
            versions = set()
            while True:
                part = {"limit": _PAGE, "offset": len(found)} | given
                got = await self._read("/v1/examples", part)
                found += got["examples"]
                versions.add(got["version"])
                if len(found) >= got["total"] or not got["examples"]:
                    break
            if len(versions) == 1:
                return _frame(found)
        raise ConflictError("the pool changes all the time", hint="try again later")

    examples, aexamples = _sync_and_async(_examples)

    async def _add_examples(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        y: Iterable[Any],
        ids: Sequence[str] | None = None,
        *,
        note: str = "",
        new_label: bool = False,
    ) -> int:
        """Add labelled examples, and return the pool's version. They are used from the next
        prediction on. More than 128 are added in parts: if one is refused, the message says how
        many are in the pool already."""
        encoded = [json.loads(row) for row in wire.encode_rows(X)]
        named = [_label(label, f"y[{place}]") for place, label in enumerate(y)]
        if len(named) != len(encoded) or (ids is not None and len(ids) != len(encoded)):
            raise InputError(f"{len(encoded)} rows, {len(named)} labels, {len(ids or [])} ids")
        if not encoded:
            raise InputError("no examples", hint="give rows and labels")
        made = [{"row": row, "label": label} for row, label in zip(encoded, named, strict=True)]
        for i, id in enumerate(ids if ids is not None else ()):
            made[i]["id"] = str(id)
        version = 0
        for start in range(0, len(made), _PART):
            part = made[start : start + _PART]
            body = {"examples": part, "note": note, "new_label": new_label}
            with wire.part_from(start, "examples are in the pool"):
                version = (await self._write("/v1/examples", body))["version"]
        return version

    add_examples, aadd_examples = _sync_and_async(_add_examples)

    async def _relabel(
        self, id: str, label: str, *, version: int | None = None, note: str = ""
    ) -> int:
        """Change the label of an example, and return the pool's version."""
        body: dict[str, Any] = {"id": id, "label": _label(label), "note": note}
        if version is not None:
            body |= {"version": version}
        return int((await self._write("/v1/examples/relabel", body))["version"])

    relabel, arelabel = _sync_and_async(_relabel)

    async def _retire(self, ids: Iterable[str], *, note: str = "") -> int:
        """Remove examples, and return the pool's version."""
        named = [ids] if isinstance(ids, str) else list(ids)
        done = await self._write("/v1/examples/retire", {"ids": named, "note": note})
        return int(done["version"])

    retire, aretire = _sync_and_async(_retire)

    async def _history(self, id: str) -> pd.DataFrame:
        """Every state that an example has had, the oldest first."""
        return _frame((await self._read("/v1/examples/history", {"id": id}))["states"])

    history, ahistory = _sync_and_async(_history)

    async def _score_table(
        self,
        source: str | Path,
        output: str | Path,
        *,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        every: float = 1.0,
    ) -> dict[str, Any]:
        """Upload a table, wait until the service has scored it, and write the result to ``output``,
        a CSV file. Returns the run with its counts.

        Args:
            on_progress: called with the run, every ``every`` seconds, on another thread.
        """
        file, target = Path(source), Path(output)
        if target.suffix.casefold() not in _CSV:
            raise OutputError(f"{target}: the service sends CSV", hint="name a .csv file")
        with reading([InputFile("the input", file)]):
            check_target(target)
        if not target.absolute().parent.is_dir():
            raise OutputError(f"{target}: its folder does not exist", hint="create it first")
        try:
            body = await asyncio.to_thread(file.read_bytes)
        except OSError as error:
            why = error.strerror or "it cannot be read"
            raise MissingFileError(f"{file}: {why}", hint="name the table to score") from error
        query = urlencode({"name": file.name} | self._mine())
        headers = {"Content-Type": "application/octet-stream"}
        run = await self._request("POST", f"/v1/runs?{query}", body, headers)
        while run["state"] not in _FINAL:
            if on_progress is not None:
                on_progress(run)
            await asyncio.sleep(every)
            run = await self._request("GET", f"/v1/runs/{run['id']}")
        if run["state"] != "done":
            raise EngineError(f"{file.name}: the run is {run['state']}: {run['error']}")
        result = await self._response("GET", f"/v1/runs/{run['id']}/result")
        if not result.headers.get("Content-Type", "").startswith("text/csv"):
            raise wire.refused(result)
        with reading([InputFile("the input", file)]):
            await asyncio.to_thread(write_bytes, target, result.content)
        return run

    score_table, ascore_table = _sync_and_async(_score_table)

    async def _close(self) -> None:
        """Close the connections; later calls open new ones."""
        await self._http.close()

    close, aclose = _sync_and_async(_close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"  # never the key

    async def _write(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        # A table of reviews has NumPy numbers, which are not JSON.
        data = json.dumps(plain(dict(body) | self._mine())).encode()
        return await self._request("POST", path, data, {"Idempotency-Key": uuid4().hex})

    async def _read(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        return await self._request("GET", f"{path}?{urlencode(dict(query) | self._mine())}")

    def _mine(self) -> dict[str, str]:
        return {} if self._task is None else {"task": self._task}

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object of a response."""
        return wire.checked(await self._response(method, path, body, headers))

    async def _response(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request, with retries while the service is busy or restarting. An upload is not
        retried, because it would start two runs."""

        async def once() -> Response:
            try:
                got = await self._http.request(method, self.url, path, body, headers=headers)
                if got.status not in (200, 201):
                    raise wire.refused(got)
                return got
            except (EngineTimeoutError, EngineUnavailableError) as error:
                cause = error.__cause__
                cut = isinstance(cause, aiohttp.ClientError)
                if not cut or isinstance(cause, aiohttp.ClientConnectorError):
                    permanent(error)  # a retry would fail the same way
                raise

        upload = method == "POST" and path.startswith("/v1/runs?")
        try:
            return await retrying(
                once,
                attempts=1 if upload else self._attempts,
                base=_FIRST_PAUSE,
                sleep=asyncio.sleep,
            )
        except ServerStatusError as error:
            raise EngineUnavailableError(error.message, hint="try again later") from error


def _label(value: Any, where: str = "label") -> str:
    """A label as text, by the same rule as in the local classifier."""
    text = label_text(value, where)
    if text is None:
        raise InputError(f"{where}: the label is missing", hint="leave the row out, or label it")
    return text


def _frame(found: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table with a column for each field of the row; ``row.NAME`` if the name is taken."""
    import pandas as pd

    out = []
    for one in found:
        flat = {name: value for name, value in one.items() if name != "row"}
        for name, value in (one.get("row") or {}).items():
            flat[name if name not in flat else f"row.{name}"] = value
        out.append(flat)
    return pd.DataFrame(out)
