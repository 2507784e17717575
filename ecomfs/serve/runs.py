"""Tables that are uploaded, scored in the background, and downloaded.

A run is a row of the database and a folder with the upload, the journal and the result. One
thread in each process scores one run at a time. A process that ends leaves the journal: another
one, or the next, goes on from it.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import sqlalchemy as sa

from ecomfs.batch import Tally, score_table
from ecomfs.errors import (
    ConflictError,
    EcomfsError,
    InputError,
    JournalError,
    JournalInUseError,
    NotFoundError,
    StoppedError,
)
from ecomfs.pipeline import Pipeline
from ecomfs.pool import Database
from ecomfs.serve.faults import fault, loggable
from ecomfs.serve.reviews import now
from ecomfs.serve.tables import migrate, runs

RunState = Literal["waiting", "running", "cancelling", "done", "failed", "cancelled"]
FINAL: tuple[RunState, ...] = ("done", "failed", "cancelled")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx", ".csv.gz", ".tsv.gz")
"""Ends of the names of tables that can be uploaded."""
_LEASE_SECONDS = 60.0
"""A run that nobody has touched for so long is taken over: its process was killed."""
_TOUCH_SECONDS = 5.0
_HELD = ("running", "cancelling")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """One uploaded table.

    Attributes:
        name: of the file, as it was sent.
        state: ``waiting``, ``running``, ``cancelling``, ``done``, ``failed`` or ``cancelled``.
        counts: status → rows, so far.
        progress: share of the table, 0 to 1; ``None`` while unknown.
        error: why it failed.
    """

    id: str
    task: str
    name: str
    state: RunState
    counts: Mapping[str, int]
    progress: float | None
    error: str
    added_by: str
    added_at: str
    changed_at: str


class Runs:
    """The runs of a service, in one database and one folder.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool, tempfile.TemporaryDirectory() as folder:
    ...     runs_ = Runs(pool.database, folder)
    ...     new = runs_.folder_of(runs_.new_id())
    ...     new.parent == Path(folder)
    True
    """

    def __init__(self, database: Database, folder: str | Path) -> None:
        self._database = database
        self._folder = Path(folder)
        self._seen: dict[str, tuple[str, float]] = {}
        migrate(database)

    @staticmethod
    def new_id() -> str:
        """An id for a run."""
        return uuid4().hex

    def folder_of(self, id: str) -> Path:
        """Where the files of a run are."""
        return self._folder / id

    def upload_of(self, run: ServiceRun) -> Path:
        """The table that was sent."""
        return self.folder_of(run.id) / f"upload{suffix_of(run.name)}"

    def result_of(self, run: ServiceRun) -> Path:
        """The table with its predictions."""
        return self.folder_of(run.id) / "scored.csv"

    def add(self, id: str, task: str, name: str, by: str) -> ServiceRun:
        """Queue a table whose upload is complete."""
        at = now()
        values = {"id": id, "task": task, "name": name, "state": "waiting", "counts": "{}"}
        values |= {"error": "", "added_by": by, "added_at": at, "changed_at": at}
        with self._database.writing() as connection:
            connection.execute(sa.insert(runs), {**values, "progress": None})
        return self.get(id)

    def get(self, id: str) -> ServiceRun:
        """One run.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.reading() as connection:
            found = connection.execute(sa.select(runs).where(runs.c.id == id)).one_or_none()
        if found is None:
            raise NotFoundError(f"there is no run {id!r}", hint="GET /v1/runs lists them")
        return _run(found)

    def latest(self, task: str, n: int) -> list[ServiceRun]:
        """The runs of a task, the newest first."""
        order = (runs.c.added_at.desc(), runs.c.id)
        query = sa.select(runs).where(runs.c.task == task).order_by(*order).limit(n)
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def cancel(self, id: str) -> ServiceRun:
        """Stop a run; its upload stays.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it has ended.
        """
        with self._database.writing() as connection:
            query = sa.select(runs).where(runs.c.id == id).with_for_update()
            found = connection.execute(query).one_or_none()
            state = None if found is None else found.state
            if state in FINAL:
                raise ConflictError(f"run {id} is {state}", hint="there is nothing to cancel")
            to = "cancelled" if state == "waiting" else "cancelling"
            self._update(connection, id, state=to)
        return self.get(id)

    def claim(self, tasks: list[str]) -> ServiceRun | None:
        """The next run that waits, or that a killed process left; it is this process's now."""
        with self._database.writing() as connection:
            open_ = (runs.c.state == "waiting") | self._left(connection)
            found = connection.execute(
                sa.select(runs)
                .where(runs.c.task.in_(tasks), open_)
                .order_by(runs.c.added_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if found is None:
                return None
            if found.state == "cancelling":
                self._update(connection, found.id, state="cancelled")
                return None
            self._update(connection, found.id, state="running")
        return self.get(found.id)

    def _left(self, connection: sa.Connection) -> sa.ColumnElement[bool]:
        """Which runs nobody has touched since this process saw them first, so long ago.

        Times of two processes are never compared: clocks jump, and machines disagree.
        """
        held = sa.select(runs.c.id, runs.c.changed_at).where(runs.c.state.in_(_HELD))
        moment, before = time.monotonic(), self._seen
        self._seen = {}
        for id, at in connection.execute(held):
            known = before.get(id)
            self._seen[id] = known if known and known[0] == at else (at, moment)
        left = [
            sa.and_(runs.c.id == id, runs.c.changed_at == at, runs.c.state.in_(_HELD))
            for id, (at, since) in self._seen.items()
            if moment - since >= _LEASE_SECONDS
        ]
        return sa.or_(sa.false(), *left)

    def change(self, id: str, **values: Any) -> None:
        """Keep how far a run is."""
        with self._database.writing() as connection:
            self._update(connection, id, **values)

    def _update(self, connection: sa.Connection, id: str, **values: Any) -> None:
        changed = sa.update(runs).where(runs.c.id == id).values(changed_at=now(), **values)
        connection.execute(changed)


class RunWorker:
    """The thread that scores uploaded tables, one at a time.

    Args:
        pipelines: task → what makes its pipeline for the pool as it is now.
    """

    def __init__(self, store: Runs, pipelines: Mapping[str, Callable[[], Pipeline]]) -> None:
        self._store = store
        self._pipelines = pipelines
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="ecomfs-runs", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is a new run."""
        self._wake.set()

    def tell_to_stop(self) -> None:
        """Take no more runs, and end after the block that is being read."""
        self._stopping.set()
        self._wake.set()

    def stop(self, seconds: float = 8.0) -> None:
        """End after the block that is being read, or leave it after some seconds; the run goes on
        at the next start."""
        self.tell_to_stop()
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                run = self._store.claim(list(self._pipelines))
            except Exception as error:  # the database may come back
                _log.error("runs cannot be read: %s", loggable(error))
                run = None
            if run is None:
                self._wake.wait(_TOUCH_SECONDS)
                continue
            try:
                self._run(run)
            except Exception as error:
                _log.error("run %s could not be recorded: %s", run.id, loggable(error))

    def _run(self, run: ServiceRun) -> None:
        store, ended = self._store, threading.Event()
        latest: dict[str, Any] = {"counts": json.dumps(dict(run.counts)), "progress": run.progress}

        def touch() -> None:
            while not ended.wait(_TOUCH_SECONDS):
                try:
                    store.change(run.id, **latest)
                except EcomfsError as error:
                    _log.error("run %s: %s", run.id, loggable(error))

        def on_progress(tally: Tally) -> None:
            latest.update(counts=json.dumps(tally.status), progress=tally.progress)
            store.change(run.id, **latest)
            if self._stopping.is_set() or store.get(run.id).state == "cancelling":
                raise StoppedError("cancelled, or the service stops")

        toucher = threading.Thread(target=touch, name="ecomfs-run-touch", daemon=True)
        toucher.start()
        final: dict[str, Any] | None
        try:
            pipeline = self._pipelines[run.task]()
            tally = self._score(run, pipeline, on_progress)
            final = {"state": "done", "counts": json.dumps(tally.status), "progress": 1.0}
        except StoppedError:
            going_on = self._stopping.is_set() and store.get(run.id).state != "cancelling"
            final = {"state": "waiting" if going_on else "cancelled"}
        except JournalInUseError:  # its process was only silent: the run is still that one's
            final = None
        except EcomfsError as error:
            told = str(error).replace(str(store.folder_of(run.id)), run.name)
            final = {"state": "failed", "error": told}
        except Exception as error:
            _log.error("run %s failed: %s", run.id, fault(error))
            told = "the run failed inside the service; see its log"
            final = {"state": "failed", "error": told}
        finally:
            ended.set()
            toucher.join()
        if final is None:
            _log.warning("run %s is still being scored by another process", run.id)
            return
        for wait in (0.0, 1.0, 5.0, 25.0):  # an answer that is there is not lost to a short outage
            time.sleep(wait)
            try:
                store.change(run.id, **final)
                return
            except EcomfsError as error:
                _log.error("run %s: %s", run.id, loggable(error))

    def _score(
        self, run: ServiceRun, pipeline: Pipeline, on_progress: Callable[[Tally], None]
    ) -> Tally:
        source, output = self._store.upload_of(run), self._store.result_of(run)
        options: dict[str, Any] = {"probabilities": True, "on_progress": on_progress}
        try:
            return score_table(source, output, pipeline, **options, progress=False).tally
        except JournalInUseError:
            raise
        except JournalError:  # the pool changed since: its answers would mix two versions
            return score_table(
                source, output, pipeline, **options, progress=False, restart=True
            ).tally


def suffix_of(name: str) -> str:
    """What an uploaded file's name ends with.

    Raises:
        InputError: it is no table.

    >>> suffix_of("reviews.CSV"), suffix_of("../../etc/x.csv.gz")
    ('.csv', '.csv.gz')
    """
    found = [s for s in SUFFIXES if name.casefold().endswith(s)]
    if not found:
        raise InputError(f"{name!r} is no table", hint=f"names end with {', '.join(SUFFIXES)}")
    return max(found, key=len)


def drop(folder: Path) -> None:
    """Remove what an upload left that was not completed."""
    shutil.rmtree(folder, ignore_errors=True)


def _run(row: Any) -> ServiceRun:
    values = dict(row._mapping)
    return ServiceRun(**{**values, "counts": json.loads(values["counts"])})
