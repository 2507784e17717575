"""Writing the output of a run from its input and journal."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ecomfs.batch.cells import COLUMNS, NUMBERS, beyond_header, columns_beside, prediction_cells
from ecomfs.batch.columns import Columns
from ecomfs.batch.journal import Journal, row_key, unpack
from ecomfs.batch.paths import FAILED_COLUMNS, Job, failed_path, is_failed_table
from ecomfs.batch.result import AnswerCounts, Gold, ScoreResult
from ecomfs.batch.runner import Tally
from ecomfs.batch.selection import SelectedRows
from ecomfs.errors import InputError, OutputError
from ecomfs.io import (
    AtomicWriter,
    IdTracker,
    OutputEncoding,
    OutputFormat,
    TableReader,
    TableRow,
    open_writer,
)
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Row, Status


def write_output(
    job: Job,
    reader: TableReader,
    columns: Columns,
    card: TaskCard,
    space: LabelSpace,
    journal: Journal,
    selected: SelectedRows,
    tally: Tally,
    *,
    rows: int,
    probabilities: bool = False,
    encoding: OutputEncoding = "utf-8",
    form: OutputFormat | None = None,
    replace_table: bool = False,
    check: Callable[[], None] = lambda: None,
) -> ScoreResult:
    """Write all selected rows with their answers, and the failed ones beside them, in one pass;
    each file is whole or not there.

    Args:
        selected: at the first row.
        tally: gets the rows by status.
        rows: how many rows were selected when the input was answered.
        check: called between chunks of rows; raises to give up.

    Raises:
        JournalError: an answer is missing or damaged.
        InputError: the input changed since it was answered.
        OutputError: it cannot be written.
    """
    header = reader.header
    shown = space.names if probabilities else ()
    added = columns_beside(header, shown)
    numbers = [*(added[COLUMNS.index(n)] for n in NUMBERS), *added[len(COLUMNS) :]]
    status, answers = {str(s): 0 for s in Status}, AnswerCounts()
    gold = Gold() if columns.gold is not None else None
    failed = _FailedTable(failed_path(job.base), header)
    seen = IdTracker()
    for path in (job.output, failed.path):
        if isinstance(path, Path):
            _remove_leftovers(path)
    with contextlib.ExitStack() as stack:
        # What is not committed is discarded: the journal has everything.
        writer = open_writer(
            job.output,
            [*header, *added],
            encoding=encoding,
            numbers=numbers,
            marked=added,
            form=form,
            kinds=lambda: reader.kinds,
            replace=replace_table,
        )
        stack.callback(writer.discard)
        stack.callback(failed.discard)
        for chunk in reader:
            if selected.full:
                break
            picked = list(selected.pick(chunk.rows, chunk.first))
            done: list[list[str]] = []
            for row, values, prediction in _answered(picked, reader, columns, card, space, journal):
                doubled = columns.id is not None and not seen.add(prediction.id)
                cells = [row.cells[name] for name in header]
                done.append(cells + prediction_cells(row, prediction, shown, doubled))
                if prediction.status in (Status.FAILED, Status.INVALID):
                    failed.add(row, cells, prediction)
                status[prediction.status.value] += 1
                answers.add(prediction)
                if gold is not None and columns.gold is not None:
                    where = f"{reader.name}, line {row.line}, column {columns.gold!r}"
                    gold.add(prediction, values, space.true_label(row.cells[columns.gold], where))
            writer.write(done)
            check()
        if selected.kept != rows:
            raise InputError(
                f"{reader.name}: {selected.kept:,} rows, and {rows:,} when it was scored",
                hint="--restart starts over",
            )
        failed.commit()
        writer.commit()
    tally.status = status
    tally.rows, tally.left_out = selected.kept, selected.left_out
    marks = columns.fields.conventions(card) | selected.selection.numbers
    return ScoreResult(
        job.output, tally, answers, gold, failed.path if failed.rows else None, marks
    )


def _answered(
    picked: Sequence[tuple[int, TableRow]],
    reader: TableReader,
    columns: Columns,
    card: TaskCard,
    space: LabelSpace,
    journal: Journal,
) -> Iterator[tuple[TableRow, Row, Prediction]]:
    """Rows of one chunk with their fields and predictions."""
    if not picked:
        return
    own = {e.position: e for e in journal.between(picked[0][0], picked[-1][0] + 1)}
    values = [columns.fields.fields(row.cells, card) for _, row in picked]
    keys = [b"" if row.error else row_key(v) for v, (_, row) in zip(values, picked, strict=True)]
    others = {key for key, (at, _) in zip(keys, picked, strict=True) if key and at not in own}
    copies = journal.by_key(list(others))
    for (position, row), value, key in zip(picked, values, keys, strict=True):
        id_ = row.cells[columns.id] if columns.id else str(position)
        entry = own.get(position) or copies.get(key)
        if (position in own and own[position].key != key) or not (entry or row.error):
            raise InputError(
                f"{reader.name}, line {row.line}: the journal has no answer for this row: the "
                "input changed while it was scored",
                hint="--restart starts over",
            )
        if row.error or entry is None:
            yield row, value, Prediction(id_, None, status=Status.FAILED, error=row.error)
        else:
            yield row, value, unpack(entry.text, entry.numbers, space.names, id_)


class _FailedTable:
    """The table of failed rows: made with the first of them."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self.rows = 0
        self._header = header
        self._writer: AtomicWriter | None = None

    def add(self, row: TableRow, cells: Sequence[str], prediction: Prediction) -> None:
        """Write a row; one that failed before and was fed back in has its reason renewed."""
        if self._writer is None:
            names = [name for name in FAILED_COLUMNS if name not in self._header]
            self._writer = AtomicWriter(self.path, [*self._header, *names], marked=FAILED_COLUMNS)
        reasons = [prediction.error, beyond_header(row) if row.extra else ""]
        why = (str(prediction.status), "; ".join(r for r in reasons if r))
        whole = dict(zip(self._header, cells, strict=True)) | dict(
            zip(FAILED_COLUMNS, why, strict=True)
        )
        self._writer.write([list(whole.values())])
        self.rows += 1

    def commit(self) -> None:
        """Make it appear; without failed rows, an old one disappears."""
        if self._writer is not None:
            self._writer.commit()
        elif is_failed_table(self.path):
            try:
                self.path.unlink()
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be removed: {error.strerror}") from error

    def discard(self) -> None:
        """Give up; does nothing after :meth:`commit`."""
        if self._writer is not None:
            self._writer.discard()


def _remove_leftovers(path: Path) -> None:
    """Delete temporary files of a process that was killed while it wrote ``path``."""
    path = Path(os.path.realpath(path))
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            old.unlink()
