"""The output of a run: where it goes, its columns, and writing it from input and journal."""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecomfs.batch.input import Columns, SelectedRows
from ecomfs.batch.journal import Journal, row_key, unpack
from ecomfs.batch.runner import Tally
from ecomfs.errors import ConfigError, InputError, MissingFileError, OutputError
from ecomfs.io import (
    AtomicWriter,
    IdTracker,
    InputFile,
    OutputEncoding,
    OutputFormat,
    SqlTable,
    TableReader,
    TableRow,
    added_columns,
    check_output,
    check_read,
    check_target,
    is_stream,
    open_writer,
    reading,
    split_book,
)
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
"""Those of :data:`COLUMNS` that hold numbers."""
FAILED_COLUMNS = ("failed_status", "failed_reason")
_FORMATS = {
    *(".csv", ".tsv", ".tab", ".txt", ".parquet", ".pq", ".gz", ".zst", ".zstd"),
    *(".jsonl", ".ndjson", ".json", ".xlsx", ".xlsm", ".xls"),
}
Output = Path | SqlTable
"""A file, standard output, or a table of a database."""
_RESULTS = (".scored", ".failed")


# Paths


@dataclass(frozen=True, slots=True)
class Job:
    """One input and its output.

    >>> Job("in/a.csv", Path("-")).base.as_posix()
    'in/a.scored.csv'
    """

    source: str
    output: Output

    @property
    def base(self) -> Path:
        """The name that a run's other files are derived from: the output's; of standard output, a
        pipe or a device, which have no place in a folder, that of the input's usual result; of a
        table of a database, its name, in the working folder."""
        if isinstance(self.output, SqlTable):
            return Path(f"{self.output.table}.table")
        if is_stream(self.output):
            return _folder(self.source) / f"{_name(self.source)}.scored.csv"
        return self.output


def find_inputs(words: Sequence[str]) -> list[str]:
    """The inputs that the words of a command name.

    Parameters
    ----------
    words : sequence of str
        Each a table, or a pattern such as ``in/*.csv`` (``**`` for folders at any depth), whose
        files come in the order of their names. A pattern passes over results of earlier runs:
        ``*.scored.*`` and ``*.failed.csv``.

    Raises
    ------
    MissingFileError
        A pattern that matches no file.
    ConfigError
        One file named twice.

    Examples
    --------
    >>> find_inputs(["reviews.csv", "hf:owner/reviews@test"])
    ['reviews.csv', 'hf:owner/reviews@test']
    """
    found: list[str] = []
    for word in words:
        # A data set or a query is no pattern, and a file may have a name that looks like one.
        if word.startswith(("hf:", "sql:")) or not glob.has_magic(word) or Path(word).exists():
            found.append(word)
            continue
        matches = sorted(p for p in glob.glob(word, recursive=True) if Path(p).is_file())
        kept = [p for p in matches if not _stem(Path(p)).endswith(_RESULTS)]
        if not kept:
            why = f"only results: {', '.join(matches[:3])}" if matches else "no file matches"
            raise MissingFileError(f"{word}: {why}", hint="quote the pattern: 'in/*.csv'")
        found += kept
    doubled = [name for name, count in Counter(found).items() if count > 1]
    if doubled:
        raise ConfigError(f"{doubled[0]} is named twice")
    return found


def read_output(text: str | os.PathLike[str] | SqlTable) -> Output:
    """An output, as a user writes it.

    Parameters
    ----------
    text : str, path or SqlTable
        A file, ``-``, or ``sql:URL#TABLE``.

    Raises
    ------
    ConfigError
        A table that cannot be one (:class:`ecomfs.io.SqlTable`).

    Examples
    --------
    >>> read_output("sql:duckdb:///shop.duckdb#scored").name, read_output("out.csv").name
    ('scored', 'out.csv')
    """
    if isinstance(text, SqlTable):
        return text
    written = os.fspath(text)
    return SqlTable.parse(written) if written.startswith("sql:") else Path(written)


