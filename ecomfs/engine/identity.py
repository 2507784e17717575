"""Which weights answer: what a served model reads of the canary's prompts, in its fingerprint.

A server says a name, and another model may stand behind the same name tomorrow. What its model
reads of a fixed prompt cannot be the same then. Readings of one model differ a little by batch,
precision and machine, so they are compared within a tolerance; where a fingerprint was seen before
on this machine, that one is used, and readings that were kept stay of use.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ecomfs.core.cache import ByteCache, cache_folder

Probe = tuple[int, ...]
"""Log-probabilities of a few tokens, in tenths of nats below zero."""

TOLERANCE = 3
"""Tenths of nats by which readings of one model may differ: bfloat16 has steps of an eighth."""

logger = logging.getLogger(__name__)
_PROBE = re.compile(r"-p(\d+(?:\.\d+)*)$")
_MOST = 999  # -inf


@runtime_checkable
class SupportsProbe(Protocol):
    """An engine whose weights may change while it is open.

    Attributes:
        confirmed: how often its servers were found to be what they were.
        swapped: whether one was found to be another.
    """

    confirmed: int
    swapped: bool

    async def remember(self) -> None:
        """Probe the servers, and take that into the fingerprint.

        Raises:
            EngineError: nothing can be read, or the servers have different weights.
        """
        ...


def probe_of(logprobs: Sequence[float]) -> Probe:
    """Values as they are kept.

    >>> probe_of([-0.123, -7.89, float("-inf")])
    (1, 79, 999)
    """
    return tuple(round(min(max(-10 * value, 0), _MOST)) for value in logprobs)


def near(one: Probe, other: Probe) -> bool:
    """Whether two probes may be of the same weights.

    >>> near((1, 79), (3, 77)), near((1, 79), (5, 79)), near((1,), (1, 79))
    (True, False, False)
    """
    return len(one) == len(other) and all(
        abs(a - b) <= TOLERANCE for a, b in zip(one, other, strict=True)
    )


def with_probe(fingerprint: str, probe: Probe) -> str:
    """A fingerprint with a probe; as it is without one.

    >>> with_probe("vllm-0a1b-0.15.0", (1, 79)), with_probe("vllm-0a1b-0.15.0", ())
    ('vllm-0a1b-0.15.0-p1.79', 'vllm-0a1b-0.15.0')
    """
    return f"{fingerprint}-p{'.'.join(map(str, probe))}" if probe else fingerprint


def same_model(one: str, other: str) -> bool:
    """Whether two fingerprints may be of one model. Where one of them has no probe, the rest
    decides.

    >>> same_model("vllm-0a1b-0.15.0-p1.79", "vllm-0a1b-0.15.0-p2.78")
    True
    >>> same_model("vllm-0a1b-0.15.0-p1.79", "vllm-0a1b-0.15.0-p40.2")
    False
    >>> same_model("vllm-0a1b-0.15.0-p1.79", "vllm-0a1b-0.15.0")
    True
    """
    (base, probe), (other_base, other_probe) = map(_parts, (one, other))
    return base == other_base and (not probe or not other_probe or near(probe, other_probe))


def seen_before(fingerprint: str, probe: Probe) -> Probe:
    """The probe near this one under which the model was known on this machine; a new one is kept.

    Args:
        fingerprint: without a probe.
        probe: of now.
    """
    key = fingerprint.encode()
    cache = ByteCache(cache_folder() / "probes.sqlite")
    try:
        kept = cache.get("probe", [key])
        known = [tuple(map(int, one)) for one in json.loads(kept.get(key, b"[]"))]
        for one in known:
            if near(one, probe):
                return one
        if known:
            logger.warning(
                "the model %s reads otherwise than it did on this machine before: its weights "
                "changed under the same name, and its readings are kept apart",
                fingerprint,
            )
        cache.discard("probe", [key])
        cache.put("probe", {key: json.dumps([*known, probe]).encode()})
        return probe
    finally:
        cache.close()


def _parts(fingerprint: str) -> tuple[str, Probe]:
    found = _PROBE.search(fingerprint)
    if found is None:
        return fingerprint, ()
    return fingerprint[: found.start()], tuple(map(int, found[1].split(".")))
