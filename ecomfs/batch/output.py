"""The output of a run: the added columns, the merge of input and journal, and the result object."""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecomfs.batch.feed import Columns, SelectedRows
from ecomfs.batch.journal import Journal, row_key, unpack
from ecomfs.batch.paths import FAILED_COLUMNS, Job, Output, failed_path, is_failed_table
from ecomfs.batch.runner import Tally
from ecomfs.errors import InputError, OutputError
from ecomfs.io import (
    AtomicWriter,
    IdTracker,
    OutputEncoding,
    OutputFormat,
    TableReader,
    TableRow,
    added_columns,
    open_writer,
)
from ecomfs.pipeline import DECIDED
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Row, Status

COLUMNS = (
    "predicted",
    "confidence",
    "status",
    "suggestion",
    "prediction_set",
    "novelty",
    "suspicious",
    "source",
    "error",
    "note",
    "demonstration_ids",
    "template",
)
"""The columns that scoring adds to a table."""
NUMBERS = ("confidence", "novelty")
"""The numeric columns of :data:`COLUMNS`."""


def detail_cells(prediction: Prediction) -> list[str]:
    """The cells of ``suggestion``, ``prediction_set`` (a JSON list), ``novelty``,
    ``suspicious`` and ``source``.

    >>> detail_cells(Prediction("r1", None, {"yes": 0.6, "no": 0.4}, source="fused",
    ...                         prediction_set=("yes", "no"), novelty=0.5))
    ['yes', '["yes", "no"]', '0.500000', '', 'fused']
    """
    return [
        prediction.suggestion or "",
        set_cell(prediction),
        number_cell(prediction.novelty),
        " ".join(prediction.suspicious),
        prediction.source,
    ]


def set_cell(prediction: Prediction) -> str:
    """A prediction set as a JSON list; empty if there is none.

    >>> set_cell(Prediction("r1", "yes", prediction_set=("yes",)))
    '["yes"]'
    """
    labels = list(prediction.prediction_set)
    return json.dumps(labels, ensure_ascii=False) if labels else ""


def number_cell(value: float | None) -> str:
    """A number with six decimals; empty for ``None``.

    >>> number_cell(0.25), number_cell(None)
    ('0.250000', '')
    """
    return "" if value is None else f"{value:.6f}"


def prediction_cells(
    row: TableRow, prediction: Prediction, names: Sequence[str], doubled: bool
) -> list[str]:
    """The cells of :data:`COLUMNS`, then the probability of each label in ``names``."""
    notes = [row.note, prediction.note]
    if doubled:
        notes.append(f"id {prediction.id!r} occurs more than once")
    if row.extra:
        notes.append(beyond_header(row))
    template, found = prediction.template, prediction.probabilities
    return [
        prediction.label or "",
        number_cell(prediction.confidence),
        str(prediction.status),
        *detail_cells(prediction),
        prediction.error,
        "; ".join(n for n in notes if n),
        " ".join(prediction.demonstration_ids),
        str(template) if template else "",
        *(f"{found[n]:.6f}" if found else "" for n in names),
    ]


def beyond_header(row: TableRow) -> str:
    """A note on the cells of a row that have no column."""
    return f"cells beyond the header: {json.dumps(row.extra, ensure_ascii=False)}"


