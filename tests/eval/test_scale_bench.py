"""The simulation of a Ray driver: the rates that it can and cannot sustain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "eval" / "bench"
STAGES = ("read", "send", "receive", "store")


@pytest.fixture(scope="module")
def scale() -> Iterator[ModuleType]:
    """The script as a module."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(BENCH))
    import scale

    yield scale
    patch.undo()
    for name in ("scale", "batch", "loopback"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("actors", [1, 4, 64])
@pytest.mark.parametrize("rate", [10.0, 1000.0, 100_000.0])
def test_no_run_is_faster_than_its_actors_or_its_driver(
    actors: int, rate: float, scale: ModuleType
) -> None:
    costs = scale.Costs(2e-5, 1e-5, 1e-5, 1e-5, 0.0)
    found = scale.simulate(actors, rate, costs, partitions=50 * actors)
    most = min(actors * rate, costs.most)
    # Actors vary by a tenth from partition to partition.
    assert 0.85 * most < found.rate < 1.05 * most
    assert found.driver <= 1 + 1e-9
    assert found.actors <= 1 + 1e-9
    assert found.driver == pytest.approx(found.rate / costs.most)


def test_partitions_wait_for_a_driver_that_is_too_slow(scale: ModuleType) -> None:
    costs = scale.Costs(2e-5, 1e-5, 1e-5, 1e-5, 0.0)
    few, many = (scale.simulate(n, 1000, costs, partitions=100 * n) for n in (4, 64))
    assert few.waiting < 1 < many.waiting
    assert many.actors < 0.4 < few.actors


def test_a_seed_gives_one_run(scale: ModuleType) -> None:
    costs = scale.Costs(2e-5, 1e-5, 1e-5, 1e-5, 0.0)
    one, two, other = (
        scale.simulate(8, 1000, costs, partitions=100, seed=seed) for seed in (1, 1, 2)
    )
    assert one == two != other


def test_parts_keep_all_actors_busy(tmp_path: Path) -> None:
    found = {"costs": dict.fromkeys((*STAGES, "write"), 2e-5), "rest": 2e-5}
    (tmp_path / "driver.json").write_text(json.dumps(found))
    command = [sys.executable, BENCH / "scale.py", "--costs", tmp_path / "driver.json"]
    done = subprocess.run(
        [*command, "--actors", "64", "--rates", "1000"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    # Four stages and the rest of the loop: 100 µs a row.
    assert "100.0 µs per row while actors answer, so 10,000 rows/s at most" in done.stdout
    cells = [cell.strip() for cell in done.stdout.splitlines()[-2].split("|")[1:-1]]
    assert cells[:3] == ["64", "1,000", "64,000"]
    assert cells[4] == "100%"
    assert cells[8] == "5.6 h"  # 2e-5 s for each of 1e9 rows
    assert float(cells[9].replace(",", "")) > 0.9 * 64_000
