"""Spans of a run for OpenTelemetry, when its API is installed (``ecomfs[otel]``).

Nothing is exported unless the program, or ``opentelemetry-instrument ecomfs score …``, sets an
exporter up; without the package a span costs nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any


@cache
def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    return trace.get_tracer("ecomfs")


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A span ``ecomfs.<name>`` around a block; a child of the one that is open.

    >>> with span("read", rows=16):
    ...     pass
    """
    tracer = _tracer()
    if tracer is None:
        return nullcontext()
    named = {f"ecomfs.{key}": value for key, value in attributes.items()}
    found: AbstractContextManager[Any] = tracer.start_as_current_span(
        f"ecomfs.{name}", attributes=named
    )
    return found
