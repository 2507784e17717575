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
        """What can be asked, with examples."""
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
    """The requests of an OpenAPI document, for the page."""
    out = []
    for path, methods in spec["paths"].items():
        for method, told in methods.items():
            content = told.get("requestBody", {}).get("content", {})
            media: str = next(iter(content), "")
            body: dict[str, Any] = content.get(media, {})
            given = body.get("examples", {}).values()
            out.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "id": told["operationId"],
                    "about": told.get("description", ""),
                    "parameters": [
                        {
                            "name": p["name"],
                            "where": p["in"],
                            "needed": p.get("required", False),
                            "about": p.get("description", ""),
                        }
                        for p in told.get("parameters", [])
                    ],
                    "media": media,
                    "examples": [_example(method, path, e["value"]) for e in given],
                    "fields": _fields(spec, body.get("schema", {})),
                    "answers": sorted(told.get("responses", {})),
                }
            )
    return out


def _example(method: str, path: str, value: Any) -> str:
    body = json.dumps(value, ensure_ascii=False)
    return (
        f"curl -X {method.upper()} http://127.0.0.1:8080{path} "
        f"-H 'Content-Type: application/json' \\\n  -d '{body}'"
    )


def _fields(spec: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found = spec["components"]["schemas"].get(name, {})
    needed = found.get("required", [])
    return [
        {
            "name": field,
            "needed": field in needed,
            "about": told.get("description", ""),
        }
        for field, told in found.get("properties", {}).items()
    ]