def name_outputs(
    inputs: Sequence[str],
    output: str | os.PathLike[str] | None,
    form: OutputFormat | None = None,
) -> list[Job]:
    """Where each result goes.

    Parameters
    ----------
    inputs : sequence of str
        From :func:`find_inputs`.
    output : str or path, optional
        Of one input: its result; by default beside it as ``<name>.scored.csv``. Of several: the
        folder of the results, which is made; by default ``scored`` beside the first.
    form : OutputFormat, optional
        Of the results that are named here; CSV by default.

    Raises
    ------
    ConfigError
        Several inputs and one output file, or inputs whose results have one name.
    OutputError
        The folder cannot be made.

    Examples
    --------
    >>> name_outputs(["in/a.csv"], None)[0].output.as_posix()
    'in/a.scored.csv'
    >>> [job.output.as_posix() for job in name_outputs(["hf:owner/reviews@test"], None, "jsonl")]
    ['reviews@test.scored.jsonl']
    """
    names = [f"{_name(source)}.scored.{form or 'csv'}" for source in inputs]
    target = None if output is None else read_output(output)
    if isinstance(target, SqlTable):
        if len(inputs) == 1:
            return [Job(inputs[0], target)]
        raise ConfigError(
            f"-o {target}: {len(inputs)} inputs, and one table", hint="score them one by one"
        )
    if len(inputs) == 1 and not (target is not None and target.is_dir()):
        return [Job(inputs[0], target or _folder(inputs[0]) / names[0])]
    return _in_a_folder(inputs, names, target)


