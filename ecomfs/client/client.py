"""The client of ``ecomfs serve``, with the methods of the local classifier."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
import numpy as np
from numpy.typing import NDArray

from ecomfs.client import wire
from ecomfs.client.corrections import Corrections
from ecomfs.core import event_loop
from ecomfs.core.http import HttpClient, Response, masked
from ecomfs.core.retry import permanent, retrying
from ecomfs.errors import (
    ConfigError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InputError,
    ServerStatusError,
)
from ecomfs.types import Prediction, Row

if TYPE_CHECKING:
    import pandas as pd

    from ecomfs.pipeline import Explanation

REQUEST_ROWS = 64
"""Rows per request: enough to keep a server busy, few enough to be answered in time."""
_MOST_BYTES = 2**31  # the result of a run is larger than its upload
_FIRST_PAUSE = 0.25  # seconds before the first repetition


class Client:
    """A classifier served by ``ecomfs serve``.

    Connections open at first use; :meth:`close` (or a ``with`` block) ends them.

    Parameters
    ----------
    url : str
        Where ``ecomfs serve`` runs.
    api_key : str, optional
        Its key, if it has one; default ``$ECOMFS_API_KEY``.
    task : str, optional
        Which task, where the service has several (:meth:`tasks` lists them).
    timeout : float
        Seconds one request may take.
    retries : int
        How often a request is repeated while the service is busy or restarting (429, 502, 503, a
        broken connection), with growing pauses or the one it asks for (at most a minute).
    concurrency : int
        Requests in flight.

    Raises
    ------
    ConfigError
        The URL is invalid, or the key is refused.
    InputError
        The rows are not rows of the served task; same class and message as from the local
        classifier. A change that comes too late is a ``ConflictError``.
    EngineUnavailableError
        Nothing answers there, or the model behind it does not.
    EngineTimeoutError
        No answer within ``timeout``.
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
                f"{masked(url)!r} is no address", hint="such as http://127.0.0.1:8080"
            )
        if "@" in parts.netloc:
            raise ConfigError(f"{masked(url)}: a name or password in it", hint="give api_key=")
        if concurrency < 1 or retries < 0 or timeout <= 0:
            raise ConfigError("concurrency, retries or timeout out of range")
        self.url = url.rstrip("/")
        self._http = HttpClient(
            api_key=api_key or os.environ.get("ECOMFS_API_KEY") or None,
            timeout=timeout,
            start_hint="start it with: ecomfs serve --task TASK --examples POOL.csv",
            slow_hint="send fewer rows at once, or raise timeout=",
            most_bytes=_MOST_BYTES,
        )
        self._task = task
        self._corrections = Corrections(self._send, task)
        self._attempts = retries + 1
        self._slots = asyncio.Semaphore(concurrency)
        self._health: dict[str, Any] | None = None

    def classify(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803 (the scikit-learn name)
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One :class:`~ecomfs.types.Prediction` a row, in order; any number of rows."""
        return event_loop.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """:meth:`classify` for callers that have an event loop (any)."""
        return await event_loop.run_async(self._classify(X, ids))

    def predict(self, X: pd.DataFrame | Iterable[Any]) -> NDArray[Any]:  # noqa: N803
        """Labels, shape (n,), dtype object; ``None`` for rows without one."""
        return _labels(self.classify(X))

    async def apredict(self, X: pd.DataFrame | Iterable[Any]) -> NDArray[Any]:  # noqa: N803
        """:meth:`predict` for callers that have an event loop."""
        return _labels(await self.aclassify(X))

    def predict_proba(self, X: pd.DataFrame | Iterable[Any]) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``; a row
        that failed is a row of NaN."""
        return _probabilities(self.classify(X), self.classes_)

    async def apredict_proba(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
    ) -> NDArray[np.float64]:
        """:meth:`predict_proba` for callers that have an event loop."""
        predictions = await self.aclassify(X)
        if self._health is None:  # no rows: nothing was asked
            await self.ahealth()
        return _probabilities(predictions, self.classes_)

    def explain(self, row: str | Row) -> Explanation:
        """How one row is answered: demonstrations, prompt, reading, prediction."""
        return event_loop.run(self._explained(row))

    async def aexplain(self, row: str | Row) -> Explanation:
        """:meth:`explain` for callers that have an event loop."""
        return await event_loop.run_async(self._explained(row))

    async def _explained(self, row: str | Row) -> Explanation:
        [encoded] = wire.encode_rows([row])
        body = b"{" + wire.task_field(self._task) + b'"row":' + encoded + b"}"
        return wire.explanation(await self._request("POST", "/v1/explain", body), self.url)

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels, sorted; requested once."""
        return np.array(sorted(self._known()["labels"]), dtype=object)

    def health(self) -> dict[str, Any]:
        """What is served now: task, labels, engine, pool size and version, limits."""
        return event_loop.run(self._ask_health())

    async def ahealth(self) -> dict[str, Any]:
        """:meth:`health` for callers that have an event loop."""
        return await event_loop.run_async(self._ask_health())

    # -- what people correct -------------------------------------------------------------------

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks that the key may see, with their labels and open reviews."""
        return event_loop.run(self._corrections.tasks())

    async def atasks(self) -> list[dict[str, Any]]:
        """:meth:`tasks` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.tasks())

    def send_to_review(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Queue rows for a person; one row of the result a review."""
        return event_loop.run(self._corrections.send_to_review(X, ids))

    async def asend_to_review(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """:meth:`send_to_review` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.send_to_review(X, ids))

    def reviews(self, n: int = 50, *, state: str = "open") -> pd.DataFrame:
        """The rows that wait, the most helpful first; or with ``state="decided"`` those that were
        labelled, the latest first."""
        return event_loop.run(self._corrections.reviews(n, state))

    async def areviews(self, n: int = 50, *, state: str = "open") -> pd.DataFrame:
        """:meth:`reviews` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.reviews(n, state))

    def decide(
        self, id: str, label: str, *, version: int | None = None, reviewer: str | None = None
    ) -> dict[str, Any]:
        """Label a review: it is an example of the pool at once. Gives the review, and new
        predictions of it and of the open rows most like it.

        Args:
            version: of the review as you saw it; a change since is a ``ConflictError``.
            reviewer: who decides, where the service has no keys.
        """
        return event_loop.run(self._decided(id, label, version, reviewer))

    async def adecide(
        self, id: str, label: str, *, version: int | None = None, reviewer: str | None = None
    ) -> dict[str, Any]:
        """:meth:`decide` for callers that have an event loop."""
        return await event_loop.run_async(self._decided(id, label, version, reviewer))

    async def _decided(
        self, id: str, label: str, version: int | None, reviewer: str | None
    ) -> dict[str, Any]:
        given = {"label": label, "version": version, "reviewer": reviewer}
        return await self._corrections.change(id, "decide", **given)

    def undo(self, id: str, *, version: int | None = None) -> dict[str, Any]:
        """Take a decision back."""
        return event_loop.run(self._corrections.change(id, "undo", version=version))

    async def aundo(self, id: str, *, version: int | None = None) -> dict[str, Any]:
        """:meth:`undo` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.change(id, "undo", version=version))

    def skip(self, id: str) -> dict[str, Any]:
        """Pass a review over: it comes again after the others."""
        return event_loop.run(self._corrections.change(id, "skip"))

    async def askip(self, id: str) -> dict[str, Any]:
        """:meth:`skip` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.change(id, "skip"))

    def second_opinion(self, id: str, label: str, *, reviewer: str | None = None) -> dict[str, Any]:
        """Another person's label of a decided review; the pool keeps the first."""
        given = {"label": label, "reviewer": reviewer}
        return event_loop.run(self._corrections.change(id, "second", **given))

    async def asecond_opinion(
        self, id: str, label: str, *, reviewer: str | None = None
    ) -> dict[str, Any]:
        """:meth:`second_opinion` for callers that have an event loop."""
        given = {"label": label, "reviewer": reviewer}
        return await event_loop.run_async(self._corrections.change(id, "second", **given))

    def examples(self, *, label: str | None = None, q: str | None = None) -> pd.DataFrame:
        """The labelled examples, or those with a label or some text."""
        return event_loop.run(self._corrections.examples(label, q))

    async def aexamples(self, *, label: str | None = None, q: str | None = None) -> pd.DataFrame:
        """:meth:`examples` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.examples(label, q))

    def add_examples(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        y: Iterable[Any],
        ids: Sequence[str] | None = None,
        *,
        note: str = "",
        new_label: bool = False,
    ) -> int:
        """Add labelled examples; the pool's version. They count from the next prediction on."""
        return event_loop.run(self._corrections.add_examples(X, y, ids, note, new_label))

    async def aadd_examples(
        self,
        X: pd.DataFrame | Iterable[Any],  # noqa: N803
        y: Iterable[Any],
        ids: Sequence[str] | None = None,
        *,
        note: str = "",
        new_label: bool = False,
    ) -> int:
        """:meth:`add_examples` for callers that have an event loop."""
        return await event_loop.run_async(
            self._corrections.add_examples(X, y, ids, note, new_label)
        )

    def relabel(self, id: str, label: str, *, version: int | None = None, note: str = "") -> int:
        """Give an example another label; the pool's version."""
        return event_loop.run(self._corrections.relabel(id, label, version, note))

    async def arelabel(
        self, id: str, label: str, *, version: int | None = None, note: str = ""
    ) -> int:
        """:meth:`relabel` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.relabel(id, label, version, note))

    def retire(self, ids: Iterable[str], *, note: str = "") -> int:
        """Take examples out; the pool's version."""
        return event_loop.run(self._corrections.retire(ids, note))

    async def aretire(self, ids: Iterable[str], *, note: str = "") -> int:
        """:meth:`retire` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.retire(ids, note))

    def history(self, id: str) -> pd.DataFrame:
        """Every state that an example ever had, the oldest first."""
        return event_loop.run(self._corrections.history(id))

    async def ahistory(self, id: str) -> pd.DataFrame:
        """:meth:`history` for callers that have an event loop."""
        return await event_loop.run_async(self._corrections.history(id))

    def score_table(
        self,
        source: str | Path,
        output: str | Path,
        *,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        every: float = 1.0,
    ) -> dict[str, Any]:
        """Upload a table, wait until the service has scored it, and write the result to ``output``;
        the run with its counts.

        Args:
            on_progress: called with the run, every ``every`` seconds.
        """
        return event_loop.run(self._corrections.score_table(source, output, every, on_progress))

    async def ascore_table(
        self,
        source: str | Path,
        output: str | Path,
        *,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        every: float = 1.0,
    ) -> dict[str, Any]:
        """:meth:`score_table` for callers that have an event loop; ``on_progress`` is called on
        another thread."""
        return await event_loop.run_async(
            self._corrections.score_table(source, output, every, on_progress)
        )

    def close(self) -> None:
        """Close the connections; closing twice is fine, using it again opens new ones."""
        event_loop.run(self._http.close())

    async def aclose(self) -> None:
        """:meth:`close` for callers that have an event loop."""
        await event_loop.run_async(self._http.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"  # never the key

    async def _request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """The JSON object of a response."""
        return wire.checked(await self._response(method, path, body))

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON object of a response, or the bytes of a file."""
        response = await self._response(method, path, body, headers)
        is_file = response.headers.get("Content-Type", "").startswith("text/csv")
        return response.content if response.status == 200 and is_file else wire.checked(response)

    async def _response(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A response; requests are repeated while the service is busy or restarting. An upload is
        sent once: it would be two runs."""

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
                    permanent(error)  # another try would take as long, or find nothing again
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

    def _known(self) -> dict[str, Any]:
        return self._health if self._health is not None else self.health()

    async def _ask_health(self) -> dict[str, Any]:
        query = "" if self._task is None else f"?task={quote(self._task, safe='')}"
        answer = await self._request("GET", f"/healthz{query}")
        if not {"labels", "max_rows", "max_body_bytes"} <= answer.keys():
            raise EngineResponseError(
                f"{self.url}: /healthz is not that of ecomfs serve", hint=wire.WRONG_SERVER
            )
        self._health = answer
        return answer

    async def _classify(self, rows: Any, ids: Sequence[str] | None) -> list[Prediction]:
        encoded = wire.encode_rows(rows)
        names = [str(i) for i in (range(len(encoded)) if ids is None else ids)]
        if len(names) != len(encoded):
            raise InputError(f"{len(encoded)} rows but {len(names)} ids")
        if not encoded:
            return []
        limits = self._health or await self._ask_health()
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
                tasks = [group.create_task(self._ask(request)) for request in wanted]
        except BaseExceptionGroup as errors:
            # One cause is enough: the others were cancelled or have the same cause.
            raise errors.exceptions[0] from None
        return [prediction for task in tasks for prediction in task.result()]

    async def _ask(self, request: wire.Request | Prediction) -> list[Prediction]:
        if isinstance(request, Prediction):
            return [request]
        async with self._slots:
            answer = await self._request("POST", "/v1/classify", request.body)
        found = wire.predictions(answer, request.ids, self.url)
        if self._health is not None:
            self._health["labels"] = answer["labels"]  # a new pool version may have new ones
        return found


def _labels(predictions: Sequence[Prediction]) -> NDArray[Any]:
    out = np.empty(len(predictions), dtype=object)
    out[:] = [p.label for p in predictions]
    return out


def _probabilities(predictions: Sequence[Prediction], classes: NDArray[Any]) -> NDArray[np.float64]:
    names = list(classes)
    return np.array(
        [[p.probabilities.get(name, np.nan) for name in names] for p in predictions],
        dtype=np.float64,
    ).reshape(len(predictions), len(names))
