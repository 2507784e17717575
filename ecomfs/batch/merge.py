"""The end of a run: input rows and their answers, side by side, in one pass."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ecomfs.batch.answer import row_key, unpack
from ecomfs.batch.journal import Entry, Journal
from ecomfs.batch.output import (
    COLUMNS,
    FAILED_COLUMNS,
    NUMBERS,
    Columns,
    failed_cells,
    failed_path,
    is_failed_table,
    prediction_cells,
    row_id,
)
from ecomfs.batch.select import Chosen
from ecomfs.errors import InputError, OutputError
from ecomfs.io import (
    AtomicWriter,
    IdTracker,
    OutputEncoding,
    TableReader,
    TableRow,
    TableWriter,
    added_columns,
    open_writer,
)
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Row, Status

Answered = tuple[TableRow, Row, Prediction]


@dataclass(frozen=True, slots=True)
class Gold:
    """What the harness needs when the input names its true labels, one entry a row."""

    ids: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


@dataclass(slots=True)
class Answers:
    """What was answered, counted.

    Attributes:
        labels: label → rows that were given it.
        confident: rows that have a confidence; ``total_confidence``: theirs together.
        review: rows that a person has to see, because they have no label.

    >>> answers = Answers()
    >>> answers.add(Prediction("1", "yes", {"yes": 0.9, "no": 0.1}))
    >>> answers.add(Prediction("2", None, {"yes": 0.6, "no": 0.4}, Status.ABSTAINED))
    >>> answers.labels, answers.confidence, answers.review
    (Counter({'yes': 1}), 0.75, 1)
    """

    labels: Counter[str] = field(default_factory=Counter)
    confident: int = 0
    total_confidence: float = 0.0
    review: int = 0

    def add(self, prediction: Prediction) -> None:
        """Count a row."""
        if prediction.label is None:
            self.review += 1
        else:
            self.labels[prediction.label] += 1
        if prediction.confidence is not None:
            self.confident += 1
            self.total_confidence += prediction.confidence

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the rows that have one; ``None`` where none has."""
        return self.total_confidence / self.confident if self.confident else None


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written.

    Attributes:
        status: rows by how they ended.
        answers: what was answered.
        failed: the table of failed rows; ``None`` when there are none.
        gold: see :class:`Gold`; ``None`` without true labels.
    """

    status: dict[str, int]
    answers: Answers
    failed: Path | None
    gold: Gold | None


class Merge:
    """Writes the output of a run whose rows are all answered.

    Args:
        check: called between chunks of rows; raises to give up.
    """

    def __init__(
        self,
        reader: TableReader,
        columns: Columns,
        card: TaskCard,
        space: LabelSpace,
        journal: Journal,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._columns = columns
        self._card = card
        self._space = space
        self._journal = journal
        self._check = check

    def write(
        self,
        output: Path,
        chosen: Chosen,
        *,
        base: Path | None = None,
        probabilities: bool = False,
        encoding: OutputEncoding = "utf-8",
    ) -> Merged:
        """Write all chosen rows to ``output`` and the failed ones beside it, each file whole or
        not at all.

        Args:
            base: names the table of failed rows, where ``output`` has no name of its own.

        Raises:
            JournalError: an answer is missing or damaged.
            InputError: the input changed since it was asked about.
            OutputError: it cannot be written.
        """
        header = self._reader.header
        shown = self._space.names if probabilities else ()
        added = added_columns(header, [*COLUMNS, *(f"p_{n}" for n in shown)])
        numbers = [*(added[COLUMNS.index(n)] for n in NUMBERS), *added[len(COLUMNS) :]]
        status, answers = {str(s): 0 for s in Status}, Answers()
        gold = Gold() if self._columns.gold is not None else None
        failed = _FailedTable(failed_path(base or output), header)
        seen = IdTracker()
        remove_leftovers(output)
        remove_leftovers(failed.path)
        made = open_writer(output, [*header, *added], encoding=encoding, numbers=numbers)
        with discarding(made) as writer:
            with failed:
                for rows in self._answered(chosen):
                    for row, values, prediction in rows:
                        doubled = self._columns.id is not None and not seen.add(prediction.id)
                        cells = [row.cells[name] for name in header]
                        extra = prediction_cells(row, prediction, shown, doubled)
                        writer.write([cells + extra])
                        failed.add(row, cells, prediction)
                        status[str(prediction.status)] += 1
                        answers.add(prediction)
                        if gold is not None:
                            self._note_gold(gold, row, values, prediction)
                    self._check()
                failed.commit()
            writer.commit()
        return Merged(status, answers, failed.path if failed.rows else None, gold)

    def _answered(self, chosen: Chosen) -> Iterator[list[Answered]]:
        for chunk in self._reader:
            if chosen.full:
                return
            picked = list(chosen.of(chunk.rows, chunk.first))
            if picked:
                yield self._of(picked)

    def _of(self, picked: Sequence[tuple[int, TableRow]]) -> list[Answered]:
        entries = {e.position: e for e in self._journal.between(picked[0][0], picked[-1][0] + 1)}
        values = [self._columns.fields.fields(row.cells, self._card) for _, row in picked]
        keys = [
            b"" if row.error else row_key(v) for v, (_, row) in zip(values, picked, strict=True)
        ]
        for (position, row), key in zip(picked, keys, strict=True):
            entry = entries.get(position)
            if entry is not None and entry.key != key:
                raise self._changed(row)
        copies = self._journal.by_key(
            list(
                {key for key, (p, _) in zip(keys, picked, strict=True) if key and p not in entries}
            )
        )
        out: list[Answered] = []
        for (position, row), value, key in zip(picked, values, keys, strict=True):
            id_ = row_id(row, self._columns.id, position)
            if row.error:
                prediction = Prediction(id_, None, status=Status.FAILED, error=row.error)
            else:
                prediction = self._prediction(entries.get(position) or copies.get(key), row, id_)
            out.append((row, value, prediction))
        return out

    def _prediction(self, entry: Entry | None, row: TableRow, id_: str) -> Prediction:
        if entry is None:
            raise self._changed(row)
        return unpack(entry.text, entry.numbers, self._space.names, id_)

    def _changed(self, row: TableRow) -> InputError:
        return InputError(
            f"{self._reader.name}, line {row.line}: the journal has no answer for this row: the "
            "input changed while it was scored",
            hint="--restart starts the run anew",
        )

    def _note_gold(self, gold: Gold, row: TableRow, values: Row, prediction: Prediction) -> None:
        gold.ids.append(prediction.id)
        gold.rows.append(values)
        gold.labels.append(self._gold_label(row))
        gold.predictions.append(prediction)

    def _gold_label(self, row: TableRow) -> str:
        """The true label in the pool's spelling; an empty one is kept empty and not scored."""
        column = self._columns.gold or ""
        where = f"{self._reader.name}, line {row.line}, column {column!r}"
        return self._space.true_label(row.cells[column], where)


