"""The work of a caller that left is cancelled: nobody would read the answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Departures:
    """ASGI middleware: cancels the application when the caller's connection ends.

    Once the body of a request was read, it waits for the end of the connection beside the
    application. What had been stored by then stays stored. ``state.left`` says that the caller
    left. Requests without a body are left alone: they ask for no work.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        leaving: asyncio.Future[asyncio.Task[Message]]
        leaving = asyncio.get_running_loop().create_future()
        answered = False

        async def receiving() -> Message:
            if leaving.done():
                return await asyncio.shield(leaving.result())
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                leaving.set_result(asyncio.ensure_future(_end(receive)))
            return message

        async def sending(message: Message) -> None:
            nonlocal answered
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered = True

        working = asyncio.ensure_future(self.app(scope, receiving, sending))
        try:
            waited: list[asyncio.Future[Any]] = [working, leaving]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                waited = [working, leaving.result()]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if working.done() or answered:
                await working
                return
            scope.setdefault("state", {})["left"] = True
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
        finally:
            # Also where this task itself is cancelled: the server stops.
            working.cancel()
            if leaving.done() and not leaving.cancelled():
                leaving.result().cancel()


async def _end(receive: Receive) -> Message:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
