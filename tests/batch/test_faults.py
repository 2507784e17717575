"""A server that fails in every way for 30 % of the requests: every row ends with a status."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fault_server as faults
import pytest
from scripted import classifier

from ecomfs.batch import ScoreResult, score_table
from ecomfs.core import event_loop
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import EngineError

pytestmark = pytest.mark.faults
ROWS = 150
TIMEOUT = 0.3


async def too_late(*_: Any) -> None:
    """Answer after the client has timed out."""
    await asyncio.sleep(3 * TIMEOUT)


KINDS = [
    faults.says(429, "slow down", Retry_After="0"),
    faults.says(500, "internal error"),
    faults.says(503, "overloaded"),
    too_late,
    faults.resets,
    faults.cut_short,
    faults.spoils(lambda answer: answer["choices"].pop()),
    faults.spoils(lambda answer: answer["choices"].append(dict(answer["choices"][0]))),
]


@pytest.fixture
def server() -> Iterator[faults.FaultServer]:
    made = faults.FaultServer()
    made.models[0]["max_model_len"] = 8192
    event_loop.run(made.start())
    yield made
    event_loop.run(made.stop())


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def passes(_: VllmEngine) -> None:
    """Skip the start-up check, because the server of this test has no model."""


def table(path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "shop"])
        writer.writerows([i, f"row {i}, it fits", f"shop, {i % 7}"] for i in range(ROWS))
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def pipeline(server: faults.FaultServer) -> Iterator[Callable[[int], Any]]:
    """Pipelines that ask the server, a request so many times at most."""
    opened: list[VllmEngine] = []

    def make(attempts: int) -> Any:
        engine = VllmEngine(
            server.url,
            timeout=TIMEOUT,
            attempts=attempts,
            backoff=0.0,
            prompts_per_request=4,
            recheck=passes,
            probe_after=0.0,
            sleep=no_pause,
        )
        opened.append(engine)
        return classifier(engine, k=0).pipeline_

    yield make
    for engine in opened:
        event_loop.run(engine.aclose())


def until_done(source: Path, output: Path, pipeline: Any) -> ScoreResult:
    """As a person would: when the server seems gone, the same command again."""
    for _ in range(50):
        try:
            return score_table(source, output, pipeline, chunk_rows=32)
        except EngineError:
            assert not output.exists()
    raise AssertionError("the run never ends")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("attempts", [2, 6])
def test_every_row_ends_ok_or_among_the_failed_ones(
    server: faults.FaultServer,
    pipeline: Callable[[int], Any],
    tmp_path: Path,
    seed: int,
    attempts: int,
) -> None:
    source, output = table(tmp_path / "in.csv"), tmp_path / "out.csv"
    made = pipeline(attempts)
    score_table(source, tmp_path / "whole.csv", made)
    whole = {r["id"]: r for r in read(tmp_path / "whole.csv")}
    server.mix = faults.mixture(seed, 0.3, KINDS)
    result = until_done(source, output, made)
    rows = read(output)
    assert [r["id"] for r in rows] == [str(i) for i in range(ROWS)]
    failed = {r["id"] for r in rows if r["status"] == "failed"}
    for row in rows:
        if row["id"] in failed:
            assert row["error"]
            assert (row["predicted"], row["confidence"]) == ("", "")
        else:
            assert row == whole[row["id"]]
    assert (result.failed is not None) == bool(failed)
    if attempts == 2:
        assert failed
    # Failed rows go back in, and come out with what an undisturbed run says.
    server.mix = lambda: None
    again = tmp_path / "again.csv"
    if result.failed is not None:
        assert result.failed == tmp_path / "out.failed.csv"
        dead = read(result.failed)
        assert {r["id"] for r in dead} == failed
        assert all(r["failed_reason"] and r["failed_status"] == "failed" for r in dead)
        score_table(result.failed, again, made)
        for row in read(again):
            assert row["predicted"] == whole[row["id"]]["predicted"]
            assert (row["shop"], row["status"]) == (whole[row["id"]]["shop"], "ok")
        assert not (tmp_path / "again.failed.csv").exists()


def test_without_failures_an_old_table_of_failed_rows_goes(
    pipeline: Callable[[int], Any], tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,text\n1,\n2,good\n")
    made = pipeline(2)
    result = score_table(source, tmp_path / "out.csv", made)
    assert result.failed is not None
    assert read(result.failed) == [
        {"id": "1", "text": "", "failed_status": "failed", "failed_reason": "field 'text' is empty"}
    ]
    source.write_text("id,text\n1,mended\n2,good\n")
    assert score_table(source, tmp_path / "out.csv", made).failed is None
    assert not result.failed.exists()
