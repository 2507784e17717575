"""``/docs``: every request of the service, made from its OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from ecomfs.serve.pages.render import page


def routes(app: FastAPI) -> APIRouter:
    """The page of one application."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs(request: Request) -> HTMLResponse:
        """The reference of all requests, with examples."""
        spec = app.openapi()
        return page(
            request,
            "reference.html",
            title=spec["info"]["title"],
            about=spec["info"].get("description", ""),
            operations=operations(spec),
        )

    return router


def operations(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The operations of an OpenAPI document, with schemas and examples of their bodies."""
    out = []
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
            media = next(iter(content), "")
            body: dict[str, Any] = content.get(media, {})
            name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
            given = body.get("examples", {}).values()
            out.append(
                {
                    **operation,
                    "method": method.upper(),
                    "path": path,
                    "media": media,
                    "schema": spec["components"]["schemas"].get(name, {}),
                    "examples": [_example(method, path, e["value"]) for e in given],
                }
            )
    return out


def _example(method: str, path: str, value: Any) -> str:
    body = json.dumps(value, ensure_ascii=False)
    return (
        f"curl -X {method.upper()} http://127.0.0.1:8080{path} "
        f"-H 'Content-Type: application/json' \\\n  -d '{body}'"
    )