class _FailedTable:
    """The table of failed rows: made with the first of them."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self.rows = 0
        self._header = header
        self._writer: AtomicWriter | None = None

    def add(self, row: TableRow, cells: list[str], prediction: Prediction) -> None:
        reason = failed_cells(row, prediction)
        if reason is None:
            return
        if self._writer is None:
            names = [name for name in FAILED_COLUMNS if name not in self._header]
            self._writer = AtomicWriter(self.path, [*self._header, *names])
        self._writer.write([self._with(cells, reason)])
        self.rows += 1

    def _with(self, cells: list[str], reason: list[str]) -> list[str]:
        """Rows that failed before and were fed back in have their reason renewed."""
        cells = list(cells)
        for name, value in zip(FAILED_COLUMNS, reason, strict=True):
            if name in self._header:
                cells[self._header.index(name)] = value
            else:
                cells.append(value)
        return cells

    def commit(self) -> None:
        """Make it appear; without failed rows, an old one disappears."""
        if self._writer is not None:
            self._writer.commit()
            self._writer = None
        elif is_failed_table(self.path):
            try:
                self.path.unlink()
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be removed: {error.strerror}") from error

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.discard()


@contextmanager
def discarding(writer: TableWriter) -> Iterator[TableWriter]:
    """A writer whose temporary file goes when the block fails: the journal has everything."""
    try:
        yield writer
    except BaseException:
        writer.discard()
        raise


def remove_leftovers(path: Path) -> None:
    """Delete temporary files of a process that was killed while it wrote ``path``."""
    path = Path(os.path.realpath(path))
    for old in path.parent.glob(f".{_escaped(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            old.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
