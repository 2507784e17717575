"""The work of an actor without Ray: partitions in, complete partitions of answers out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from scripted import ScriptedEngine, classifier

from ecomfs.batch import pipeline_identity
from ecomfs.batch.feed import PendingRow
from ecomfs.batch.journal import row_key, unpack
from ecomfs.batch.ray.actor import PartitionQueue, Scorer
from ecomfs.batch.ray.cluster import cluster
from ecomfs.batch.ray.runner import RayScorer
from ecomfs.errors import ConfigError, EngineUnavailableError
from ecomfs.pipeline import Pipeline


def build(engine: ScriptedEngine) -> Pipeline:
    made: Pipeline = classifier(engine).pipeline_
    return made


def partition(first: int, texts: list[str]) -> list[PendingRow]:
    rows = [{"text": text} for text in texts]
    return [PendingRow(first + i, row_key(row), row) for i, row in enumerate(rows)]


@contextmanager
def started(engine: ScriptedEngine) -> Iterator[Scorer]:
    scorer = Scorer(partial(build, engine), str(Path.cwd()))
    scorer.start()
    with closing(scorer):
        yield scorer


def test_an_actor_reports_its_pipeline() -> None:
    engine = ScriptedEngine()
    facts = Scorer(partial(build, engine), "/no/such/folder").start()
    assert facts.identity == pipeline_identity(build(ScriptedEngine()))
    assert (facts.spec, facts.version, facts.k) == (engine.spec, version("ecomfs"), 4)


def test_answers_whole_partitions_of_any_size_with_each_row_in_its_place() -> None:
    engine = ScriptedEngine(fails_on="Review: poison")
    names = build(engine).space.names
    with started(engine) as scorer:
        for first, size in ((0, 1), (100, 37), (7, 8)):
            texts = [f"row {first + i}" for i in range(size - 1)] + ["poison"]
            entries, tally = scorer.answer(partition(first, texts), 5, False)
            assert sorted(e.position for e in entries) == list(range(first, first + size))
            for entry in entries:
                text = texts[entry.position - first]
                got = unpack(entry.text, entry.numbers, names, "x")
                assert entry.key == row_key({"text": text})
                assert str(got.status) == ("failed" if text == "poison" else "ok")
    assert tally.rows == 1 + 37 + 8  # its own count, over all partitions
    assert tally.status["failed"] == 3


def test_an_engine_that_is_gone_ends_what_waits_and_what_comes() -> None:
    with started(ScriptedEngine(gone=True)) as scorer:
        for first in (0, 50):
            with pytest.raises(EngineUnavailableError, match="does not answer"):
                scorer.answer(partition(first, [f"row {i}" for i in range(20)]), 8, False)


def test_a_closed_queue_drops_waiting_work_and_leaves_no_runner() -> None:
    queue = PartitionQueue.of(build(ScriptedEngine()), 8, False)
    queue.close()
    with pytest.raises(RuntimeError, match="ended"):
        queue.put(partition(0, ["a row"])).result()
    with started(ScriptedEngine()) as scorer:
        scorer.answer(partition(0, ["a row"]), 8, False)
    assert not [thread for thread in threading.enumerate() if "ecomfs-rows" in thread.name]


@pytest.mark.parametrize("address", ["nonsense", "host:99999", "ray://host:10001", "a b:1", ":1"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="--ray-address") as caught, cluster(address):
        pass
    assert "HOST:PORT" in caught.value.hint


def test_no_cluster_at_the_address() -> None:
    with (
        pytest.raises(EngineUnavailableError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"),
        cluster("127.0.0.1:1"),
    ):
        pass


@pytest.mark.parametrize("option", ["actors", "partition_rows"])
def test_numbers_below_one(option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} 0"):
        RayScorer(partial(build, ScriptedEngine()), **{option: 0})  # type: ignore[arg-type]
