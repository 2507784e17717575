"""What the start-up check saw, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ecomfs.errors import CanaryError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, in two or three words.
        ok: whether it holds.
        detail: what was seen.
        hint: the mend; empty when ok.
        required: results cannot be trusted without it; otherwise it costs speed or comfort, or
            one way of reading.
        lacks: the capability that the engine states and does not have, if that was found.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""
    required: bool = True
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What :func:`canary` saw.

    Attributes:
        engine: the engine's spec.
        fingerprint: the engine's fingerprint.
        checks: in the order they were made.
        moment: when, in UTC (ISO 8601).
    """

    engine: str
    fingerprint: str
    checks: tuple[Check, ...]
    moment: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For the manifest of a run; plain values only.

        >>> report = CanaryReport("gguf:m", "f", (Check("constraint bites", True, "yes"),))
        >>> report.as_dict()["ok"], report.as_dict()["checks"][0]["name"]
        (True, 'constraint bites')
        """
        return {**asdict(self), "checks": [asdict(c) for c in self.checks], "ok": self.ok}

    @property
    def ok(self) -> bool:
        """Every required check holds."""
        return all(check.ok for check in self.checks if check.required)

    @property
    def lacking(self) -> frozenset[str]:
        """Capabilities that the engine states and does not have; see
        :meth:`ecomfs.engine.protocol.Capabilities.without`."""
        return frozenset(check.lacks for check in self.checks if check.lacks)

    def require(self) -> CanaryReport:
        """This report, if scoring can be trusted.

        Raises:
            CanaryError: the first required check that does not hold, with its mend.
        """
        for check in self.checks:
            if check.required and not check.ok:
                raise CanaryError(f"{self.engine}: {check.name}: {check.detail}", hint=check.hint)
        return self
