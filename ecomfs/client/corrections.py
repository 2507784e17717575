"""Reviews, examples and runs of a service: the asynchronous core of the client's verbs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from ecomfs.client import wire
from ecomfs.core.json import plain
from ecomfs.errors import EngineError, InputError
from ecomfs.io import InputFile, reading, write_bytes

if TYPE_CHECKING:
    import pandas as pd

Send = Callable[..., Awaitable[Any]]
PAGE = 500
"""Reviews or examples asked for at a time."""
_PART = 128  # rows or examples in one request
_FINAL = ("done", "failed", "cancelled")


class Corrections:
    """What people do with a service, as requests. Every write has an idempotency key, so that a
    request that is sent again changes nothing twice.

    Args:
        ask: sends a request; method, path, body, headers; gives JSON, or bytes for a file.
        task: which task, where the service has several.
    """

    def __init__(self, ask: Send, task: str | None) -> None:
        self._ask = ask
        self._task = task

    async def tasks(self) -> list[dict[str, Any]]:
        """The tasks that the key may see."""
        found: list[dict[str, Any]] = (await self._ask("GET", "/v1/tasks"))["tasks"]
        return found

    async def send_to_review(self, rows: Any, ids: Sequence[str] | None) -> pd.DataFrame:
        """Queue rows for a person."""
        encoded = [json.loads(row) for row in wire.encode_rows(rows)]
        if ids is not None and len(ids) != len(encoded):
            raise InputError(f"{len(encoded)} rows but {len(ids)} ids")
        found: list[dict[str, Any]] = []
        for start in range(0, len(encoded), _PART):
            body: dict[str, Any] = {"rows": encoded[start : start + _PART]}
            if ids is not None:
                body["ids"] = [str(i) for i in ids[start : start + _PART]]
            found += (await self._write("/v1/reviews", body))["reviews"]
        return _frame(found)

    async def reviews(self, n: int, state: str) -> pd.DataFrame:
        """The queue, the most helpful first; or decided reviews, the latest first."""
        found: list[dict[str, Any]] = []
        while len(found) < n:
            size = min(PAGE, n - len(found))
            part = {"limit": size, "offset": len(found), "state": state}
            got = (await self._read("/v1/reviews", part))["reviews"]
            found += got
            if len(got) < size:
                break
        return _frame(found)

    async def change(self, id: str, action: str, **values: Any) -> dict[str, Any]:
        """Decide, undo, skip, or give a second opinion."""
        given = {name: value for name, value in values.items() if value is not None}
        return await self._write(f"/v1/reviews/{quote(id, safe='')}/{action}", given)

    async def examples(self, label: str | None, q: str | None) -> pd.DataFrame:
        """The labelled examples."""
        given = {name: value for name, value in (("label", label), ("q", q)) if value}
        found: list[dict[str, Any]] = []
        while True:
            part = {"limit": PAGE, "offset": len(found)} | given
            got = await self._read("/v1/examples", part)
            found += got["examples"]
            if len(found) >= got["total"] or not got["examples"]:
                return _frame(found)

    async def add_examples(
        self, rows: Any, labels: Iterable[Any], ids: Sequence[str] | None, note: str, new: bool
    ) -> int:
        """Add examples; the pool's version."""
        encoded = [json.loads(row) for row in wire.encode_rows(rows)]
        named = [str(plain(label)) for label in labels]
        if len(named) != len(encoded) or (ids is not None and len(ids) != len(encoded)):
            raise InputError(f"{len(encoded)} rows, {len(named)} labels, {len(ids or [])} ids")
        if not encoded:
            raise InputError("no examples", hint="give rows and labels")
        version = 0
        for start in range(0, len(encoded), _PART):
            part = range(start, min(start + _PART, len(encoded)))
            made = [
                {"row": encoded[i], "label": named[i]}
                | ({} if ids is None else {"id": str(ids[i])})
                for i in part
            ]
            body = {"examples": made, "note": note, "new_label": new}
            version = (await self._write("/v1/examples", body))["version"]
        return version

    async def relabel(self, id: str, label: str, version: int | None, note: str) -> int:
        """Give an example another label; the pool's version."""
        body: dict[str, Any] = {"id": id, "label": label, "note": note}
        if version is not None:
            body |= {"version": version}
        return int((await self._write("/v1/examples/relabel", body))["version"])

    async def retire(self, ids: Iterable[str], note: str) -> int:
        """Take examples out; the pool's version."""
        named = [ids] if isinstance(ids, str) else list(ids)
        done = await self._write("/v1/examples/retire", {"ids": named, "note": note})
        return int(done["version"])

    async def history(self, id: str) -> pd.DataFrame:
        """Every state of an example."""
        return _frame((await self._read("/v1/examples/history", {"id": id}))["states"])

    async def score_table(
        self,
        source: str | Path,
        output: str | Path,
        seconds: float,
        on_progress: Callable[[dict[str, Any]], None] | None,
    ) -> dict[str, Any]:
        """Upload a table, wait until it is scored, and download it."""
        file, target = Path(source), Path(output)
        body = await asyncio.to_thread(file.read_bytes)
        query = urlencode({"name": file.name} | self._mine())
        headers = {"Content-Type": "application/octet-stream"}
        run: dict[str, Any] = await self._ask("POST", f"/v1/runs?{query}", body, headers)
        while run["state"] not in _FINAL:
            if on_progress is not None:
                on_progress(run)
            await asyncio.sleep(seconds)
            run = await self._ask("GET", f"/v1/runs/{run['id']}")
        if run["state"] != "done":
            raise EngineError(f"{file.name}: the run is {run['state']}: {run['error']}")
        content = await self._ask("GET", f"/v1/runs/{run['id']}/result")
        with reading([InputFile("the input", file)]):
            await asyncio.to_thread(write_bytes, target, content)
        return run

    async def _write(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": uuid4().hex}
        # NumPy's numbers, as a table of reviews has them, are no JSON.
        data = json.dumps(plain(dict(body) | self._mine())).encode()
        answer: dict[str, Any] = await self._ask("POST", path, data, headers)
        return answer

    async def _read(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self._ask(
            "GET", f"{path}?{urlencode(dict(query) | self._mine())}"
        )
        return answer

    def _mine(self) -> dict[str, str]:
        return {} if self._task is None else {"task": self._task}


def _frame(found: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table with a column for each field of the row; ``row.NAME`` where a name is taken."""
    import pandas as pd

    out = []
    for one in found:
        flat = {name: value for name, value in one.items() if name != "row"}
        for name, value in (one.get("row") or {}).items():
            flat[name if name not in flat else f"row.{name}"] = value
        out.append(flat)
    return pd.DataFrame(out)
