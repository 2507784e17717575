"""A cluster of actors gives the same result as one process, also if actors die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray_job
import victim

from ecomfs.batch import score_table
from ecomfs.batch.journal import Journal

pytestmark = pytest.mark.ray
TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="module")
def _ray() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ecomfs[ray]'")


@dataclass(frozen=True)
class Plain:
    """What one process makes of a table."""

    source: Path
    output: bytes
    failed: bytes
    asked: int


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    folder = tmp_path_factory.mktemp("plain")
    victim.make_table(folder / "in.csv")
    score_table(
        folder / "in.csv",
        folder / "out.csv",
        ray_job.build(folder),
        chunk_rows=16,
        probabilities=True,
    )
    output, failed = (folder / name for name in ("out.csv", "out.failed.csv"))
    return Plain(
        folder / "in.csv", output.read_bytes(), failed.read_bytes(), victim.asked(folder / "asked")
    )


def start(plain: Plain, folder: Path, how: str = "{}") -> subprocess.Popen[str]:
    """A driver, in a process of its own; its actors leave their traces in ``folder``."""
    path = os.pathsep.join([str(TESTS / "support"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "ray_job", plain.source, folder / "out.csv", folder, how],
        env={**os.environ, "PYTHONPATH": path, "RAY_ADDRESS": "", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def same(plain: Plain, folder: Path) -> None:
    assert (folder / "out.csv").read_bytes() == plain.output
    assert (folder / "out.failed.csv").read_bytes() == plain.failed
    assert not list(folder.glob("*.journal*"))


def actors(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("actor-")) for path in folder.glob("actor-*")]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_two_actors_give_the_same_bytes(plain: Plain, tmp_path: Path) -> None:
    # Slow enough that the second actor is there before the first has done everything.
    finish(start(plain, tmp_path, "{'seconds': 0.5}"))
    same(plain, tmp_path)
    assert len(actors(tmp_path)) == 2
    assert victim.asked(tmp_path / "asked") == plain.asked  # identical rows on both: once
    assert not any(map(alive, actors(tmp_path)))


def test_an_actor_that_dies_is_replaced(plain: Plain, tmp_path: Path) -> None:
    said = finish(start(plain, tmp_path, "{'seconds': 0.1, 'dies_after': 60}"))
    same(plain, tmp_path)
    assert "an actor died and is replaced" in said
    assert (tmp_path / "died").exists()
    # What the dead one had is asked again: two partitions at most.
    assert plain.asked <= victim.asked(tmp_path / "asked") <= plain.asked + 2 * (24 + 8)


def test_a_killed_driver_resumes_from_the_journal(plain: Plain, tmp_path: Path) -> None:
    first = start(plain, tmp_path, "{'seconds': 0.3}")
    try:
        wait_until(lambda: victim.asked(tmp_path / "asked") > plain.asked // 2)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    wait_until(lambda: not any(map(alive, actors(tmp_path))))  # no actor outlives its driver
    with Journal(tmp_path / "out.csv.journal") as journal:
        known = sum("is empty" not in e.text for e in journal.between(0, victim.ROWS))
    assert 0 < known < plain.asked
    (tmp_path / "asked").unlink()
    said = finish(start(plain, tmp_path))
    same(plain, tmp_path)
    assert victim.asked(tmp_path / "asked") == plain.asked - known
    assert "resumed=0" not in said


def test_a_journal_of_one_process_is_gone_on_with_and_another_input_refused(
    plain: Plain, tmp_path: Path
) -> None:
    pipeline = ray_job.build(tmp_path)
    output = tmp_path / "out.csv"
    score_table(
        plain.source, output, pipeline, chunk_rows=16, probabilities=True, keep_journal=True
    )
    (tmp_path / "asked").unlink()
    output.unlink()
    source = tmp_path / "in.csv"
    source.write_bytes(plain.source.read_bytes() + b"400,another row,shop\n")
    changed = Plain(source, b"", b"", 0)
    process = start(changed, tmp_path)
    said, _ = process.communicate(timeout=240)
    assert process.returncode
    assert "the input changed" in said
    assert not output.exists()
    finish(start(plain, tmp_path))
    same(plain, tmp_path)
    assert not (tmp_path / "asked").exists()


def test_a_model_that_kills_its_actor_ends_the_run(plain: Plain, tmp_path: Path) -> None:
    process = start(plain, tmp_path, "never")
    said, _ = process.communicate(timeout=240)
    assert process.returncode
    assert "3 actors in a row died before they were ready" in said
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.model
def test_the_command_gives_the_same_bytes_with_a_real_model(tmp_path: Path) -> None:
    source, pool = tmp_path / "in.csv", tmp_path / "pool.csv"
    texts = ["it broke at once", "works very well", "很好，很喜欢", "坏了", "", "never again"]
    source.write_text("id,text\n" + "".join(f"{i},{t}\n" for i, t in enumerate(texts)))
    pool.write_text("text,label\ngood value,positive\nit leaks,negative\n")
    common = [
        str(Path(sys.executable).with_name("ecomfs")),
        "score",
        str(source),
        "-t",
        "review_sentiment",
        "-e",
        str(pool),
        "--engine",
        "gguf:demo?threads=1",
        "--embedder",
        "hashed",
        "--calibration-size",
        "0",
        "--k",
        "2",
        "-q",
    ]
    env = {**os.environ, "ECOMFS_READING_CACHE": "off", "RAY_ADDRESS": ""}
    ray = ["--runner", "ray", "--actors", "2", "--partition-rows", "2"]
    for name, more in (("plain.csv", []), ("ray.csv", ray)):
        done = subprocess.run(
            [*common, "-o", str(tmp_path / name), *more],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert "5 read by the model" in done.stderr
