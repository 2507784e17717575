"""What a server that was gone has to prove before it gets rows again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ecomfs.engine.canary import canary
from ecomfs.engine.canary_report import CanaryReport
from ecomfs.engine.protocol import Engine
from ecomfs.engine.vllm.served_model import ServedModel, check_still_served
from ecomfs.errors import EngineError, EngineUnavailableError

Recheck = Callable[[Engine], Awaitable[object]]
"""Checks an engine of one server alone; raises an :class:`EngineError` to keep it out."""


class Rejoin:
    """Called with the address of a server that was gone.

    Args:
        served: what it served.
        key: the API key.
        alone: opens an engine of one server.
        recheck: what it has to pass beside serving the same; default: the canary.

    Attributes:
        reports: what the canary saw, in order.
    """

    def __init__(
        self,
        served: ServedModel,
        key: str | None,
        alone: Callable[[str], Engine],
        recheck: Recheck | None,
    ) -> None:
        self._served = served
        self._key = key
        self._alone = alone
        self._recheck = recheck or self._canary
        self.reports: list[CanaryReport] = []

    async def __call__(self, url: str) -> None:
        """
        Raises:
            EngineUnavailableError: it is not there, or not what it was.
        """
        try:
            await asyncio.to_thread(check_still_served, url, self._served, api_key=self._key)
            engine = self._alone(url)
            try:
                await self._recheck(engine)
            finally:
                await engine.aclose()
        except EngineUnavailableError:
            raise
        except EngineError as error:
            # The rows are not at fault, and the server may be mended.
            raise EngineUnavailableError(
                f"{url} is not used: {error.message}", hint=error.hint
            ) from error

    async def _canary(self, engine: Engine) -> None:
        report = await canary(engine)
        self.reports.append(report)
        report.require()
        if report.lacking:
            raise EngineError(
                f"it lacks what it had: {', '.join(sorted(report.lacking))}",
                hint="start it as it was, or run again",
            )
