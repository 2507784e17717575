"""Routes that are asked most: bodies are read, and answers written, in one step each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

_PARAMETERS = {"request", "caller", "body"}


class QuickRoute(APIRoute):
    """A route of ``request``, ``caller`` and ``body``.

    FastAPI parses a body, validates it, solves dependencies and validates the answer in steps that
    cost more than the request itself. Here the bytes become the body's model, and the answer's
    model becomes bytes. A body that is not valid is left to FastAPI, which says what is wrong.
    Other routes of the router are FastAPI's own.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route."""
        handler, endpoint = super().get_route_handler(), self.endpoint
        if set(inspect.signature(endpoint).parameters) != _PARAMETERS:
            return handler
        model: type[BaseModel] = get_type_hints(endpoint)["body"]
        [who] = [d.call for d in self.dependant.dependencies if d.name == "caller"]
        assert who is not None

        async def handling(request: Request) -> Response:
            try:
                sent = await request.body()
            except ClientDisconnect:
                raise HTTPException(400, "the body was cut short") from None
            caller = await who(request)
            try:
                body = model.model_validate_json(sent)
            except ValidationError:
                return await handler(request)
            answer: BaseModel = await endpoint(request=request, caller=caller, body=body)
            return Response(answer.model_dump_json(), media_type="application/json")

        return handling
