"""Templates to responses: language, escaping, headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ecomfs.serve.pages.words import WORDS
from ecomfs.types import Language

HERE = Path(__file__).parent
LANGUAGE_COOKIE = "ecomfs_language"
# Nothing from another server, no script in the page itself: text of a row cannot become one.
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


_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["percent"] = percent


def language_of(request: Request) -> Language:
    """``?lang=``, else the cookie, else what the browser prefers."""
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

    html = _templates.get_template(template).render(
        t=t, language=language, path=request.url.path, **values
    )
    response = HTMLResponse(html, status, headers=_HEADERS)
    if request.query_params.get("lang") == language:
        response.set_cookie(LANGUAGE_COOKIE, language, samesite="strict", max_age=31_536_000)
    return response
