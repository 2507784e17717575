"""The actors of a run on Ray: assigns partitions, and replaces actors that died."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ecomfs.batch.feed import RowBlock
from ecomfs.batch.identity import differences
from ecomfs.batch.ray.actor import Build, Done, Facts, Scorer
from ecomfs.batch.runner import Tally
from ecomfs.errors import ConfigError, EcomfsError, EngineUnavailableError

IN_FLIGHT = 2
"""Partitions in flight per actor; with two, an actor never waits for the next one."""
_DEATHS = 3
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Partition:
    """Rows that one actor classifies.

    Attributes:
        deaths: number of actors that died while they processed it.
    """

    block: RowBlock
    deaths: int = 0

    def __str__(self) -> str:
        asked = self.block.asked
        return f"rows {asked[0].position + 1} to {asked[-1].position + 1}"


@dataclass(slots=True, eq=False)
class _Slot:
    """One actor at a time: when it dies, another replaces it.

    Attributes:
        in_flight: unfinished calls; ``None`` stands for the start of the actor.
        stats: the totals reported by the actor.
        failed_starts: consecutive actors that died before they were ready.
    """

    actor: Any = None
    in_flight: dict[Any, Partition | None] = field(default_factory=dict)
    ready: bool = False
    stats: Tally = field(default_factory=Tally)
    failed_starts: int = 0


class ActorPool:
    """The actors of a connected cluster.

    Args:
        ray: the module.
        build, folder: see :class:`ecomfs.batch.ray.actor.Scorer`.
        actors: number of actors; default: one per GPU, or without GPUs one per machine.
        gpus: GPUs per actor; default: one if the cluster has any.
        on_event: called with a message for the user.

    Attributes:
        facts: facts about the pipeline of the first actor that was ready.
    """

    facts: Facts | None = None

    def __init__(
        self,
        ray: Any,
        build: Build,
        folder: Path,
        *,
        actors: int | None,
        gpus: float | None,
        on_event: Callable[[str], None],
    ) -> None:
        self._ray = ray
        self._past_stats: list[Tally] = []  # totals of dead actors
        self._report = on_event
        actors, options = _resources(ray, actors, gpus)
        remote: Any = ray.remote(Scorer)
        self._make: Callable[[], Any] = lambda: remote.options(**options).remote(build, str(folder))
        self._slots = [_Slot() for _ in range(actors)]
        for slot in self._slots:
            self._start_actor(slot)

    def wait_for_one(self) -> Facts:
        """Wait for the first actor.

        Raises:
            EcomfsError: it cannot start.
        """
        self.poll(_PATIENCE_SECONDS)
        if self.facts is None:
            free = self._ray.available_resources()
            shown = ", ".join(f"{free.get(k, 0):g} {k}" for k in ("CPU", "GPU"))
            self._report(f"waiting for the first actor to load its model; free: {shown}")
        while self.facts is None:
            self.poll(None)
        return self.facts

    def assign(self, partition: Callable[[], Partition | None], arguments: Sequence[Any]) -> bool:
        """Assign partitions to actors with free capacity; ``False`` if no partition is left."""
        while True:
            ready = [s for s in self._slots if s.ready and len(s.in_flight) < IN_FLIGHT]
            if not ready:
                return True
            slot = min(ready, key=lambda s: len(s.in_flight))
            part = partition()
            if part is None:
                return False
            slot.in_flight[slot.actor.answer.remote(part.block.asked, *arguments)] = part

    @property
    def busy(self) -> bool:
        """Whether any partition is in flight."""
        return any(part for slot in self._slots for part in slot.in_flight.values())

    @property
    def stats(self) -> list[Tally]:
        """Totals of each actor, dead ones included."""
        return [*self._past_stats, *(slot.stats for slot in self._slots)]

    def poll(self, seconds: float | None) -> list[tuple[Partition, Done | None]]:
        """Wait for results; returns finished partitions with their results, or with ``None`` if
        their actor died.

        Raises:
            EcomfsError: an error from the start or the engine of an actor.
            EngineUnavailableError: actors die repeatedly.
        """
        owners = {ref: slot for slot in self._slots for ref in slot.in_flight}
        refs, _ = self._ray.wait(list(owners), num_returns=1, timeout=seconds)
        news: list[tuple[Partition, Done | None]] = []
        for ref in refs:
            slot = owners[ref]
            try:
                found = self._get(ref)
            except _deaths(self._ray) as death:
                news += [(part, None) for part in self._replace(slot, death)]
                continue
            part = slot.in_flight.pop(ref)
            if part is None:
                self._mark_ready(slot, found)
            else:
                slot.stats = found[1]
                news.append((part, found))
        return news

    def call(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """See :meth:`ecomfs.batch.ray.actor.Scorer.call`; on any ready actor."""
        slot = next(slot for slot in self._slots if slot.ready)
        return self._get(slot.actor.call.remote(function, *arguments))

    def close(self) -> None:
        """Kill all actors."""
        for slot in self._slots:
            with suppress(Exception):  # it is dead, or the cluster has ended
                self._ray.kill(slot.actor)

    def _start_actor(self, slot: _Slot) -> None:
        slot.actor = self._make()
        slot.ready, slot.stats = False, Tally()
        slot.in_flight = {slot.actor.start.remote(): None}

    def _mark_ready(self, slot: _Slot, facts: Facts) -> None:
        if facts.version != (here := version("ecomfs")):
            raise ConfigError(
                f"{facts.node} has ecomfs {facts.version}, here it is {here}",
                hint="install the same version on all machines",
            )
        if self.facts is None:
            self.facts = facts
        elif changed := differences(self.facts.identity, facts.identity):
            raise ConfigError(
                f"the actors would answer differently: {', '.join(changed)} differ between "
                f"{self.facts.node} and {facts.node}",
                hint="give all machines the same files; ecomfs fit and --profile fix the rest",
            )
        slot.ready, slot.failed_starts = True, 0

    def _replace(self, slot: _Slot, death: Exception) -> list[Partition]:
        """Start a new actor for a dead one; returns the partitions to assign again."""
        lost = [part for part in slot.in_flight.values() if part is not None]
        if not slot.ready:
            slot.failed_starts += 1
            if slot.failed_starts >= _DEATHS:
                raise EngineUnavailableError(
                    f"{_DEATHS} actors in a row died before they were ready: {_reason(death)}",
                    hint="check that the model fits into memory",
                ) from death
        for part in lost:
            part.deaths += 1
            if part.deaths >= _DEATHS:
                raise EngineUnavailableError(
                    f"{_DEATHS} actors died while they answered {part}: {_reason(death)}",
                    hint="use a smaller --partition-rows, or fewer actors per machine",
                ) from death
        with suppress(Exception):  # it may only be unreachable: two must not answer
            self._ray.kill(slot.actor)
        what = f"{len(lost)} partitions are repeated" if lost else "no rows are repeated"
        self._report(f"an actor died and is replaced; {what} ({_reason(death)})")
        self._past_stats.append(slot.stats)
        self._start_actor(slot)
        return lost

    def _get(self, ref: Any) -> Any:
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EcomfsError):
                raise error.cause from None
            raise


def _deaths(ray: Any) -> tuple[type[Exception], ...]:
    """Exceptions of calls to dead actors and lost machines."""
    errors = ray.exceptions
    return (errors.RayActorError, errors.ObjectLostError, errors.NodeDiedError)


def _reason(death: Exception) -> str:
    lines = [line.strip() for line in str(death).splitlines() if line.strip()]
    named = [line for line in lines if "death" in line.casefold() or "exit" in line.casefold()]
    return (named or lines or [type(death).__name__])[-1][:200]


def _resources(ray: Any, actors: int | None, gpus: float | None) -> tuple[int, dict[str, Any]]:
    """Number of actors, and the resources of each.

    Raises:
        ConfigError: no machine has that much.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = sum(machine.get("GPU", 0) for machine in machines)
    if gpus is None:
        gpus = 1 if total else 0
    if gpus and gpus > max(machine.get("GPU", 0) for machine in machines):
        raise ConfigError(f"no machine of the cluster has {gpus:g} GPUs", hint=f"{total:g} in all")
    if actors is None:
        actors = max(1, int(total // gpus)) if gpus else len(machines)
    # Ray limits numeric libraries to as many threads as an actor has CPUs.
    per_machine = -(-actors // len(machines))
    cpus = min(machine.get("CPU", 1) for machine in machines)
    return actors, {
        "num_cpus": max(1, int(cpus // per_machine)) if not gpus else 1,
        "num_gpus": gpus,
        "max_restarts": 0,  # the pool replaces it and repeats its partitions
        "max_concurrency": IN_FLIGHT + 1,
        "scheduling_strategy": "SPREAD",
    }