def columns_beside(header: Sequence[str], shown: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that scoring adds, different from those of the input.

    Args:
        shown: labels whose probability gets a column.

    >>> columns_beside(["text", "status"], ["yes"])[:3], columns_beside([], ["yes"])[-1]
    (('predicted', 'confidence', 'status_2'), 'p_yes')
    """
    return added_columns(header, [*COLUMNS, *(f"p_{n}" for n in shown)])


@dataclass(frozen=True, slots=True)
class Gold:
    """Rows with true labels and their predictions, for metrics; one entry per row.

    >>> gold = Gold()
    >>> gold.add(Prediction("r1", "yes", {"yes": 1.0}), {"text": "fits"}, "yes")
    >>> gold.ids, gold.labels
    (['r1'], ['yes'])
    """

    ids: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)

    def add(self, prediction: Prediction, row: Row, label: str) -> None:
        """Add a row; a row with an empty label is kept but not scored."""
        self.ids.append(prediction.id)
        self.rows.append(row)
        self.labels.append(label)
        self.predictions.append(prediction)

    def scored(self) -> Gold:
        """The rows with a true label. Ids may repeat in the input, so each id gets the position of
        its row."""
        kept = [i for i, label in enumerate(self.labels) if label]
        return Gold(
            [f"{i}:{self.ids[i]}" for i in kept],
            [self.rows[i] for i in kept],
            [self.labels[i] for i in kept],
            [self.predictions[i] for i in kept if self.predictions],
        )


@dataclass(slots=True)
class AnswerCounts:
    """Counts over the predictions of a run.

    Attributes
    ----------
    labels : Counter
        Label → number of rows with it.
    confident : int
        Rows with a confidence; ``total_confidence`` is the sum.
    review : int
        Rows without a label; they need review.
    suspicious : int
        Rows that look like an attack on the model.
    decided : int
        Rows that were not read because the model could not change their label.

    Examples
    --------
    >>> from ecomfs.types import Status
    >>> answers = AnswerCounts()
    >>> answers.add(Prediction("1", "yes", {"yes": 0.9, "no": 0.1}))
    >>> answers.add(Prediction("2", None, {"yes": 0.6, "no": 0.4}, Status.ABSTAINED))
    >>> answers.labels, answers.confidence, answers.review
    (Counter({'yes': 1}), 0.75, 1)
    """

    labels: Counter[str] = field(default_factory=Counter)
    confident: int = 0
    total_confidence: float = 0.0
    review: int = 0
    suspicious: int = 0
    decided: int = 0

    def add(self, prediction: Prediction) -> None:
        """Count a row."""
        self.suspicious += bool(prediction.suspicious)
        self.decided += DECIDED in prediction.note
        if prediction.label is None:
            self.review += 1
        elif prediction.labels is not None:
            self.labels.update(prediction.labels)
        else:
            self.labels[prediction.label] += 1
        confidence = prediction.confidence
        if confidence is not None:
            self.confident += 1
            self.total_confidence += confidence

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the rows that have one, or ``None``."""
        return self.total_confidence / self.confident if self.confident else None

    def unread(self, rows: int) -> str:
        """A sentence on the rows whose label the model could not change; empty if there are none.

        >>> AnswerCounts(decided=312).unread(1000)
        '312 of 1,000 rows were not read: the model could not change their label'
        """
        if not self.decided:
            return ""
        return (
            f"{self.decided:,} of {rows:,} rows were not read: the model could not change their "
            "label"
        )


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Result of :func:`ecomfs.batch.score_table`.

    Attributes
    ----------
    output : Path or SqlTable
        The result table.
    tally : Tally
        Counts of the run.
    answers : AnswerCounts
        Counts over the predictions.
    gold : Gold, optional
        True labels and predictions, if the input has a column of true labels.
    failed : Path, optional
        Table of failed and invalid rows; ``None`` if there are none.
    numbers : mapping
        Column → decimal mark of its numbers, in words, if it makes a difference.

    Examples
    --------
    >>> tally = Tally(rows=2, status={"ok": 1, "failed": 1})
    >>> failed = Path("scored.failed.csv")
    >>> result = ScoreResult(Path("scored.csv"), tally, AnswerCounts(), None, failed)
    >>> result.tally.status["failed"], result.failed.name
    (1, 'scored.failed.csv')
    """

    output: Output
    tally: Tally
    answers: AnswerCounts
    gold: Gold | None
    failed: Path | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """HTML for notebooks: counts of status and labels, and the paths of the tables."""
        from ecomfs_eval.html_view import bars, paragraph, table, view

        tally, answers = self.tally, self.answers
        counted = [[name, n] for name, n in tally.status.items() if n]
        labels = dict(answers.labels.most_common())
        given = max(sum(labels.values()), 1)
        sure = answers.confidence
        return view(
            f"{tally.rows:,} rows, written to {self.output}",
            table(["status", "rows"], counted) if counted else "",
            bars({name: n / given for name, n in labels.items()}, None) if labels else "",
            paragraph("" if sure is None else f"mean confidence {sure:.3f}"),
            paragraph(f"{answers.review:,} need review" if answers.review else ""),
            paragraph(answers.unread(tally.rows), note=True),
            paragraph(f"failed rows, with reasons: {self.failed}" if self.failed else ""),
            *(paragraph(f"{name}: {mark}", note=True) for name, mark in self.numbers.items()),
        )


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
    """Write all selected rows with their predictions, and the failed rows to a table of their own,
    in one pass. Each file is complete or does not exist.

    Args:
        selected: the selection, at the first row.
        tally: its rows by status are counted here.
        rows: number of selected rows when the input was scored.
        check: called between chunks; raises to abort.

    Raises:
        JournalError: a prediction is missing or damaged.
        InputError: the input changed since it was scored.
        OutputError: the output cannot be written.
    """
    header = reader.header
    shown = space.names if probabilities else ()
    added = columns_beside(header, shown)
    numbers = [*(added[COLUMNS.index(n)] for n in NUMBERS), *added[len(COLUMNS) :]]
    status, answers = {str(s): 0 for s in Status}, AnswerCounts()
    gold = Gold() if columns.gold is not None else None
    failed = _FailedTable(failed_path(job.base), header)
    seen = IdTracker() if columns.id is not None else None
    for path in (job.output, failed.path):
        if isinstance(path, Path):
            _remove_leftovers(path)
    with contextlib.ExitStack() as stack:
        # Uncommitted output is discarded; the journal has all predictions.
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
                doubled = seen is not None and not seen.add(prediction.id)
                cells = [row.cells[name] for name in header]
                done.append(cells + prediction_cells(row, prediction, shown, doubled))
                if prediction.status in (Status.FAILED, Status.INVALID):
                    failed.add(row, cells, prediction)
                status[prediction.status.value] += 1
                answers.add(prediction)
                if gold is not None and columns.gold is not None:
                    where = f"{reader.name}, line {row.line}, column {columns.gold!r}"
                    cell = row.cells[columns.gold] if row.fits else ""  # it may be another column's
                    gold.add(prediction, values, space.true_label(cell, where))
            writer.write(done)
            check()
        if selected.kept != rows:
            raise InputError(
                f"{reader.name} has {selected.kept:,} rows now and had {rows:,} when it was scored",
                hint="start again with --restart",
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
    copies = journal.by_key(list(others)) if others else {}
    for (position, row), value, key in zip(picked, values, keys, strict=True):
        id_ = row.cells[columns.id] if columns.id else str(position)
        entry = own.get(position) or copies.get(key)
        if (position in own and own[position].key != key) or not (entry or row.error):
            raise InputError(
                f"{reader.name}, line {row.line}: the journal has no prediction for this row, so "
                "the input changed while it was scored",
                hint="start again with --restart",
            )
        if row.error or entry is None:
            yield row, value, Prediction(id_, None, status=Status.FAILED, error=row.error)
        else:
            yield row, value, unpack(entry.text, entry.numbers, space.names, id_)


@dataclass(slots=True)
class _FailedTable:
    """The table of failed rows; created with the first one."""

    path: Path
    header: Sequence[str]
    rows: int = 0
    _writer: AtomicWriter | None = None

    def add(self, row: TableRow, cells: Sequence[str], prediction: Prediction) -> None:
        """Write a row; a row of an earlier table of failed rows gets its new reason."""
        if self._writer is None:
            names = [name for name in FAILED_COLUMNS if name not in self.header]
            self._writer = AtomicWriter(self.path, [*self.header, *names], marked=FAILED_COLUMNS)
        reasons = [prediction.error, beyond_header(row) if row.extra else ""]
        why = (str(prediction.status), "; ".join(r for r in reasons if r))
        whole = dict(zip(self.header, cells, strict=True)) | dict(
            zip(FAILED_COLUMNS, why, strict=True)
        )
        self._writer.write([list(whole.values())])
        self.rows += 1

    def commit(self) -> None:
        """Put the file in place; without failed rows, delete an old one."""
        if self._writer is not None:
            self._writer.commit()
        elif is_failed_table(self.path):
            try:
                self.path.unlink()
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be removed: {error.strerror}") from error

    def discard(self) -> None:
        """Discard the file; no effect after :meth:`commit`."""
        if self._writer is not None:
            self._writer.discard()


def _remove_leftovers(path: Path) -> None:
    """Delete temporary files of a process that was killed while it wrote ``path``."""
    path = Path(os.path.realpath(path))
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            old.unlink()