def _in_a_folder(inputs: Sequence[str], names: Sequence[str], output: Path | None) -> list[Job]:
    if output is not None and is_stream(output):
        raise ConfigError(
            f"{output}: {len(inputs)} inputs, and one output", hint="name a folder with -o"
        )
    folder = output if output is not None else _folder(inputs[0]) / "scored"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder}: {len(inputs)} inputs, and one output file", hint="name a folder with -o"
        )
    if not folder.exists() and folder.suffix.lower() in _FORMATS:
        raise ConfigError(
            f"{folder}: {len(inputs)} inputs go into a folder, this looks like a file"
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(
                f"{count} inputs would be written to {folder / name}",
                hint="score the folders one by one",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    return [Job(source, folder / name) for source, name in zip(inputs, names, strict=True)]


def journal_path(output: Path) -> Path:
    """Where the journal of an output lies.

    >>> journal_path(Path("out/reviews.scored.csv")).name
    'reviews.scored.csv.journal'
    """
    return output.with_name(f"{output.name}.journal")


def failed_path(output: Path) -> Path:
    """Where the rows that failed go.

    >>> failed_path(Path("out/reviews.scored.csv.gz")).name
    'reviews.scored.failed.csv'
    """
    return output.with_name(f"{_stem(output)}.failed.csv")


def check_paths(
    source: str,
    output: Output,
    form: OutputFormat | None = None,
    *,
    replace_table: bool = False,
) -> None:
    """Refuse an output that would replace the input, before any work.

    Parameters
    ----------
    source : str
        The input.
    output : Path or SqlTable
        The result.
    form : OutputFormat, optional
        The format that the user named.
    replace_table : bool
        Whether a table of a database may be replaced.

    Raises
    ------
    ConfigError
        Output, table of failed rows or journal is a file that the run reads; or a format that is
        not written.
    OutputError
        The output cannot be written; another file stands where failed rows go.

    Examples
    --------
    >>> check_paths("reviews.csv", Path("reviews.csv"))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: -o reviews.csv and the input are the same file ...
    """
    if not source:
        raise ConfigError("the input is empty", hint="name a table")
    if isinstance(output, SqlTable):
        if form is not None:
            raise ConfigError(f"-o {output}, and --output-format {form}", hint="leave one out")
        output.check(source, replace=replace_table)
    elif not output.name:  # Path("") is the current folder
        raise OutputError(f"-o {output}: this is a folder", hint="name a file in it")
    else:
        check_output(output, form)
        if replace_table:
            raise ConfigError(
                f"-o {output} is no table of a database", hint="leave --replace-table out"
            )
    base = Job(source, output).base
    failed, journal = failed_path(base), journal_path(base)
    with reading([InputFile("the input", Path(split_book(source)[0]))]):
        if isinstance(output, Path):
            check_target(output, "-o")
        check_target(failed, "the table of failed rows")
        if journal.exists():
            check_read(journal, "the journal")
    if failed.exists() and not _is_failed_table(failed):
        raise OutputError(
            f"{failed}: failed rows would go there, but it is another file",
            hint="move it away, or choose another -o",
        )


def _is_failed_table(path: Path) -> bool:
    """Whether a file is a table of failed rows, and so may be replaced or removed."""
    try:
        with path.open("rb") as file:
            return FAILED_COLUMNS[1].encode() in file.readline(1 << 20)
    except OSError:
        return False


def _stem(path: Path) -> str:
    """A file's name without the suffixes that say how it is written."""
    while path.suffix.lower() in _FORMATS and path.stem:
        path = path.with_suffix("")
    return path.name


def _name(source: str) -> str:
    if source.startswith("sql:"):
        return "query"
    if source == "-":
        return "stdin"
    book, sheets = split_book(source)
    if sheets:
        return "-".join([_stem(Path(book)), *(s for s in sheets if s != "*")])
    return _stem(Path(source.removeprefix("hf:").replace("#", "-")))


def _folder(source: str) -> Path:
    return Path() if source.startswith(("hf:", "sql:")) else Path(split_book(source)[0]).parent


# Cells


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
    """A prediction set as a JSON list; empty where none was made.

    >>> set_cell(Prediction("r1", "yes", prediction_set=("yes",)))
    '["yes"]'
    """
    labels = list(prediction.prediction_set)
    return json.dumps(labels, ensure_ascii=False) if labels else ""


def number_cell(value: float | None) -> str:
    """A number of six decimals; empty where there is none.

    >>> number_cell(0.25), number_cell(None)
    ('0.250000', '')
    """
    return "" if value is None else f"{value:.6f}"


def _prediction_cells(
    row: TableRow, prediction: Prediction, names: Sequence[str], doubled: bool
) -> list[str]:
    """The cells of :data:`COLUMNS`, and one per name in ``names`` for its probability."""
    notes = [row.note, prediction.note]
    if doubled:
        notes.append(f"id {prediction.id!r} occurs more than once")
    if row.extra:
        notes.append(_beyond(row))
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


def _beyond(row: TableRow) -> str:
    """The cells of a row that have no column."""
    return f"cells beyond the header: {json.dumps(row.extra, ensure_ascii=False)}"


def columns_beside(header: Sequence[str], shown: Sequence[str]) -> tuple[str, ...]:
    """The columns that scoring adds, under free names.

    Args:
        shown: labels whose probability has a column.

    >>> columns_beside(["text", "status"], ["yes"])[:3], columns_beside([], ["yes"])[-1]
    (('predicted', 'confidence', 'status_2'), 'p_yes')
    """
    return added_columns(header, [*COLUMNS, *(f"p_{n}" for n in shown)])


# Writing


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
        """Add a row; an empty label is kept and not scored."""
        self.ids.append(prediction.id)
        self.rows.append(row)
        self.labels.append(label)
        self.predictions.append(prediction)


@dataclass(slots=True)
class AnswerCounts:
    """Counts over the answers of a run.

    Attributes
    ----------
    labels : Counter
        Label → rows that were given it.
    confident : int
        Rows that have a confidence; ``total_confidence`` is their sum.
    review : int
        Rows without a label, which need review.
    suspicious : int
        Rows that look like an attack on the model.

    Examples
    --------
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

    def add(self, prediction: Prediction) -> None:
        """Count a row."""
        self.suspicious += bool(prediction.suspicious)
        if prediction.label is None:
            self.review += 1
        elif prediction.labels is not None:
            self.labels.update(prediction.labels)
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
class ScoreResult:
    """Outcome of :func:`ecomfs.batch.score_table`.

    Attributes
    ----------
    output : Path or SqlTable
        The result table.
    tally : Tally
        Counts of the run.
    answers : AnswerCounts
        Counts over the answers.
    gold : Gold, optional
        True labels and predictions, when the input names its true labels.
    failed : Path, optional
        Table of the rows that failed or whose answer is invalid; ``None`` without any.
    numbers : mapping
        Column → decimal mark of its numbers, in words, where it makes a difference.

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
        """What a notebook shows: counts of status and labels, and where the tables are."""
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
            paragraph(f"failed rows, with the reason: {self.failed}" if self.failed else ""),
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
            for row, values, prediction in _answered(picked, reader, columns, card, space, journal):
                doubled = columns.id is not None and not seen.add(prediction.id)
                cells = [row.cells[name] for name in header]
                writer.write([cells + _prediction_cells(row, prediction, shown, doubled)])
                if prediction.status in (Status.FAILED, Status.INVALID):
                    failed.add(row, cells, prediction)
                status[str(prediction.status)] += 1
                answers.add(prediction)
                if gold is not None and columns.gold is not None:
                    where = f"{reader.name}, line {row.line}, column {columns.gold!r}"
                    gold.add(prediction, values, space.true_label(row.cells[columns.gold], where))
            check()
        if selected.kept != rows:
            raise InputError(
                f"{reader.name}: {selected.kept:,} rows, and {rows:,} when it was scored",
                hint="--restart starts the run anew",
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
                hint="--restart starts the run anew",
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
        reasons = [prediction.error, _beyond(row) if row.extra else ""]
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
        elif _is_failed_table(self.path):
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
