"""The stages of a run, between a source of rows and an in-memory store of answers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from scripted import ScriptedEngine, ScriptedTokenizer, classifier

from ecomfs.batch.feed import PendingRow, RowBlock
from ecomfs.batch.journal import Entry, row_key, unpack
from ecomfs.batch.runner import Runner, Stop, Tally
from ecomfs.core import event_loop
from ecomfs.errors import EngineUnavailableError, InputError, OutputError


class Rows:
    """Gives out texts in blocks; every third block counts one more row, a copy."""

    def __init__(self, texts: list[str], fails_at: int | None = None) -> None:
        rows = [{"text": text} for text in texts]
        self.rows = [PendingRow(i, row_key(row), row) for i, row in enumerate(rows)]
        self.given = 0
        self.number = 0
        self.fails_at = fails_at
        self.forgotten: set[bytes] = set()

    def next(self, size: int) -> RowBlock | None:
        if self.fails_at is not None and self.given >= self.fails_at:
            raise InputError("the input is gone")
        if self.given == len(self.rows):
            return None
        taken = self.rows[self.given : self.given + size]
        self.given += len(taken)
        copied = int(self.number % 3 == 2)
        block = RowBlock(
            self.number,
            self.given,
            taken,
            len(taken) + copied,
            copied,
            self.given / len(self.rows),
            [0, self.given, self.number],
        )
        self.number += 1
        return block

    def forget(self, keys: Iterable[bytes]) -> None:
        self.forgotten.update(keys)


class Store:
    """Keeps answers; may break, as a full disk does."""

    def __init__(self, breaks: bool = False) -> None:
        self.through = 0
        self.entries: dict[int, Entry] = {}
        self.states: list[Any] = []
        self.breaks = breaks

    def commit(self, entries: Iterable[Entry], through: int, **values: Any) -> None:
        if self.breaks:
            raise OutputError("the disk is full")
        assert through >= self.through
        for entry in entries:
            assert entry.position not in self.entries
            self.entries[entry.position] = entry
        assert set(range(through)) <= set(self.entries)  # nothing before it is missing
        self.through = through
        self.states.append(values.get("chosen"))


def run(
    rows: Rows, store: Store, engine: ScriptedEngine, stop: Stop | None = None, **options: Any
) -> Tally:
    tally = Tally()
    pipeline = classifier(engine, k=0).pipeline_
    runner = Runner(pipeline, rows, store, tally, stop or Stop(), block_rows=16, **options)
    asyncio.run(runner.run())
    return tally


@pytest.mark.parametrize("size", [0, 1, 15, 200])
def test_every_row_is_answered_once_and_counted(size: int) -> None:
    rows, store = Rows([f"row {i}" for i in range(size)]), Store()
    shown: list[int] = []
    tally = run(rows, store, ScriptedEngine(), on_progress=lambda t: shown.append(t.rows))
    assert sorted(store.entries) == list(range(size))
    assert rows.forgotten == {row.key for row in rows.rows}
    assert all(store.entries[row.position].key == row.key for row in rows.rows)
    assert tally.rows == size + tally.copied == tally.total
    assert tally.copied == rows.number // 3
    assert tally.read == tally.status["ok"] == size
    assert shown == sorted(shown)
    if size:
        assert (store.through, tally.progress) == (size, 1.0)
        assert store.states[-1] == [0, size, rows.number - 1]
        assert tally.left_out == rows.number - 1


def test_a_row_that_fails_is_stored_as_failed_and_no_other() -> None:
    rows, store = Rows([f"row {i}" for i in range(40)] + ["poison"]), Store()
    tally = run(rows, store, ScriptedEngine(fails_on="poison"))
    assert (tally.status["ok"], tally.status["failed"]) == (40, 1)
    names = classifier(ScriptedEngine(), k=0).pipeline_.space.names
    last = store.entries[40]
    assert str(unpack(last.text, last.numbers, names, "x").status) == "failed"


def test_answers_before_the_end_of_the_input_by_an_error_are_stored() -> None:
    rows, store = Rows([f"row {i}" for i in range(200)], fails_at=100), Store()
    with pytest.raises(InputError, match="gone"):
        run(rows, store, ScriptedEngine())
    assert rows.forgotten == {entry.key for entry in store.entries.values()}


def test_a_store_that_breaks_ends_the_run_with_its_error() -> None:
    rows = Rows([f"row {i}" for i in range(200)])
    with pytest.raises(OutputError, match="full"):
        run(rows, Store(breaks=True), ScriptedEngine())
    assert rows.forgotten == set()


def test_an_engine_that_is_gone_ends_the_run_and_stores_no_failed_rows() -> None:
    store = Store()
    with pytest.raises(EngineUnavailableError):
        run(Rows([f"row {i}" for i in range(200)]), store, ScriptedEngine(gone=True))
    assert store.entries == {}


def test_a_requested_stop_keeps_what_is_in_flight_and_leaves_the_rest() -> None:
    rows, store, stop = Rows([f"row {i}" for i in range(2_000)]), Store(), Stop()

    def on_progress(tally: Tally) -> None:
        if tally.rows > 40:
            stop.request()

    tally = run(rows, store, ScriptedEngine(), stop, on_progress=on_progress)
    assert 30 < len(store.entries) < 2_000
    assert tally.total is None
    assert tally.status["ok"] == len(store.entries)


def test_a_second_interrupt_is_not_held_back() -> None:
    seen: list[int] = []
    with Stop(seen.append) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert (stop.signal, seen) == (signal.SIGINT, [signal.SIGINT])
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert seen == [signal.SIGINT]


def test_an_engine_that_breaks_while_its_tokenizer_waits_for_the_loop_ends_the_run() -> None:
    """A tokenizer that a server runs is asked over the event loop, from the thread of prompts."""
    broken = threading.Event()

    class Tokenizer(ScriptedTokenizer):
        def encode(self, text: str, *, bos: bool = False) -> list[int]:
            if broken.is_set():
                event_loop.run(asyncio.sleep(0.05))
            return super().encode(text, bos=bos)

    class Engine(ScriptedEngine):
        async def read(self, prompts: Any, questions: Any) -> Any:
            broken.set()
            await asyncio.sleep(0.02)  # the next prompts are being made
            raise EngineUnavailableError("gone")

    engine = Engine()
    engine.tokenizer = Tokenizer()
    pipeline = classifier(engine).pipeline_
    rows = Rows([f"text {i}" for i in range(64)])
    with pytest.raises(EngineUnavailableError, match="gone"):
        event_loop.run(Runner(pipeline, rows, Store(), Tally(), Stop(), block_rows=8).run())
