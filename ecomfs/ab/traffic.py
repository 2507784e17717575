"""Live traffic split between variants: which variant answers a row, the log, and its comparison.

The log has JSON lines, one per start of the service and one per prediction. Rows themselves are
not logged: ids join the log with the true labels that come later. Each row went to one variant
only, so the comparison is unpaired. It is fair because the variant was drawn by a hash of the id,
not by anything about the row.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecomfs.ab.outcome import Outcome, outcome
from ecomfs.ab.rows import GoldLabels
from ecomfs.ab.run import Design
from ecomfs.errors import (
    ConfigError,
    EmptyInputError,
    InputError,
    MissingFileError,
    OutputError,
)
from ecomfs.evaluation.harness import harness_errors, to_harness
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Language, Prediction, Status
from ecomfs_eval import Predictions
from ecomfs_eval.compare import compare_arms

UNLIKELY = 0.001
"""P-value under which the sizes of the variants' groups are not what the weights say."""
_RANGE = float(1 << 64)


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """Assigns rows to variants by a hash of their id: the same id always goes the same way, in
    every process and after every restart, and the way cannot be predicted without the seed.

    Parameters
    ----------
    weights : mapping
        Variant → its share of the traffic, relative to the others'.
    seed : int
        Another seed assigns anew, so that a second experiment does not inherit the groups of the
        first.

    Raises
    ------
    ConfigError
        No variants, or a weight that is not positive.

    Examples
    --------
    >>> split = TrafficSplit({"A": 3, "B": 1}, seed=7)
    >>> split.of("order-1001"), split.of("order-1001") == split.of("order-1001")
    ('A', True)
    >>> sum(split.of(str(i)) == "B" for i in range(10_000)) / 10_000
    0.2...
    """

    weights: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.weights:
            raise ConfigError("no variants to split traffic between", hint="name two or more")
        for name, weight in self.weights.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise ConfigError(f"variant {name!r}: weight {weight}", hint="a number above 0")

    @property
    def shares(self) -> dict[str, float]:
        """Variant → share of the traffic; they sum to one."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}

    def of(self, id_: str) -> str:
        """The variant that answers the row with this id."""
        digest = hashlib.blake2b(f"{self.seed}\0{id_}".encode(), digest_size=8).digest()
        at = int.from_bytes(digest, "big") / _RANGE * sum(self.weights.values())
        for name, weight in self.weights.items():
            at -= weight
            if at < 0:
                return name
        return list(self.weights)[-1]  # the sum was rounded down


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class LoggedStart(_Line):
    """A service began to split traffic.

    Attributes
    ----------
    task : str
        The task's name.
    labels : tuple of str
        The label space.
    weights, seed : dict, int
        Of the split.
    variants : dict
        Name → what the user wrote for it.
    time : str
        UTC, ISO 8601.

    Examples
    --------
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

    Attributes
    ----------
    id : str
        Of the row; it decided the variant.
    variant : str
        Which variant answered.
    language : Language
        The row's prompt language. label, probabilities, status, error, engine, template,
        pool_version, prompt_tokens, cached_tokens: as in :class:`~ecomfs.types.Prediction`.
    time : str
        UTC, ISO 8601.

    Examples
    --------
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
        """The entry of a prediction, now."""
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


