"""Which requests are retried, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core.retry import MAX_WAIT, ServerStatusError, permanent, retry_after, retrying
from ecomfs.errors import EngineError, EngineTimeoutError, EngineUnavailableError, ModelError


def run(errors: Sequence[EngineError | None], attempts: int = 5) -> tuple[int, list[float]]:
    """Number of attempts until the list has ``None``, and the pauses between them."""
    left = list(errors)
    pauses: list[float] = []

    async def call() -> int:
        error = left.pop(0)
        if error is not None:
            raise error
        return len(errors) - len(left)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    made = asyncio.run(retrying(call, attempts=attempts, base=0.5, sleep=sleep))
    return made, pauses


def test_no_error_no_pause() -> None:
    assert run([None]) == (1, [])


def test_pauses_grow() -> None:
    made, pauses = run([EngineTimeoutError("slow")] * 3 + [None])
    assert made == 4
    for n, pause in enumerate(pauses):
        assert 0.5 * 2**n <= pause <= 0.5 * 2**n + 0.5


@given(asked=st.floats(0, MAX_WAIT))
def test_retry_after_is_respected(asked: float) -> None:
    _, (pause,) = run([ServerStatusError("busy", seconds=asked), None])
    assert pause >= asked


def test_too_much_patience_is_an_error_at_once() -> None:
    with pytest.raises(ServerStatusError):
        run([ServerStatusError("busy", seconds=MAX_WAIT + 1), None])


def test_the_last_error_is_raised_as_it_is() -> None:
    errors = [EngineTimeoutError(str(n)) for n in range(3)]
    with pytest.raises(EngineTimeoutError, match=r"^2$"):
        run(errors, attempts=3)


@pytest.mark.parametrize(
    "error", [ModelError("no model"), permanent(EngineUnavailableError("key refused"))]
)
def test_permanent_errors_are_not_retried(error: EngineError) -> None:
    with pytest.raises(type(error)):
        run([error, None])


@given(st.text())
def test_any_header_is_some_number_of_seconds(header: str) -> None:
    assert retry_after(header) >= 0
