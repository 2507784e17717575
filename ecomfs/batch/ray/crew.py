"""The actors of a run on Ray: who is free, who answered, who died and is replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ecomfs.batch.identity import differences
from ecomfs.batch.input import RowBlock
from ecomfs.batch.ray.actor import Build, Done, Facts, Scorer
from ecomfs.batch.runner import Tally
from ecomfs.errors import ConfigError, EcomfsError, EngineUnavailableError

IN_FLIGHT = 2
"""Partitions an actor has at a time: it begins the next while it ends one."""
_DEATHS = 3
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Partition:
    """Rows that one actor answers.

    Attributes:
        deaths: of actors that were answering it.
    """

    block: RowBlock
    deaths: int = 0

    def __str__(self) -> str:
        asked = self.block.asked
        return f"rows {asked[0].position + 1} to {asked[-1].position + 1}"


@dataclass(slots=True, eq=False)
class _Seat:
    """A place for an actor; when one dies, another takes it.

    Attributes:
        flying: what it was asked and has not answered; its own start has ``None``.
        told: what the actor did so far, by its own count.
        unborn: actors that died here before they were ready.
    """

    actor: Any = None
    flying: dict[Any, Partition | None] = field(default_factory=dict)
    ready: bool = False
    told: Tally = field(default_factory=Tally)
    unborn: int = 0


class Crew:
    """Actors on a cluster that is joined.

    Args:
        ray: the module.
        build, folder: see :class:`ecomfs.batch.ray.actor.Scorer`.
        actors: how many; default: one a GPU, or without GPUs one a machine.
        gpus: GPUs of an actor; default: one where the cluster has any.
        on_event: called with what a person should know.

    Attributes:
        facts: what the first actor that got ready says of its pipeline.
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
        self._told: list[Tally] = []  # by actors that are dead
        self._say = on_event
        actors, options = _resources(ray, actors, gpus)
        remote: Any = ray.remote(Scorer)
        self._make: Callable[[], Any] = lambda: remote.options(**options).remote(build, str(folder))
        self._seats = [_Seat() for _ in range(actors)]
        for seat in self._seats:
            self._fill(seat)

    def wait_for_one(self) -> Facts:
        """Until the first actor is ready.

        Raises:
            EcomfsError: it cannot get ready.
        """
        waited = False
        while self.facts is None:
            if not self.turn(_PATIENCE_SECONDS if not waited else None) and self.facts is None:
                if not waited:
                    free = self._ray.available_resources()
                    shown = ", ".join(f"{free.get(k, 0):g} {k}" for k in ("CPU", "GPU"))
                    self._say(f"waiting for the first actor to load its model; free: {shown}")
                waited = True
        return self.facts

    def hand_out(self, partition: Callable[[], Partition | None], arguments: Sequence[Any]) -> bool:
        """Give partitions to those who have less than they can; whether there were enough."""
        while True:
            ready = [s for s in self._seats if s.ready and len(s.flying) < IN_FLIGHT]
            if not ready:
                return True
            seat = min(ready, key=lambda s: len(s.flying))
            part = partition()
            if part is None:
                return False
            seat.flying[seat.actor.answer.remote(part.block.asked, *arguments)] = part

    @property
    def busy(self) -> bool:
        """Somebody is answering."""
        return any(part for seat in self._seats for part in seat.flying.values())

    @property
    def told(self) -> list[Tally]:
        """What each actor did so far, also those that died."""
        return [*self._told, *(seat.told for seat in self._seats)]

    def turn(self, seconds: float | None) -> list[tuple[Partition, Done | None]]:
        """Wait for news: partitions that are answered, and those (``None``) whose actor died.

        Raises:
            EcomfsError: of an actor's start or engine.
            EngineUnavailableError: actors die again and again.
        """
        owners = {ref: seat for seat in self._seats for ref in seat.flying}
        refs, _ = self._ray.wait(list(owners), num_returns=1, timeout=seconds)
        news: list[tuple[Partition, Done | None]] = []
        for ref in refs:
            seat = owners[ref]
            try:
                found = self._get(ref)
            except _deaths(self._ray) as death:
                news += [(part, None) for part in self._replace(seat, death)]
                continue
            part = seat.flying.pop(ref)
            if part is None:
                self._join(seat, found)
            else:
                seat.told = found[1]
                news.append((part, found))
        return news

    def call(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """See :meth:`ecomfs.batch.ray.actor.Scorer.call`; by an actor that is ready."""
        seat = next(seat for seat in self._seats if seat.ready)
        return self._get(seat.actor.call.remote(function, *arguments))

    def dismiss(self) -> None:
        """End all actors, whatever they are at."""
        for seat in self._seats:
            with suppress(Exception):  # it is dead, or the cluster is gone
                self._ray.kill(seat.actor)

    def _fill(self, seat: _Seat) -> None:
        seat.actor = self._make()
        seat.ready, seat.told = False, Tally()
        seat.flying = {seat.actor.start.remote(): None}

    def _join(self, seat: _Seat, facts: Facts) -> None:
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
        seat.ready, seat.unborn = True, 0

    def _replace(self, seat: _Seat, death: Exception) -> list[Partition]:
        """A new actor in place of a dead one; gives what that one was answering."""
        lost = [part for part in seat.flying.values() if part is not None]
        if not seat.ready:
            seat.unborn += 1
            if seat.unborn >= _DEATHS:
                raise EngineUnavailableError(
                    f"{_DEATHS} actors died one after the other before they were ready: "
                    f"{_reason(death)}",
                    hint="a model that does not fit into memory looks like this",
                ) from death
        for part in lost:
            part.deaths += 1
            if part.deaths >= _DEATHS:
                raise EngineUnavailableError(
                    f"{_DEATHS} actors died while they answered {part}: {_reason(death)}",
                    hint="smaller --partition-rows and fewer actors a machine need less memory",
                ) from death
        with suppress(Exception):  # it may only be out of reach: two must not answer
            self._ray.kill(seat.actor)
        what = f"{len(lost)} partitions are asked again" if lost else "it had nothing to answer"
        self._say(f"an actor died and is replaced; {what} ({_reason(death)})")
        self._told.append(seat.told)
        self._fill(seat)
        return lost

    def _get(self, ref: Any) -> Any:
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EcomfsError):
                raise error.cause from None
            raise


def _deaths(ray: Any) -> tuple[type[Exception], ...]:
    """What a call of a dead actor, or an answer on a lost machine, raises."""
    errors = ray.exceptions
    return (errors.RayActorError, errors.ObjectLostError, errors.NodeDiedError)


def _reason(death: Exception) -> str:
    lines = [line.strip() for line in str(death).splitlines() if line.strip()]
    told = [line for line in lines if "death" in line.casefold() or "exit" in line.casefold()]
    return (told or lines or [type(death).__name__])[-1][:200]


def _resources(ray: Any, actors: int | None, gpus: float | None) -> tuple[int, dict[str, Any]]:
    """How many actors, and what each one gets.

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
    # Ray tells numeric libraries to use as many threads as an actor has CPUs.
    per_machine = -(-actors // len(machines))
    cpus = min(machine.get("CPU", 1) for machine in machines)
    return actors, {
        "num_cpus": max(1, int(cpus // per_machine)) if not gpus else 1,
        "num_gpus": gpus,
        "max_restarts": 0,  # replaced by us, who know what it was answering
        "max_concurrency": IN_FLIGHT + 1,
        "scheduling_strategy": "SPREAD",
    }
