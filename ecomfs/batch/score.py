"""Score a table: every chosen row comes out, in order, with its prediction beside it.

Answers go to a journal beside the output; when all rows have theirs, input and answers are
merged. Memory does not grow with the number of rows, a killed run goes on where it was, and a
row that cannot be read or classified keeps its place and says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from ecomfs.batch.answerer import Answerer, Here
from ecomfs.batch.examples import read_marks
from ecomfs.batch.feed import CHUNK_ROWS, Feed
from ecomfs.batch.files import beside
from ecomfs.batch.garbage import patient_collector
from ecomfs.batch.identity import Identity, differences, input_identity
from ecomfs.batch.journal import Journal, drop_journal
from ecomfs.batch.merge import Answers, Gold, Merge
from ecomfs.batch.output import Columns, failed_path, find_columns, is_failed_table, journal_path
from ecomfs.batch.runner import BLOCK_ROWS
from ecomfs.batch.select import Selection
from ecomfs.batch.stop import Stop
from ecomfs.batch.tally import Tally
from ecomfs.batch.tracing import span
from ecomfs.core.progress import WRITING, Progress, showing
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EngineError,
    JournalError,
    OutputError,
    StoppedError,
)
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.io import (
    OutputEncoding,
    Read,
    TableReader,
    check_output,
    check_read,
    check_target,
    reading,
)
from ecomfs.pipeline import Pipeline

_PASSING = (EngineError, OutputError, StoppedError, KeyboardInterrupt)
"""What may be over the next time; a mended input or option makes another run."""


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Outcome of :func:`score_table`.

    Attributes:
        output: the result table.
        tally: what happened.
        answers: what was answered.
        gold: true labels and predictions, when the input names its true labels.
        failed: table of the rows that failed or whose answer is invalid; ``None`` without any.
        numbers: column → decimal mark of its numbers, in words, where it makes a difference.
    """

    output: Path
    tally: Tally
    answers: Answers
    gold: Gold | None
    failed: Path | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)


def score_table(
    source: str | PathLike[str],
    output: str | PathLike[str],
    pipeline: FewShotClassifier | Pipeline | Answerer,
    *,
    fields: Mapping[str, str] | None = None,
    id_column: str | None = None,
    gold_column: str | None = None,
    probabilities: bool = False,
    encoding: OutputEncoding = "utf-8",
    input_encoding: str | None = None,
    chunk_rows: int = BLOCK_ROWS,
    limit: int | None = None,
    selection: Selection | None = None,
    restart: bool = False,
    keep_journal: bool = False,
    progress: Progress | bool | None = None,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    on_stop: Callable[[int], None] = lambda number: None,
    on_identity: Callable[[Identity], None] = lambda identity: None,
) -> ScoreResult:
    """Classify every row of ``source`` into ``output``.

    A run that ended early (killed, stopped by a signal, engine gone, disk full) leaves
    ``<output>.journal``; calling again with the same input, pipeline and selection goes on from
    it.

    Parameters
    ----------
    source : str or Path
        Anything :class:`ecomfs.io.TableReader` reads.
    output : str or Path
        ``.csv`` or ``.tsv``, also packed (``.gz``, ``.zst``), or ``.parquet``; or ``-``, standard
        output.
    pipeline : FewShotClassifier, Pipeline or Answerer
        A fitted classifier, its pipeline, or a runner (:mod:`ecomfs.batch.answerer`).
    fields : mapping of str to str, optional
        Task field → column, where names differ.
    id_column : str, optional
        Column with unique ids. By default ``id``.
    gold_column : str, optional
        Column with the true labels; collected for the harness, never shown to the model.
    probabilities : bool, default False
        Add a column ``p_<label>`` for every label.
    encoding : {"utf-8", "utf-8-sig"}, default "utf-8"
        Of the output.
    input_encoding : str, optional
        Of a source that is not UTF-8. By default detected.
    chunk_rows : int
        Most rows in one call of the engine.
    limit : int, optional
        Only the first rows; short for ``selection=Selection(limit=…)``.
    selection : Selection, optional
        Which rows are scored. By default all.
    restart : bool, default False
        Drop the journal of an earlier run instead of resuming it.
    keep_journal : bool, default False
        Keep the journal after the run.
    progress : callable or bool, optional
        Receives the progress (:mod:`ecomfs.core.progress`); ``True``: shown; ``None``: shown in
        notebooks only.
    on_progress : callable
        Called after every commit, and when the input was read to its end.
    on_stop : callable
        Called once, with the signal's number, when a signal stops the run.
    on_identity : callable
        Called with what decides the answers (:mod:`ecomfs.batch.identity`).

    Returns
    -------
    ScoreResult
        The output file, counts of rows by status, and the true labels where they were named.

    Raises
    ------
    InputError
        The file or its columns; nothing is written then.
    JournalError
        There is a journal, and it is damaged, in use, or another run's.
    EngineError
        The engine is lost; finished rows are kept in the journal.
    OutputError
        Journal or output cannot be written.
    StoppedError
        SIGINT or SIGTERM came; finished rows are kept in the journal.

    Examples
    --------
    Reads a model, so it is not run here:

    >>> from ecomfs import FewShotClassifier, score_table
    >>> clf = FewShotClassifier("review_sentiment").fit(texts, labels)  # doctest: +SKIP
    >>> score_table("reviews.csv", "scored.csv", clf).tally.rows  # doctest: +SKIP
    """
    where, target = str(source), Path(output)
    if isinstance(pipeline, FewShotClassifier):
        pipeline = pipeline.refresh()
    by = Here(pipeline) if isinstance(pipeline, Pipeline) else pipeline
    if limit is not None:
        if selection is not None:
            raise ConfigError("limit and selection", hint="put the limit into the selection")
        selection = Selection(limit=limit)
    selection = selection or Selection()
    check_paths(where, target)
    base = beside(target, where)
    chunk = min(CHUNK_ROWS, chunk_rows)
    reader = TableReader(where, encoding=input_encoding, chunk_rows=chunk)
    columns = find_columns(
        where, by.card, fields=fields, id_column=id_column, gold_column=gold_column,
        reader=reader,
    )  # fmt: skip
    columns = replace(columns, fields=read_marks(columns.fields, by.card, reader))
    chosen = selection.over(reader)
    if restart:
        drop_journal(journal_path(base))
    tally, started = Tally(), time.monotonic()
    with (
        span("score", input=reader.name, output=target.name),
        Journal(journal_path(base)) as journal,
        Stop(on_stop) as stop,
        _kept(journal),
        patient_collector(),
        showing(progress) as report,
    ):
        identity = run_identity(where, by.identity, columns, selection, input_encoding)
        on_identity(identity)
        adopt(journal, identity)
        again = chosen.fresh()
        if (state := journal.get("chosen")) is not None:
            chosen.state = state
        tally.rows = tally.resumed = chosen.kept
        feed = Feed(reader, chosen, columns.fields, by.card, journal)

        def told(tally: Tally) -> None:
            tally.report(report)
            on_progress(tally)

        tally.report(report)

        def check() -> None:
            if stop.signal is not None:
                raise StoppedError("stopped", signal=stop.signal)

        with closing(feed):
            by.answer(
                feed, journal, tally, stop, block_rows=chunk_rows,
                stages=gold_column is not None, on_progress=told,
            )  # fmt: skip
        check()
        reader = TableReader(where, encoding=input_encoding)
        merge = Merge(reader, columns, by.card, by.space, journal, check=check)
        report(WRITING)
        with span("merge", rows=chosen.kept):
            merged = merge.write(
                target, again, base=base, probabilities=probabilities, encoding=encoding
            )
        tally.status = merged.status
        tally.rows, tally.left_out = again.kept, again.left_out
        tally.progress, tally.seconds = 1.0, time.monotonic() - started
        if not keep_journal:
            journal.remove()
    numbers = columns.fields.conventions(by.card) | again.selection.numbers
    return ScoreResult(target, tally, merged.answers, merged.gold, merged.failed, numbers)