def now() -> str:
    """The time in UTC, to the millisecond.

    >>> len(now())
    29
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class TrafficLog:
    """Appends to a log; safe for threads, and for several processes on one file.

    Parameters
    ----------
    path : str or Path
        The file; it is made if need be, in a folder that exists.

    Raises
    ------
    OutputError
        It cannot be opened.

    Examples
    --------
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
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        try:
            # Ids and answers are readable by this user only.
            self._file = os.open(self.path, flags, 0o600)
            self._end_line()
        except OSError as error:
            why = "is a folder" if self.path.is_dir() else error.strerror
            raise OutputError(f"{self.path}: {why}", hint="name a file for the log") from error

    def write(self, lines: Iterable[LoggedStart | LoggedPrediction]) -> None:
        """Append, and hand it to the system before returning.

        Raises
        ------
        OutputError
            The disk is full, or gone.
        """
        data = "".join(line.model_dump_json() + "\n" for line in lines).encode()
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._file, data) :]
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _end_line(self) -> None:
        """End a line that a killed service left half written."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")


@dataclass(frozen=True, slots=True)
class TrafficRecord:
    """A log that was read.

    Attributes
    ----------
    starts : tuple of LoggedStart
        Every start of the service, in order.
    entries : tuple of LoggedPrediction
        The first prediction of each id that one variant only answered.
    repeated : int
        Later predictions of an id by the same variant (a caller that tried again).
    crossed : int
        Ids that several variants answered, because weights or seed were changed; they are left out.
    unreadable : int
        Lines that are no record (a service that was killed in the middle of one).
    """

    starts: tuple[LoggedStart, ...]
    entries: tuple[LoggedPrediction, ...]
    repeated: int
    crossed: int
    unreadable: int


def read_log(path: str | Path) -> TrafficRecord:
    """Read a log.

    Parameters
    ----------
    path : str or Path
        What :class:`TrafficLog` wrote.

    Returns
    -------
    TrafficRecord
        Starts of the service, and the first prediction of each id.

    Raises
    ------
    MissingFileError
        It is not there.
    EmptyInputError
        It holds no prediction.
    InputError
        It is no traffic log.

    Examples
    --------
    >>> import tempfile
    >>> log = TrafficLog(Path(tempfile.mkdtemp()) / "traffic.jsonl")
    >>> log.write([LoggedStart(task="t", labels=("a", "b"), weights={"A": 1, "B": 1}, seed=0)])
    >>> for variant in ("A", "B"):  # the weights were changed: the id went both ways
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
                line = _line(raw)
                if line is None:
                    unreadable += 1
                elif isinstance(line, LoggedStart):
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
            f"{path}: no traffic log", hint="name what ecomfs serve --variant … --log wrote"
        )
    if not first:
        raise EmptyInputError(f"{path}: no predictions", hint="has the service answered anything?")
    entries = tuple(e for id_, e in first.items() if id_ not in crossed)
    return TrafficRecord(tuple(starts), entries, repeated, len(crossed), unreadable)


def _line(raw: bytes) -> LoggedStart | LoggedPrediction | None:
    try:
        data: Any = json.loads(raw)
        if not isinstance(data, Mapping):
            return None
        kind = LoggedStart if data.get("kind") == "start" else LoggedPrediction
        return kind.model_validate_json(raw)
    except (ValueError, ValidationError, RecursionError):
        return None


@harness_errors()
def compare_log(
    log: TrafficRecord, gold: GoldLabels, card: TaskCard, design: Design, *, where: str = "gold"
) -> Outcome:
    """Compare the variants of a live split with the first of them.

    Parameters
    ----------
    card : TaskCard
        The task of the log.
    design : Design
        ``sequential`` is not for logs: decide beforehand when the labels are complete.
    where : str
        What to call the gold labels in errors.

    Raises
    ------
    UnknownLabelError
        A true label that the service did not know.
    EmptyInputError
        No logged row has a true label, or only one variant's have.
    InputError, ConfigError
        The harness refuses the rows, or the design.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> labels = ("positive", "negative")
    >>> start = LoggedStart(task="t", labels=labels, weights={"A": 1, "B": 1}, seed=0)
    >>> sure = {"positive": 1.0}
    >>> entries = tuple(
    ...     LoggedPrediction.of("AB"[i % 2], "en", Prediction(str(i), "positive", sure))
    ...     for i in range(40))
    >>> gold = GoldLabels({str(i): "positive" if i % 2 else "negative" for i in range(40)}, {}, 0)
    >>> found = compare_log(TrafficRecord((start,), entries, 0, 0, 0), gold,
    ...                     load_task("review_sentiment"), Design())
    >>> {name: scores["accuracy"].value for name, scores in found.scores.items()}
    {'A': 0.0, 'B': 1.0}
    """
    last = log.starts[-1]
    # A pool that grew while it was served may have brought labels that the start did not know.
    known = dict.fromkeys([*last.labels, *(name for e in log.entries for name in e.probabilities)])
    space = LabelSpace.resolve(card, known, "the log")
    by: dict[str, list[LoggedPrediction]] = {name: [] for name in last.weights}
    for entry in log.entries:
        if entry.id in gold.labels:
            by.setdefault(entry.variant, []).append(entry)
    empty = [name for name, entries in by.items() if not entries]
    if len(empty) == len(by):
        raise EmptyInputError(
            f"{where}: none of its {len(gold.labels):,} ids is in the log",
            hint="ids must be those that were sent to the service; see --id-column",
        )
    if len(by) - len(empty) < 2:
        raise EmptyInputError(
            f"{where}: no gold labels for rows that {', '.join(empty)} answered",
            hint="a comparison needs labelled rows of two variants",
        )
    systems = [
        _arm(name, entries, gold, space, design, where) for name, entries in by.items() if entries
    ]
    result = compare_arms(systems, primary=design.primary, margin=design.margin, how=design.how)
    notes = _notes(log, gold, by, design)
    about = {
        "design": "unpaired",
        "task": last.task,
        "seed": design.seed,
        "alpha": design.alpha,
        "margin": design.margin,
        "rows": sum(len(s) for s in systems),
        "split": {"weights": last.weights, "seed": last.seed},
        "variants": {name: {"source": last.variants.get(name, "")} for name in by},
    }
    return outcome(systems, result, design.how, notes=notes, about=about)


