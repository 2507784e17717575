"""What the driver of a run on Ray costs per row, and how many GPUs it can keep busy.

    python eval/bench/scale.py --measure --rows 50000 --out driver.json    Ray, loopback server
    python eval/bench/scale.py --journal 3000000                           a journal that grows
    python eval/bench/scale.py --costs driver.json                         the simulation

``--measure`` scores a table with :mod:`ecomfs.batch.ray` on this machine; the actors call a
loopback server without a model. It prints the CPU time of the driver's thread per row in each stage
(a stage that waits for the disk or for an actor uses none meanwhile), the wall time of storing, and
the CPU time of the other threads of the driver's process.

The simulation has one driver and many actors. The driver reads and sends a partition, or stores an
answered one; it does one thing at a time, like the loop of ``RayScorer.answer``. An actor has two
partitions and answers one after the other, in times that vary. With ``partitioned`` input and
output an actor reads, journals and writes its own part, and the driver only assigns parts.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import json
import math
import os
import random
import resource
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import batch
from loopback import make_tokenizer

PARTITION_ROWS = 1024
IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of the driver per row.

    Attributes:
        read: rows of the input, their keys, and which of them the journal has.
        send: partitions to actors.
        receive: answers from actors.
        store: answers into the journal.
        write: input and answers into the output, at the end.
        part: seconds per part where input and output are partitioned.
    """

    read: float
    send: float
    receive: float
    store: float
    write: float
    part: float = 0.01

    @property
    def answering(self) -> float:
        """Seconds per row while actors answer."""
        return self.read + self.send + self.receive + self.store

    @property
    def most(self) -> float:
        """Maximum rows per second of a driver.

        >>> Costs(2e-5, 1e-5, 1e-5, 1e-5, 3e-5).most
        20000.0
        """
        return 1 / self.answering


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a simulated run.

    Attributes:
        rate: rows per second while actors answer.
        driver: share of the time that the driver works.
        actors: share of the time that the actors answer.
        waiting: answered partitions that wait for the driver, on average.
    """

    rate: float
    driver: float
    actors: float
    waiting: float


def simulate(
    actors: int,
    rows_per_second: float,
    costs: Costs,
    *,
    partitions: int,
    rows: int = PARTITION_ROWS,
    variation: float = 0.1,
    seed: int = 0,
) -> Outcome:
    """Simulate one driver and many actors.

    Parameters
    ----------
    actors, rows_per_second
        How many, and how fast each is.
    costs
        Of the driver.
    partitions
        How many, for all actors together.
    rows
        Of a partition.
    variation
        Standard deviation of an actor's time for a partition, as a share of its mean.
    seed
        Of that variation.

    >>> costs = Costs(2e-5, 1e-5, 1e-5, 1e-5, 0.0)
    >>> few = simulate(4, 1000, costs, partitions=400)
    >>> few.actors > 0.97, round(few.driver, 1)
    (True, 0.2)
    >>> many = simulate(64, 1000, costs, partitions=3200)
    >>> many.driver > 0.97, round(many.rate, -3)
    (True, 20000.0)
    """
    chance = random.Random(seed)
    queue = [deque[int]() for _ in range(actors)]  # partitions that an actor has
    answered: deque[tuple[float, int]] = deque()
    events: list[tuple[float, int, int]] = []  # when an actor has answered a partition
    free = deque(actor for _ in range(IN_FLIGHT) for actor in range(actors))
    mean = rows / rows_per_second
    spread = math.sqrt(math.log(1 + variation**2))
    now = busy = worked = waited = 0.0
    left, done, number = partitions, 0, 0

    def start(actor: int, at: float) -> None:
        nonlocal worked, number
        seconds = mean * chance.lognormvariate(-(spread**2) / 2, spread)
        worked += seconds
        number += 1
        heapq.heappush(events, (at + seconds, number, actor))

    def finish(until: float) -> None:
        """Advance the actors to a point in time."""
        while events and events[0][0] <= until:
            at, _, actor = heapq.heappop(events)
            answered.append((at, actor))
            queue[actor].popleft()
            if queue[actor]:
                start(actor, at)

    while done < partitions:
        if left and free:
            seconds = rows * (costs.read + costs.send)
            now, busy, left = now + seconds, busy + seconds, left - 1
            finish(now)
            actor = free.popleft()
            queue[actor].append(left)
            if len(queue[actor]) == 1:
                start(actor, now)
            continue
        if not answered:
            now = events[0][0]
            finish(now)
        at, actor = answered.popleft()
        waited += now - at
        seconds = rows * (costs.receive + costs.store)
        now, busy, done = now + seconds, busy + seconds, done + 1
        finish(now)
        free.append(actor)
    return Outcome(partitions * rows / now, busy / now, worked / (now * actors), waited / now)


def in_parts(costs: Costs) -> Costs:
    """The driver's cost per row if actors read and write parts of a million rows themselves."""
    return Costs(0.0, costs.part / 1e6, 0.0, 0.0, 0.0, costs.part)


