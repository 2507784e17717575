"""The log of live traffic: JSON Lines, one per start of the service and one per prediction.

Rows are not logged: the ids join the log with true labels that come later.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ecomfs.errors import EmptyInputError, InputError, MissingFileError, OutputError
from ecomfs.types import Language, Prediction, Status


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class LoggedStart(_Line):
    """The start of a service that splits traffic.

    Attributes:
        task: name of the task.
        labels: the label space.
        weights, seed: settings of the split.
        variants: name → the definition given by the user.
        time: UTC, ISO 8601.

    >>> LoggedStart(task="t", labels=("a", "b"), weights={"A": 1, "B": 1}, seed=0).kind
    'start'
    """

    kind: Literal["start"] = "start"
    version: Literal[1] = 1
    task: str
    labels: tuple[str, ...]
    weights: dict[str, float]
    seed: int
    variants: dict[str, str] = Field(default_factory=dict)
    time: str = ""


class LoggedPrediction(_Line):
    """One prediction.

    Attributes:
        id: id of the row, which decides the variant.
        variant: name of the variant that answered.
        language: the row's prompt language.
        label, probabilities, status, error, engine, template, pool_version, prompt_tokens,
            cached_tokens: as in :class:`~ecomfs.types.Prediction`.
        time: UTC, ISO 8601.

    >>> found = Prediction("r1", "a", {"a": 0.75, "b": 0.25})
    >>> LoggedPrediction.of("A", "en", found).probabilities
    {'a': 0.75, 'b': 0.25}
    """

    kind: Literal["prediction"] = "prediction"
    id: str
    variant: str
    language: Language
    label: str | None
    probabilities: dict[str, float]
    status: Status
    error: str = ""
    engine: str = ""
    template: str | None = None
    pool_version: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    time: str = ""

    @classmethod
    def of(cls, variant: str, language: Language, p: Prediction) -> Self:
        """The entry for a prediction, with the current time."""
        return cls(
            id=p.id,
            variant=variant,
            language=language,
            label=p.label,
            probabilities=dict(p.probabilities),
            status=p.status,
            error=p.error,
            engine=p.engine,
            template=str(p.template) if p.template else None,
            pool_version=p.pool_version,
            prompt_tokens=p.prompt_tokens,
            cached_tokens=p.cached_tokens,
            time=now(),
        )


_LINE: TypeAdapter[LoggedStart | LoggedPrediction] = TypeAdapter(LoggedStart | LoggedPrediction)


def now() -> str:
    """The current time in UTC, to the millisecond.

    >>> len(now())
    29
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class TrafficLog:
    """Appends to a log; safe for threads, and for several processes with one file.

    Args:
        path: the file; it is created if needed, in an existing folder.

    Raises:
        OutputError: the file cannot be opened.

    >>> import tempfile
    >>> log = TrafficLog(Path(tempfile.mkdtemp()) / "traffic.jsonl")
    >>> start = LoggedStart(task="t", labels=("a", "b"), weights={"A": 1, "B": 1}, seed=0)
    >>> found = Prediction("r1", "a", {"a": 0.75, "b": 0.25})
    >>> log.write([start, LoggedPrediction.of("A", "en", found)])
    >>> log.close()
    >>> [entry.id for entry in read_log(log.path).entries]
    ['r1']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._ahead = b""  # a line feed, if the last line is incomplete
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        try:
            # Only this user may read ids and answers.
            self._file = os.open(self.path, flags, 0o600)
            self._end_line()
        except OSError as error:
            why = "is a folder" if self.path.is_dir() else error.strerror
            raise OutputError(f"{self.path}: {why}", hint="name a file for the log") from error

    def write(self, lines: Iterable[LoggedStart | LoggedPrediction]) -> None:
        """Append lines; they are passed to the operating system before this returns.

        Raises:
            OutputError: the disk is full or not available.
        """
        data = "".join(line.model_dump_json() + "\n" for line in lines).encode()
        try:
            with self._lock:
                self._append(self._ahead + data)
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from error

    def _append(self, data: bytes) -> None:
        left = data
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            if len(left) < len(data):  # the next line must not continue this one
                self._ahead = b"\n"
            raise
        self._ahead = b""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _end_line(self) -> None:
        """End an incomplete line of a killed service."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")


@dataclass(frozen=True, slots=True)
class TrafficRecord:
    """The contents of a log.

    Attributes:
        starts: every start of the service, in order.
        entries: the first prediction of each id that only one variant answered.
        repeated: number of later predictions of an id by the same variant (retries of callers).
        crossed: number of ids that several variants answered, after weights or seed were changed;
            they are left out.
        unreadable: number of lines that are not a record (incomplete lines of a killed service).

    >>> start = LoggedStart(task="t", labels=("a", "b"), weights={"A": 1, "B": 1}, seed=0)
    >>> TrafficRecord((start,), (), repeated=0, crossed=0, unreadable=0).entries
    ()
    """

    starts: tuple[LoggedStart, ...]
    entries: tuple[LoggedPrediction, ...]
    repeated: int
    crossed: int
    unreadable: int


def read_log(path: str | Path) -> TrafficRecord:
    """Read a log.

    Args:
        path: a file written by :class:`TrafficLog`.

    Returns:
        Starts of the service, and the first prediction of each id.

    Raises:
        MissingFileError: the file does not exist.
        EmptyInputError: the log has no prediction.
        InputError: the file is not a traffic log.

    >>> import tempfile
    >>> log = TrafficLog(Path(tempfile.mkdtemp()) / "traffic.jsonl")
    >>> log.write([LoggedStart(task="t", labels=("a", "b"), weights={"A": 1, "B": 1}, seed=0)])
    >>> for variant in ("A", "B"):  # the weights were changed between two calls
    ...     log.write([LoggedPrediction.of(variant, "en", Prediction("r1", "a", {"a": 1.0}))])
    >>> log.write([LoggedPrediction.of("A", "en", Prediction("r2", "b", {"b": 1.0}))])
    >>> log.close()
    >>> found = read_log(log.path)
    >>> [entry.id for entry in found.entries], found.crossed
    (['r2'], 1)
    """
    path = Path(path)
    starts: list[LoggedStart] = []
    first: dict[str, LoggedPrediction] = {}
    crossed: set[str] = set()
    repeated = unreadable = lines = 0
    try:
        with path.open("rb") as file:
            for raw in file:
                if not raw.strip():
                    continue
                lines += 1
                try:
                    line = _LINE.validate_json(raw)
                except ValidationError:
                    unreadable += 1
                    continue
                if isinstance(line, LoggedStart):
                    starts.append(line)
                elif (known := first.setdefault(line.id, line)) is not line:
                    if known.variant != line.variant:
                        crossed.add(line.id)
                    else:
                        repeated += 1
    except OSError as error:
        raise MissingFileError(f"{path}: {error.strerror}") from error
    if not lines:
        raise EmptyInputError(f"{path}: empty", hint="has the service answered anything?")
    if not starts:
        raise InputError(
            f"{path}: not a traffic log", hint="give a file written by ecomfs serve --log"
        )
    if not first:
        raise EmptyInputError(f"{path}: no predictions", hint="has the service answered anything?")
    entries = tuple(e for id_, e in first.items() if id_ not in crossed)
    return TrafficRecord(tuple(starts), entries, repeated, len(crossed), unreadable)
