"""Templates to responses: language, escaping, headers, errors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ecomfs.errors import EcomfsError
from ecomfs.serve.pages.translations import WORDS
from ecomfs.serve.problems import problem_of
from ecomfs.types import Language

HERE = Path(__file__).parent
LANGUAGE_COOKIE = "ecomfs_language"
# No content from other servers and no inline scripts, so text of a row cannot become a script.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def percent(value: float | None) -> str:
    """A probability for a page.

    >>> percent(0.9274), percent(None)
    ('92.7 %', '–')
    """
    return "–" if value is None else f"{100 * value:.1f} %"


def ranked(probabilities: dict[str, float]) -> list[tuple[str, float]]:
    """Labels with their probabilities, the likeliest first.

    >>> ranked({"a": 0.2, "b": 0.8})
    [('b', 0.8), ('a', 0.2)]
    """
    return sorted(probabilities.items(), key=lambda item: -item[1])


def moment(at: str) -> str:
    """A time for a page.

    >>> moment("2026-01-31T09:05:07.123+00:00")
    '2026-01-31 09:05:07'
    """
    return at[:19].replace("T", " ")


def digest(id: str) -> str:
    """A hash of an id, for use in the id of an HTML element.

    >>> digest("a b")
    'c8687a08aa5d'
    """
    return hashlib.sha256(id.encode()).hexdigest()[:12]


_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(percent=percent, ranked=ranked, moment=moment, digest=digest)


def language_of(request: Request) -> Language:
    """The language: ``?lang=``, else the cookie, else the preference of the browser."""
    for given in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if given in ("en", "zh"):
            return "zh" if given == "zh" else "en"
    first = request.headers.get("accept-language", "").partition(",")[0]
    return "zh" if first.casefold().startswith("zh") else "en"


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as a response, in the language of the request."""
    language = language_of(request)

    def t(key: str, **more: Any) -> str:
        text = WORDS[key][0 if language == "en" else 1]
        return text.format(**more) if more else text

    def query(**changed: Any) -> str:
        return "?" + urlencode({**request.query_params, **changed})

    html = _templates.get_template(template).render(
        t=t,
        language=language,
        path=request.url.path,
        query=query,
        caller=getattr(request.state, "caller", None),
        **values,
    )
    response = HTMLResponse(html, status, headers=_HEADERS)
    if request.query_params.get("lang") == language:
        response.set_cookie(LANGUAGE_COOKIE, language, samesite="strict", max_age=31_536_000)
    return response


class PageRoute(APIRoute):
    """A route with HTML errors: a part of the page for htmx requests, else a whole page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that turns errors into HTML."""
        handler = super().get_route_handler()

        async def handling(request: Request) -> Response:
            try:
                return await handler(request)
            except HTTPException as error:
                status, message, hint = error.status_code, str(error.detail), ""
            except EcomfsError as error:
                status, message, hint = problem_of(error)
            part = "hx-request" in request.headers
            template = "error_part.html" if part else "error.html"
            return page(request, template, status=status, message=message, hint=hint)

        return handling
