"""Uploaded tables, scored in the background.

A run is a row of the database, and a folder with the upload, the journal and the result. One thread
per process scores one run at a time. If a process ends, another process, or the next one, resumes
the run from its journal.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field

from ecomfs.batch import Tally, find_columns, score_table
from ecomfs.batch.output import COLUMNS
from ecomfs.errors import (
    ConflictError,
    DatabaseError,
    EcomfsError,
    InputError,
    JournalError,
    JournalInUseError,
    NotFoundError,
    StoppedError,
)
from ecomfs.io import TableReader, added_columns
from ecomfs.pipeline import Pipeline
from ecomfs.pool import Database
from ecomfs.serve.problems import error_location, loggable
from ecomfs.serve.schemas import Out
from ecomfs.serve.tables import migrate, runs
from ecomfs.task import TaskCard
from ecomfs.traffic import now
from ecomfs.types import Prediction, Row, Status

RunState = Literal["waiting", "running", "cancelling", "done", "failed", "cancelled"]
FINAL: tuple[RunState, ...] = ("done", "failed", "cancelled")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx", ".csv.gz", ".tsv.gz")
"""Suffixes of tables that can be uploaded."""
_LEASE_SECONDS = 60.0
"""Seconds without a change after which a run is taken over: its process was killed."""
_TOUCH_SECONDS = 5.0
_HELD = ("running", "cancelling")
_log = logging.getLogger(__name__)


class RunOut(Out):
    """One uploaded table."""

    id: str
    task: str
    name: str
    state: RunState
    counts: dict[str, int] = Field(description="status → number of rows so far")
    progress: float | None = Field(description="finished share of the table, 0 to 1")
    error: str
    added_by: str
    added_at: str
    changed_at: str


class Runs:
    """The runs in one database and one folder; ``task`` of a run is the key of its task.

    Attributes:
        added: event that is set when a run is added.

    >>> import tempfile
    >>> from ecomfs.pool import Pool
    >>> with Pool.in_memory() as pool, tempfile.TemporaryDirectory() as folder:
    ...     runs_ = Runs(pool.database, folder)
    ...     runs_.folder_of("r1") == Path(folder) / "r1"
    True
    """

    def __init__(self, database: Database, folder: str | Path) -> None:
        self._database = database
        self._folder = Path(folder)
        self._seen: dict[str, tuple[str, float]] = {}
        self.added = threading.Event()
        migrate(database)

    def folder_of(self, id: str) -> Path:
        """The folder of the files of a run."""
        return self._folder / id

    def upload_of(self, run: RunOut) -> Path:
        """The path of the uploaded table."""
        return self.folder_of(run.id) / f"upload{suffix_of(run.name)}"

    def result_of(self, run: RunOut) -> Path:
        """The path of the table with predictions."""
        return self.folder_of(run.id) / "scored.csv"

    def add(self, id: str, task: str, name: str, by: str) -> RunOut:
        """Queue a table whose upload is complete."""
        at = now()
        values = {"id": id, "task": task, "name": name, "state": "waiting", "counts": "{}"}
        values |= {"error": "", "added_by": by, "added_at": at, "changed_at": at}
        with self._database.writing() as connection:
            connection.execute(sa.insert(runs), {**values, "progress": None})
        self.added.set()
        return self.get(id)

    def get(self, id: str) -> RunOut:
        """One run.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.reading() as connection:
            found = connection.execute(sa.select(runs).where(runs.c.id == id)).one_or_none()
        if found is None:
            raise NotFoundError(f"there is no run {id!r}", hint="see GET /v1/runs")
        return _run(found)

    def latest(self, task: str, n: int) -> list[RunOut]:
        """The runs of a task, the newest first."""
        order = (runs.c.added_at.desc(), runs.c.id)
        query = sa.select(runs).where(runs.c.task == task).order_by(*order).limit(n)
        with self._database.reading() as connection:
            return [_run(row) for row in connection.execute(query)]

    def cancel(self, id: str) -> RunOut:
        """Cancel a run; its upload is kept.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it has ended.
        """
        with self._database.writing() as connection:
            query = sa.select(runs).where(runs.c.id == id).with_for_update()
            found = connection.execute(query).one_or_none()
            state = None if found is None else found.state
            if state in FINAL:
                raise ConflictError(
                    f"run {id} is {state}", hint="only waiting and running runs can be cancelled"
                )
            to = "cancelled" if state == "waiting" else "cancelling"
            self._update(connection, id, state=to)
        return self.get(id)

    def claim(self, task: str) -> RunOut | None:
        """Take the next waiting run, or a run of a killed process, for this process."""
        with self._database.writing() as connection:
            open_ = (runs.c.state == "waiting") | self._left(connection)
            found = connection.execute(
                sa.select(runs)
                .where(runs.c.task == task, open_)
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
        """A condition for runs whose process was killed: they did not change since this process
        first saw them, for a fixed time.

        Times of different processes are not compared, because clocks jump and differ.
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
        """Store the progress of a run."""
        with self._database.writing() as connection:
            self._update(connection, id, **values)

    def _update(self, connection: sa.Connection, id: str, **values: Any) -> None:
        changed = sa.update(runs).where(runs.c.id == id).values(changed_at=now(), **values)
        connection.execute(changed)


class RunWorker:
    """The thread that scores the uploaded tables of a task, one at a time.

    Args:
        task: key of the task.
        refresh: returns the pipeline for the current pool.
    """

    def __init__(self, store: Runs, task: str, refresh: Callable[[], Pipeline]) -> None:
        self._store = store
        self._task = task
        self._refresh = refresh
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="ecomfs-runs", daemon=True)
        self._thread.start()

    def request_stop(self) -> None:
        """Start no more runs, and end after the current block."""
        self._stopping.set()
        self._store.added.set()

    def stop(self, seconds: float = 8.0) -> None:
        """End after the current block, or abandon it after some seconds; the run is resumed at the
        next start."""
        self.request_stop()
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._store.added.clear()
            run = None
            try:
                run = self._store.claim(self._task)
            except Exception as error:  # the database may be available again later
                _log.error("runs cannot be read: %s", loggable(error))
            if run is None:
                self._store.added.wait(_TOUCH_SECONDS)
                continue
            try:
                self._run(run)
            except Exception as error:
                _log.error("run %s could not be recorded: %s", run.id, loggable(error))

    def _run(self, run: RunOut) -> None:
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
            cancelling = False
            try:
                store.change(run.id, **latest)
                cancelling = store.get(run.id).state == "cancelling"
            except DatabaseError as error:  # it may be available again at the next block
                _log.error("run %s: %s", run.id, loggable(error))
            if self._stopping.is_set() or cancelling:
                raise StoppedError("cancelled, or the service is stopping")

        toucher = threading.Thread(target=touch, name="ecomfs-run-touch", daemon=True)
        toucher.start()
        final: dict[str, Any] | None
        try:
            tally = self._score(run, on_progress)
            final = {"state": "done", "counts": json.dumps(tally.status), "progress": 1.0}
        except StoppedError:
            going_on = self._stopping.is_set() and store.get(run.id).state != "cancelling"
            final = {"state": "waiting" if going_on else "cancelled"}
        except JournalInUseError:  # the other process is still alive and keeps the run
            final = None
        except EcomfsError as error:
            file = store.upload_of(run)
            message = str(error).replace(str(file), run.name).replace(file.name, run.name)
            message = message.replace(f"{store.folder_of(run.id)}/", "")
            final = {"state": "failed", "error": message}
        except Exception as error:
            _log.error("run %s failed: %s", run.id, error_location(error))
            message = "the run failed inside the service; see its log"
            final = {"state": "failed", "error": message}
        finally:
            ended.set()
            toucher.join()
        if final is None:
            _log.warning("run %s is still being scored by another process", run.id)
            return
        for wait in (0.0, 1.0, 5.0, 25.0):  # retry, so that a short outage does not lose a result
            time.sleep(wait)
            try:
                store.change(run.id, **final)
                return
            except EcomfsError as error:
                _log.error("run %s: %s", run.id, loggable(error))

    def _score(self, run: RunOut, on_progress: Callable[[Tally], None]) -> Tally:
        source, output = self._store.upload_of(run), self._store.result_of(run)
        options: dict[str, Any] = {"probabilities": True, "progress": False}
        options |= {"on_progress": on_progress}
        pipeline = self._refresh()
        try:
            return score_table(source, output, pipeline, **options).tally
        except JournalInUseError:
            raise
        except JournalError:  # the pool has changed: predictions of two versions must not be mixed
            return score_table(source, output, pipeline, **options, restart=True).tally


def unsure_rows(
    upload: Path,
    scored: Path,
    card: TaskCard,
    labels: Collection[str],
    *,
    below: float,
    most: int,
) -> list[tuple[Row, Prediction]]:
    """The rows of a scored table that need review: those that abstained, or whose confidence is
    below a limit, the least confident first. Failed rows are left out.

    Args:
        upload: the uploaded table, with the original cells.
        scored: the result, with probabilities.
        labels: labels of the task now; the result may have others.
        most: most rows.
    """
    reader, answers = TableReader(str(upload)), TableReader(str(scored))
    columns = find_columns(str(upload), card, reader=reader)
    added = answers.header[len(reader.header) :]
    named = dict(zip(COLUMNS, added, strict=False))
    shares = _shares(reader.header, added[len(COLUMNS) :], labels)
    found: list[tuple[float, Row, Prediction]] = []
    for row, answer in zip(reader.rows(), answers.rows(), strict=True):
        confidence, status = (answer.cells.get(named[n], "") for n in ("confidence", "status"))
        if row.error or not confidence or status not in (Status.OK, Status.ABSTAINED):
            continue
        if status == Status.ABSTAINED or float(confidence) < below:
            cells = answer.cells
            p = {name: float(cells[column]) for name, column in shares.items() if cells[column]}
            id_ = row.cells[columns.id] if columns.id else ""
            label = cells[named["predicted"]] or None
            prediction = Prediction(id_, label, p, Status(status))
            fields = columns.fields.fields(row.cells, card)
            found.append((float(confidence), fields, prediction))
    found.sort(key=lambda each: each[0])
    return [(row, prediction) for _, row, prediction in found[:most]]


def _shares(header: Sequence[str], added: Sequence[str], labels: Collection[str]) -> dict[str, str]:
    """Label → column of its probability. The column is called ``p_LABEL``, or with a number at the
    end if the upload has a column of this name.

    >>> _shares(["text", "p_good"], ["p_good_2", "p_bad", "p_x_2"], ["good", "bad"])
    {'good': 'p_good_2', 'bad': 'p_bad', 'x_2': 'p_x_2'}
    """
    expected = added_columns(header, [f"p_{label}" for label in labels])
    known = dict(zip(expected, labels, strict=True))
    return {known.get(column, column.removeprefix("p_")): column for column in added}


def suffix_of(name: str) -> str:
    """The suffix of an uploaded file.

    Raises:
        InputError: it is not a suffix of a table.

    >>> suffix_of("reviews.CSV"), suffix_of("../../etc/x.csv.gz")
    ('.csv', '.csv.gz')
    """
    found = [s for s in SUFFIXES if name.casefold().endswith(s)]
    if not found:
        raise InputError(
            f"{name!r} is not a table", hint=f"use a name that ends with {', '.join(SUFFIXES)}"
        )
    return max(found, key=len)


def drop(folder: Path) -> None:
    """Delete the files of an incomplete upload."""
    shutil.rmtree(folder, ignore_errors=True)


def _run(row: Any) -> RunOut:
    return RunOut(**{**row._mapping, "counts": json.loads(row.counts)})