@contextmanager
def _kept(journal: Journal) -> Iterator[None]:
    """Whatever ends a run early, say what is kept and whether it can be gone on with; a journal
    without answers is not kept."""
    fresh = journal.get("identity") is None
    try:
        yield
    except BaseException as error:
        answers = 0
        with suppress(EcomfsError):
            answers = len(journal)
        # The error of a refused journal names its answers, and what to do instead.
        if answers and not isinstance(error, JournalError):
            again = "; the same command goes on from it" if isinstance(error, _PASSING) else ""
            error.add_note(f"{answers:,} answers are kept in {journal.path}{again}")
        elif fresh:
            journal.remove()
        raise


def run_identity(
    source: str,
    answers: Identity,
    columns: Columns,
    selection: Selection,
    encoding: str | None = None,
) -> Identity:
    """What decides the answers of a run, and which rows have one.

    Args:
        answers: what decides the answer of a row (:func:`ecomfs.batch.identity.pipeline_identity`).
        encoding: that was named for the input.
    """
    return {
        "input": input_identity(source),
        "input encoding": encoding,
        **answers,
        "columns": dict(columns.fields.columns)
        | {f"decimal mark of {n}": mark for n, (mark, _) in sorted(columns.fields.marks.items())},
        "selection": selection.identity(),
        "column of true labels": columns.gold,
    }


def adopt(journal: Journal, identity: Identity) -> None:
    """Give a new journal its identity, or see that an old one has the same.

    Raises:
        JournalError: it is another run's.
    """
    known = journal.get("identity")
    if known is None:
        journal.put(identity=identity)
        return
    changed = differences(known, identity)
    if changed:
        raise JournalError(
            f"{journal.path} has {len(journal):,} answers of another run: "
            f"{', '.join(changed)} changed",
            hint="to go on, put back what changed (ecomfs runs list has the command); --restart "
            "drops those answers and begins anew; another -o keeps both",
        )


def check_paths(source: str, output: Path) -> None:
    """Refuse an output that would replace the input, before any work.

    Raises:
        ConfigError: output, table of failed rows or journal is a file that the run reads; or a
            format that is not written.
        OutputError: the output cannot be written; a file that is not ours stands where failed
            rows go.
    """
    check_output(output)
    base = beside(output, source)
    failed, journal = failed_path(base), journal_path(base)
    with reading([Read("the input", Path(source))]):
        check_target(output, "-o")
        check_target(failed, "the table of failed rows")
        if journal.exists():
            check_read(journal, "the journal")
    if failed.exists() and not is_failed_table(failed):
        raise OutputError(
            f"{failed}: failed rows would go there, but it is another file",
            hint="move it away, or choose another -o",
        )


__all__ = [
    "Answers",
    "Gold",
    "ScoreResult",
    "Tally",
    "adopt",
    "check_paths",
    "find_columns",
    "run_identity",
    "score_table",
]
