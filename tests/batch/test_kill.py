"""A run killed at any point loses no row, writes none twice, and ends with the same bytes."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import victim
from fault_counts import Faults

from ecomfs.batch.journal import Journal

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Undisturbed:
    """An uninterrupted run: the result that the others must have."""

    source: Path
    output: bytes
    failed: bytes
    distinct: int
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    source = folder / "in.csv"
    distinct = victim.make_table(source)
    log = folder / "log"
    run(source, folder / "warm.csv", folder / "other")  # the fork server starts with the first one
    started = time.monotonic()
    run(source, folder / "out.csv", log)
    seconds = time.monotonic() - started
    assert victim.asked(log) == distinct - 1  # the empty text is never asked
    output, failed = (folder / name for name in ("out.csv", "out.failed.csv"))
    assert output.read_bytes().count(b"\n") == victim.ROWS + 1
    return Undisturbed(source, output.read_bytes(), failed.read_bytes(), distinct - 1, seconds)


def run(source: Path, output: Path, log: Path) -> None:
    process = victim.start(victim.score, source, output, log)
    process.join(120)
    assert process.exitcode == 0


def check(folder: Path, whole: Undisturbed, faults: Faults, how: str) -> None:
    """After a kill: the same command ends as if nothing had happened, and asks only what the
    journal does not hold."""
    output, path = folder / "out.csv", folder / "out.csv.journal"
    done = output.exists()
    if done:
        assert output.read_bytes() == whole.output
    answers = 0
    if path.exists():
        with Journal(path) as journal:
            # An empty text is answered without the engine.
            answers = sum("is empty" not in e.text for e in journal.between(0, victim.ROWS))
    log = folder / "second"
    run(whole.source, output, log)
    faults.cost(f"kill -9 at a {how}", output, whole.output)
    assert output.read_bytes() == whole.output
    assert (folder / "out.failed.csv").read_bytes() == whole.failed
    assert victim.asked(log) == whole.distinct - answers
    assert sorted(p.name for p in folder.iterdir() if p.name not in ("first", "second")) == [
        "out.csv",
        "out.failed.csv",
    ]


def kill_at_a_moment(folder: Path, whole: Undisturbed, share: float) -> None:
    process = victim.start(victim.score, whole.source, folder / "out.csv", folder / "first")
    process.join(share * whole.seconds)
    process.kill()  # nothing where it has just ended by itself
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)


def kill_at_a_step(folder: Path, whole: Undisturbed, steps: int) -> None:
    process = victim.start(victim.score, whole.source, folder / "out.csv", folder / "first", steps)
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)


POINTS = [("step", seed) for seed in range(12)] + [("moment", seed) for seed in range(12)]
MANY = [("step", 100 + s) for s in range(120)] + [("moment", 100 + s) for s in range(100)]
STEPS = 20_000
"""About as many calls as a run makes; one that ends before is a run nobody killed."""


@pytest.mark.parametrize(
    ("how", "seed"), [*POINTS, *(pytest.param(*point, marks=pytest.mark.slow) for point in MANY)]
)
def test_killed_at_a_random_point(
    how: str, seed: int, undisturbed: Undisturbed, tmp_path: Path, faults: Faults
) -> None:
    chance = random.Random(f"{how}{seed}")
    if how == "step":
        kill_at_a_step(tmp_path, undisturbed, int(10 ** chance.uniform(0, 4.3)))
    else:
        kill_at_a_moment(tmp_path, undisturbed, chance.uniform(0.05, 1.05))
    check(tmp_path, undisturbed, faults, how)


def test_killed_again_and_again(undisturbed: Undisturbed, tmp_path: Path, faults: Faults) -> None:
    """Each life is long enough to answer something."""
    output, log = tmp_path / "out.csv", tmp_path / "first"
    lives = 0
    while not output.exists():
        steps = 1200 + 200 * lives
        process = victim.start(victim.score, undisturbed.source, output, log, steps)
        process.join(60)
        lives += 1
        assert lives < 60
    assert lives > 2
    check(tmp_path, undisturbed, faults, "step, again and again")