def _arm(
    name: str,
    entries: Sequence[LoggedPrediction],
    gold: GoldLabels,
    space: LabelSpace,
    design: Design,
    where: str,
) -> Predictions:
    if not design.failed_as_wrong:
        entries = [e for e in entries if e.status != "failed"]
        if not entries:
            raise EmptyInputError(f"every labelled row of variant {name!r} failed")
    truth = [
        space.names[space.require(gold.labels[e.id], f"{where}, row {e.id!r}")] for e in entries
    ]
    names = space.names
    return to_harness(
        entries,
        truth,
        names,
        ids=[e.id for e in entries],
        slices={
            "language": tuple(e.language for e in entries),
            **{c: tuple(values[e.id] for e in entries) for c, values in gold.slices.items()},
        },
        extra={"error": tuple(e.error for e in entries)},
        name=name,
    )


def _notes(
    log: TrafficRecord,
    gold: GoldLabels,
    by: Mapping[str, Sequence[LoggedPrediction]],
    design: Design,
) -> list[str]:
    last = log.starts[-1]
    notes = [f"{n}: {text}" for n, text in last.variants.items() if text]
    notes.append(
        "Unpaired: each row was answered by one variant, drawn by a hash of its id "
        f"(weights {', '.join(f'{n} {w:g}' for n, w in last.weights.items())}; seed {last.seed})."
    )
    ids = {e.id for e in log.entries}
    counts = {
        "logged rows without a gold label": len(ids - set(gold.labels)),
        "gold labels of rows that are not in the log": len(set(gold.labels) - ids),
        "rows of the gold file without a label": gold.unlabelled,
        "predictions repeated for an id, the first counts": log.repeated,
        "ids answered by several variants, left out": log.crossed,
        "lines of the log that cannot be read": log.unreadable,
    }
    notes += [f"{n:,} {what}." for what, n in counts.items() if n]
    failed = {n: sum(e.status == "failed" for e in entries) for n, entries in by.items()}
    if any(failed.values()):
        what = "count as wrong" if design.failed_as_wrong else "are left out"
        shown = ", ".join(f"{n} {count}" for n, count in failed.items())
        notes.append(f"Rows that failed {what} ({shown}).")
    warning = _mismatch(log)
    return [*notes, warning] if warning else notes


def _mismatch(log: TrafficRecord) -> str:
    """A warning when the groups' sizes are not what the weights say (chi-square, p < 0.001): rows
    are then lost in one group more than in the other, and the comparison is not fair. Empty when
    they are, or when the weights were changed on the way."""
    from scipy.stats import chisquare

    splits = {(tuple(s.weights.items()), s.seed) for s in log.starts}
    if len(splits) != 1:
        return ""
    shares = TrafficSplit(log.starts[-1].weights).shares
    sizes = [sum(e.variant == name for e in log.entries) for name in shares]
    total = sum(sizes)
    if not total or float(chisquare(sizes, [s * total for s in shares.values()]).pvalue) > UNLIKELY:
        return ""
    shown = ", ".join(
        f"{n} {size:,} instead of {share * total:,.0f}"
        for (n, share), size in zip(shares.items(), sizes, strict=True)
    )
    return (
        f"WARNING: the groups are not as large as their weights say ({shown}); find out which rows "
        "are lost before you trust the comparison."
    )