def duration(seconds: float) -> str:
    """A duration in a suitable unit.

    >>> duration(90), duration(7200), duration(400_000)
    ('90 s', '2.0 h', '4.6 days')
    """
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"


def report(costs: Costs, actors: list[int], rates: list[float], rows: float, seed: int) -> str:
    """Both ways to divide the work, as Markdown."""
    lines = [
        f"The driver: {1e6 * costs.answering:.1f} µs per row while actors answer, so "
        f"{costs.most:,.0f} rows/s at most; writing the output {1e6 * costs.write:.1f} µs per row.",
        "",
        "| GPUs | rows/s of one | together | now: rows/s | driver works | GPUs work "
        "| partitions waiting | answering | writing | in parts: rows/s | GPUs work | answering |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for count in actors:
        for rate in rates:
            now = simulate(count, rate, costs, partitions=100 * count, seed=seed)
            parts = simulate(
                count, rate, in_parts(costs), partitions=30 * count, rows=1_000_000, seed=seed
            )
            lines.append(
                f"| {count} | {rate:,.0f} | {count * rate:,.0f} | {now.rate:,.0f} "
                f"| {now.driver:.0%} | {now.actors:.0%} | {now.waiting:.1f} "
                f"| {duration(rows / now.rate)} | {duration(rows * costs.write)} "
                f"| {parts.rate:,.0f} | {parts.actors:.0%} | {duration(rows / parts.rate)} |"
            )
    return "\n".join(lines) + "\n"


# -- measuring ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Stage:
    """CPU and wall seconds, one value per call."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


@contextmanager
def timed(stages: dict[str, Stage], places: list[tuple[str, Any, str]]) -> Iterator[None]:
    """Measure functions, each without the measured ones that it calls; ``places``: name of the
    stage, owner, attribute.
    """
    inner: list[list[float]] = [[0.0, 0.0]]
    before = [(owner, name, getattr(owner, name)) for _, owner, name in places]

    def wrapped(stage: Stage, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            inner.append([0.0, 0.0])
            cpu, wall = time.thread_time(), time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                nested = inner.pop()
                stage.cpu.append(cpu - nested[0])
                stage.wall.append(wall - nested[1])
                inner[-1][0] += cpu
                inner[-1][1] += wall

        return call

    for stage, owner, name in places:
        setattr(owner, name, wrapped(stages.setdefault(stage, Stage()), getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def build(url: str) -> Any:
    """The pipeline of an actor: zero-shot, on a loopback server."""
    return batch.pipeline(url, 0)


def measure(rows: int, actors: int, partition_rows: int) -> dict[str, Any]:
    """Score a table on Ray and return the driver's costs."""
    from ecomfs.batch import score as scoring
    from ecomfs.batch import score_table
    from ecomfs.batch.feed import Feed
    from ecomfs.batch.ray import runner
    from ecomfs.batch.ray.actor_pool import ActorPool

    os.environ["ECOMFS_READING_CACHE"] = "off"
    os.environ["ECOMFS_STATE"] = "off"
    stages: dict[str, Stage] = {}
    places = [
        ("read", Feed, "next"),
        ("send", ActorPool, "assign"),
        ("receive", ActorPool, "poll"),
        ("store", runner._Store, "add"),
        ("write", scoring, "write_output"),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = batch.make_table(folder / "in.csv", rows)
        make_tokenizer(folder / "tokenizer", (text for _, text, _ in batch.rows(2000)))
        with (
            batch.server(0, folder) as url,
            runner.RayScorer(
                functools.partial(build, url), actors=actors, partition_rows=partition_rows
            ) as scorer,
        ):
            warm = batch.make_table(folder / "warm.csv", 2 * partition_rows)
            score_table(warm, folder / "warm.out.csv", scorer)
            used, thread = _cpu(), time.thread_time()
            with timed(stages, places):
                tally = score_table(source, folder / "out.csv", scorer, keep_journal=True).tally
            thread, used = time.thread_time() - thread, _cpu() - used
            journal = (folder / "out.csv.journal").stat().st_size
    cpu = {name: sum(stage.cpu) / rows for name, stage in stages.items()}
    per_partition = sorted(stages["store"].wall)
    return {
        "rows": rows,
        "answered": tally.status["ok"],
        "partition_rows": partition_rows,
        "costs": cpu,
        "rest": thread / rows - sum(cpu.values()),
        "other_threads": (used - thread) / rows,
        "store_wall": {
            "median": statistics.median(per_partition),
            "smallest": per_partition[0],
            "largest": per_partition[-1],
        },
        "journal_bytes": journal / rows,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def as_markdown(found: dict[str, Any]) -> str:
    """A measurement as Markdown."""
    lines = ["| stage | CPU per row |", "|---|--:|"]
    names = {
        "read": "read the input, hash the rows, ask the journal",
        "send": "send partitions",
        "receive": "receive answers",
        "store": "store answers in the journal",
        "write": "write the output, at the end",
    }
    lines += [f"| {text} | {1e6 * found['costs'][name]:.1f} µs |" for name, text in names.items()]
    lines += [
        f"| the rest of the driver's thread | {1e6 * found['rest']:.1f} µs |",
        f"| other threads of its process | {1e6 * found['other_threads']:.1f} µs |",
        "",
        f"{found['answered']:,} of {found['rows']:,} rows answered, partitions of "
        f"{found['partition_rows']:,}; storing a partition took "
        f"{1e3 * found['store_wall']['median']:.1f} ms "
        f"[{1e3 * found['store_wall']['smallest']:.1f}, "
        f"{1e3 * found['store_wall']['largest']:.1f}] with its wait for the disk; the journal has "
        f"{found['journal_bytes']:.0f} bytes per row.",
    ]
    return "\n".join(lines) + "\n"


def journal_growth(rows: int, seed: int) -> str:
    """CPU and wall time of storing as a journal grows; its index is ordered by hash."""
    from ecomfs.batch.journal import Entry, Journal

    chance = random.Random(seed)
    step = max(PARTITION_ROWS, rows // 10 // PARTITION_ROWS * PARTITION_ROWS)
    lines = ["| answers in the journal | CPU per row | wall per row | file, bytes per row |"]
    lines.append("|--:|--:|--:|--:|")
    text = '["ok",["v1","0123456789ab"],[],{"label":"positive","prompt_tokens":60}]'
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "out.csv.journal"
        with Journal(path) as journal:
            for start in range(0, rows - step + 1, step):
                cpu, wall = time.thread_time(), time.perf_counter()
                for at in range(start, start + step, PARTITION_ROWS):
                    entries = [
                        Entry(at + n, chance.randbytes(16), text, b"\0" * 16)
                        for n in range(PARTITION_ROWS)
                    ]
                    journal.known([entry.key for entry in entries])
                    journal.commit(entries, at + PARTITION_ROWS)
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                size = sum(p.stat().st_size for p in Path(temporary).iterdir())
                lines.append(
                    f"| {start + step:,} | {1e6 * cpu / step:.1f} µs | {1e6 * wall / step:.1f} µs "
                    f"| {size / (start + step):.0f} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="the driver, with Ray")
    parser.add_argument("--rows", type=int, default=50_000, help="of --measure")
    parser.add_argument("--measured-actors", type=int, default=2)
    parser.add_argument("--partition-rows", type=int, default=PARTITION_ROWS, help="of --measure")
    parser.add_argument("--out", type=Path, help="file for what was measured")
    parser.add_argument("--journal", type=int, help="only a journal that grows to so many rows")
    parser.add_argument("--costs", type=Path, help="what was measured, for the simulation")
    parser.add_argument("--actors", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--billions", type=float, default=1.0, help="rows of the whole run, in 1e9")
    parser.add_argument(
        "--disk", action="store_true", help="storing waits for the disk as measured"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.journal:
        print(journal_growth(options.journal, options.seed))
    elif options.measure:
        found = measure(options.rows, options.measured_actors, options.partition_rows)
        print(as_markdown(found))
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    elif options.costs:
        found = json.loads(options.costs.read_text(encoding="utf-8"))
        costs = Costs(**found["costs"])
        costs = replace(costs, read=costs.read + found["rest"])
        if options.disk:
            costs = replace(costs, store=found["store_wall"]["median"] / found["partition_rows"])
        rows = options.billions * 1e9
        print(report(costs, options.actors, options.rates, rows, options.seed))
    else:
        parser.error("give --measure, --journal, or --costs")


if __name__ == "__main__":
    main()
