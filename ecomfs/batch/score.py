"""Score a table: write every selected row, in order, with its prediction.

Predictions are stored in a journal beside the output. When all rows are done, input and journal are
merged. Memory does not grow with the number of rows, a killed run can be resumed, and a row that
cannot be read or classified keeps its place, with the reason.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from os import PathLike
from typing import Protocol, runtime_checkable

from ecomfs.batch.budget import Budget, BudgetScorer
from ecomfs.batch.feed import CHUNK_ROWS, Feed, Selection, find_columns, read_marks
from ecomfs.batch.identity import Identity, PipelineLike, differences, run_identity
from ecomfs.batch.journal import Journal, drop_journal
from ecomfs.batch.output import ScoreResult, columns_beside, write_output
from ecomfs.batch.paths import Job, check_paths, journal_path, read_output
from ecomfs.batch.runner import BLOCK_ROWS, LocalScorer, RowScorer, Stop, Tally, span
from ecomfs.core.progress import WRITING, Progress, showing
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EngineError,
    JournalError,
    OutputError,
    StoppedError,
)
from ecomfs.io import OutputEncoding, OutputFormat, SqlTable, TableReader
from ecomfs.pipeline import Pipeline

_COLLECT_AFTER = 50_000
"""Threshold of the garbage collector (allocated objects) while a table is scored."""

_PASSING = (EngineError, OutputError, StoppedError, KeyboardInterrupt)
"""Errors after which the same command may succeed. After others, the input or an option must
change, which makes another run."""
_WRITTEN_ROWS = 1000
"""Rows per query of the journal when the output is written."""


@runtime_checkable
class SupportsRefresh(Protocol):
    """A fitted classifier, such as :class:`ecomfs.FewShotClassifier`."""

    def refresh(self) -> Pipeline | PipelineLike:
        """The pipeline for the current version of the pool."""
        ...


def score_table(
    source: str | PathLike[str],
    output: str | PathLike[str] | SqlTable,
    pipeline: SupportsRefresh | Pipeline | RowScorer,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
    probabilities: bool = False,
    encoding: OutputEncoding = "utf-8",
    form: OutputFormat | None = None,
    replace_table: bool = False,
    input_encoding: str | None = None,
    chunk_rows: int = BLOCK_ROWS,
    limit: int | None = None,
    selection: Selection | None = None,
    budget: Budget | None = None,
    restart: bool = False,
    keep_journal: bool = False,
    progress: Progress | bool | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    on_stop: Callable[[int], None] = lambda number: None,
    on_identity: Callable[[Identity], None] = lambda identity: None,
) -> ScoreResult:
    """Classify every row of ``source`` and write the result to ``output``.

    A run that ended early (killed, stopped by a signal, engine unavailable, disk full) leaves
    ``<output>.journal``; a call with the same input, pipeline and selection resumes it.

    Parameters
    ----------
    source : str or path
        Any input of :class:`ecomfs.io.TableReader`.
    output : str, path or SqlTable
        ``.csv``, ``.tsv`` or ``.jsonl``, also compressed (``.gz``, ``.zst``), ``.parquet`` or
        ``.xlsx``; ``-`` for standard output; or ``sql:URL#TABLE``, a table of PostgreSQL, DuckDB or
        SQLite, which is written in one transaction.
    pipeline : FewShotClassifier, TaxonomyClassifier, MultiLabelClassifier, Pipeline or RowScorer
        A fitted classifier, its pipeline, or :class:`ecomfs.batch.ray.runner.RayScorer` for a
        cluster.
    fields : mapping of str to str, optional
        Task field → column, where names differ.
    id_column : str, optional
        Column of unique ids; ``id`` by default, else row numbers are used.
    gold_column : str, optional
        Column with the true labels; used for metrics, never shown to the model.
    probabilities : bool, default False
        Add a column ``p_<label>`` for every label.
    encoding : {"utf-8", "utf-8-sig"}, default "utf-8"
        Encoding of the output.
    form : {"csv", "tsv", "jsonl", "parquet", "xlsx"}, optional
        Format of an output whose name does not show it.
    replace_table : bool, default False
        Replace an existing table of a database; otherwise it is an error.
    input_encoding : str, optional
        Encoding of a source that is not UTF-8; detected by default.
    chunk_rows : int
        Most rows per call of the engine.
    limit : int, optional
        Only the first rows; short for ``selection=Selection(limit=…)``.
    selection : Selection, optional
        The selection of rows; all by default.
    budget : Budget, optional
        Limit of time or tokens for reading. Rows of which the experts are least certain are read
        first; the experts classify the other rows, with a note.
    restart : bool, default False
        Delete the journal of an earlier run instead of resuming it.
    keep_journal : bool, default False
        Keep the journal after the run.
    progress : Progress or bool, optional
        Called with the progress (:mod:`ecomfs.core.progress`); ``True``: show it; ``None``: show it
        in notebooks only.
    on_progress : callable
        Called with the counts after every commit, and at the end of the input.
    on_stop : callable
        Called once, with the number of the signal, if a signal requests a stop.
    on_identity : callable
        Called with the identity of the run (:func:`ecomfs.batch.run_identity`).

    Returns
    -------
    ScoreResult
        The output, counts of rows by status, and the true labels if there is such a column.

    Raises
    ------
    InputError
        The input or its columns cannot be used; nothing is written.
    JournalError
        An existing journal is damaged, in use, or belongs to another run.
    EngineError
        The engine is unavailable; finished rows are kept in the journal.
    OutputError
        Journal or output cannot be written.
    StoppedError
        SIGINT or SIGTERM was received; finished rows are kept in the journal.

    Examples
    --------
    >>> from ecomfs import FewShotClassifier, score_table
    >>> from ecomfs.errors import NotFittedError
    >>> try:
    ...     score_table("reviews.csv", "scored.csv", FewShotClassifier("review_sentiment"))
    ... except NotFittedError as error:
    ...     print(error)
    the classifier has no examples yet (call fit first)

    A fitted classifier reads a model, so it is not run here:

    >>> clf = FewShotClassifier("review_sentiment").fit(texts, labels)  # doctest: +SKIP
    >>> score_table("reviews.csv", "scored.csv", clf).tally.rows  # doctest: +SKIP
    """
    job = Job(str(source), read_output(output))
    if isinstance(pipeline, SupportsRefresh):
        fitted = pipeline.refresh()
        pipeline = BudgetScorer(fitted, budget) if budget else LocalScorer(fitted)
    elif budget:
        pipeline = BudgetScorer(pipeline, budget)
    scorer = LocalScorer(pipeline) if isinstance(pipeline, Pipeline) else pipeline
    if limit is not None:
        if selection is not None:
            raise ConfigError(
                "limit together with selection", hint="put the limit into the selection"
            )
        selection = Selection(limit=limit)
    check_paths(job, form, replace_table=replace_table)
    reader = TableReader(
        job.source, encoding=input_encoding, chunk_rows=min(CHUNK_ROWS, chunk_rows)
    )
    card = scorer.card
    columns = find_columns(
        job.source, card, fields=fields, id_column=id_column, gold_column=gold_column, reader=reader
    )
    columns = replace(columns, fields=read_marks(columns.fields, card, reader))
    if isinstance(job.output, SqlTable):
        shown = scorer.space.names if probabilities else ()
        job.output.check_columns([*reader.header, *columns_beside(reader.header, shown)])
    selection = selection or Selection()
    selected = selection.over(reader)
    if restart:
        drop_journal(journal_path(job.base))
    tally, started = Tally(), time.monotonic()
    with (
        span("score", input=reader.name, output=job.output.name),
        Journal(journal_path(job.base)) as journal,
        Stop(on_stop) as stop,
        _kept(journal),
        _rare_collections(),
        showing(progress) as report,
    ):
        identity = run_identity(job.source, scorer.identity, columns, selection, input_encoding)
        on_identity(identity)
        if journal.identity is None:
            journal.commit([], journal.through, identity=identity)
        elif changed := differences(journal.identity, identity):
            raise JournalError(
                f"{journal.path} has {len(journal):,} answers of another run: "
                f"{', '.join(changed)} changed",
                hint="to resume it, undo the changes (ecomfs runs list has the command); "
                "--restart deletes those answers and starts again; another -o keeps both",
            )
        again = replace(selected)
        if (state := journal.get("chosen")) is not None:
            selected.met, selected.kept, selected.left_out = state
        tally.rows = tally.resumed = selected.kept

        def on_commit(tally: Tally) -> None:
            tally.report(report)
            on_progress(tally)

        def check() -> None:
            if stop.signal is not None:
                raise StoppedError("stopped", signal=stop.signal)

        tally.report(report)
        with closing(Feed(reader, selected, columns.fields, card, journal)) as feed:
            scorer.answer(
                feed,
                journal,
                tally,
                stop,
                block_rows=chunk_rows,
                stages=gold_column is not None,
                on_progress=on_commit,
            )
        check()
        report(WRITING)
        reader.chunk_rows = _WRITTEN_ROWS
        with span("merge", rows=selected.kept):
            result = write_output(
                job,
                reader,
                columns,
                card,
                scorer.space,
                journal,
                again,
                tally,
                rows=selected.kept,
                probabilities=probabilities,
                encoding=encoding,
                form=form,
                replace_table=replace_table,
                check=check,
            )
        tally.progress, tally.seconds = 1.0, time.monotonic() - started
        if not keep_journal:
            journal.remove()
    return result


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Run the garbage collector rarely inside the block.

    A block of rows has thousands of objects without cycles that live until it is stored. With
    Python's default threshold the collector scans them repeatedly, which took a tenth of the CPU
    time per row. A higher threshold set by the program is kept.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _COLLECT_AFTER:
        gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _kept(journal: Journal) -> Iterator[None]:
    """If a run ends early, add a note to the error on the kept predictions and whether the run can
    be resumed; an empty journal is removed."""
    try:
        yield
    except BaseException as error:
        answers = 0
        with suppress(EcomfsError):
            answers = len(journal)
        # The error of a refused journal has this information already.
        if answers and not isinstance(error, JournalError):
            again = "; the same command resumes the run" if isinstance(error, _PASSING) else ""
            error.add_note(f"{answers:,} answers are kept in {journal.path}{again}")
        elif journal.identity is None:
            journal.remove()
        raise
