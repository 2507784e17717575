"""Files that fail during a run: altered caches and journals, full disks, a lost pool."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import victim
from fault_counts import Faults
from scripted import ScriptedEngine, classifier

from ecomfs.batch import score_table
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.errors import DatabaseError, EngineUnavailableError, JournalError, PoolError
from ecomfs.pool import Pool
from ecomfs.types import Example

pytestmark = pytest.mark.faults
ROWS = 120


def engine(**options: Any) -> ScriptedEngine:
    return ScriptedEngine(batch=16, fails_on="Review: poison", **options)


def score(source: Path, output: Path, asked: Any, **options: Any) -> bytes:
    pipeline = classifier(asked).pipeline_
    score_table(source, output, pipeline, chunk_rows=32, probabilities=True, **options)
    return output.read_bytes()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    victim.make_table(tmp_path / "in.csv", ROWS)
    return tmp_path / "in.csv"


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> bytes:
    return score(source, tmp_path / "whole.csv", engine())


@pytest.mark.parametrize("seed", range(3))
def test_cache_entries_that_were_altered(
    source: Path, whole: bytes, tmp_path: Path, faults: Faults, seed: int
) -> None:
    outputs = []
    for n in range(2):
        chance = random.Random(seed)
        path = tmp_path / f"readings{n}.sqlite"
        first = CachedEngine(engine(), ReadingCache(path))
        score(source, tmp_path / "first.csv", first)
        first.cache.close()
        with closing(sqlite3.connect(path)) as connection, connection:
            entries = connection.execute("SELECT key, value FROM kept ORDER BY key").fetchall()
            hit = chance.sample(entries, 20)
            for key, value in hit:
                other = bytearray(value)
                other[chance.randrange(len(other))] ^= 1 << chance.randrange(8)
                values = (bytes(other[: chance.choice([len(other), len(other) - 3])]), key)
                connection.execute("UPDATE kept SET value = ? WHERE key = ?", values)
        asked = engine()
        again = CachedEngine(asked, ReadingCache(path))
        output = tmp_path / f"again{n}.csv"
        outputs.append(score(source, output, again))
        poison = sum(b"poison" in line for line in source.read_bytes().splitlines())
        assert again.misses - len(hit) in range(poison + 1)  # errors are never kept
        again.cache.close()
        faults.cost("cache entries altered", output, whole, injected=len(hit))
    assert outputs == [whole, whole]


def test_a_cache_file_that_is_garbage(
    source: Path, whole: bytes, tmp_path: Path, faults: Faults
) -> None:
    path = tmp_path / "readings.sqlite"
    path.write_bytes(random.Random(1).randbytes(50_000))
    cached = CachedEngine(engine(), ReadingCache(path))
    assert score(source, tmp_path / "out.csv", cached) == whole
    faults.cost("cache file is garbage", tmp_path / "out.csv", whole)


class Leaving(ScriptedEngine):
    """An engine that becomes unavailable after a number of prompts."""

    async def read(self, prompts: Any, questions: Any) -> Any:
        self.gone = sum(self.calls) + len(prompts) > 60
        return await super().read(prompts, questions)


@pytest.mark.parametrize("seed", range(8))
def test_journal_pages_that_were_altered(
    source: Path, whole: bytes, tmp_path: Path, faults: Faults, seed: int
) -> None:
    outputs = []
    for n in range(2):
        chance = random.Random(seed)
        output = tmp_path / f"out{n}.csv"
        with pytest.raises(EngineUnavailableError):
            score(source, output, Leaving(batch=16, fails_on="Review: poison"))
        path = output.with_name(f"{output.name}.journal")
        page = bytearray(path.read_bytes())
        start = chance.randrange(len(page))
        flips = chance.choice([1, 40, 4096])
        for at in range(start, min(start + flips, len(page))):
            page[at] ^= 1 << chance.randrange(8)
        path.write_bytes(page)
        try:
            score(source, output, engine())
        except JournalError as error:
            if "--restart" not in error.hint or output.exists():
                raise
            score(source, output, engine(), restart=True)
        outputs.append(output.read_bytes())
        faults.cost("journal pages altered", output, whole)
    assert outputs == [whole, whole]


@pytest.mark.parametrize("pages", [9])
def test_no_room_on_the_disk(
    source: Path, whole: bytes, tmp_path: Path, faults: Faults, pages: int
) -> None:
    outputs = []
    for n in range(2):
        output, said = tmp_path / f"out{n}.csv", tmp_path / f"said{n}"
        process = victim.start(
            victim.score_within,
            source,
            output,
            tmp_path / "log",
            "RLIMIT_FSIZE",
            4096 * pages,
            said,
        )
        process.join(120)
        assert process.exitcode == 0
        if not output.exists():
            assert "\n" not in said.read_text(encoding="utf-8").strip()
        outputs.append(score(source, output, engine()))
        faults.cost("disk is full", output, whole)
        assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(f".out{n}")]
    assert outputs == [whole, whole]


def test_a_pool_that_is_locked_or_lost(
    tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecomfs.pool.database.BUSY_SECONDS", 0.05)
    path = tmp_path / "pool.db"
    examples = [Example(str(n), {"text": f"text {n}"}, "a") for n in range(30)]
    with closing(Pool.open(path)) as pool:
        pool.add(examples[:20])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseError):
                pool.add(examples[20:])
            other.execute("ROLLBACK")
        assert len(pool.examples()) == 20
        pool.add(examples[20:])
        assert [e.id for e in pool.examples()] == [e.id for e in examples]
    faults.held("database locked")
    path.rename(tmp_path / "away.db")
    with pytest.raises(PoolError):
        Pool.open(path, create=False)
    (tmp_path / "away.db").rename(path)
    with closing(Pool.open(path, create=False)) as pool:
        assert [e.id for e in pool.examples()] == [e.id for e in examples]
    faults.held("database gone")
