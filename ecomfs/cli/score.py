"""``ecomfs score``: classify every row of a table. Its options are shared with ``plan``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import OptionalExamples, check_guarantees, fitted_classifier
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say, show_phases
from ecomfs.core.options import NO_MODEL
from ecomfs.core.progress import CHECKING, FITTING, LOADING, MEASURING

if TYPE_CHECKING:
    from ecomfs.batch import Gold, Job, RowScorer, Selection
    from ecomfs.batch.feed import Columns
    from ecomfs.core.progress import Phases
    from ecomfs.estimators.multilabel.pipeline import MultiLabelPipeline
    from ecomfs.estimators.taxonomy.pipeline import TaxonomyPipeline
    from ecomfs.fit import Profile
    from ecomfs.io import OutputFormat
    from ecomfs.pipeline import Pipeline
    from ecomfs.task import TaskCard
    from ecomfs.types import Example
    from ecomfs_eval import Predictions


FORMATS = ("csv", "tsv", "jsonl", "parquet", "xlsx")

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="IN.csv …", help="tables to classify, a pattern 'in/*.csv', or - for a pipe"
    ),
]


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Options of the rows to classify and of the result."""

    PANEL: ClassVar[str] = "Rows and results"

    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="result [IN.scored.csv]: .csv, .tsv, .jsonl, .gz and .zst of these, .parquet, "
            ".xlsx; - for standard output; a table sql:URL#TABLE; for several inputs a folder "
            "[scored]",
            rich_help_panel=o.FIRST,
        ),
    ] = None
    form: Annotated[
        str | None,
        typer.Option(
            "--output-format",
            help="format of the result, if its name does not show it: " + ", ".join(FORMATS),
        ),
    ] = None
    replace_table: Annotated[
        bool, typer.Option("--replace-table", help="with -o sql:…: replace an existing table")
    ] = False
    sheet: Annotated[
        list[str] | None,
        typer.Option(help="sheet of the workbooks [the first]; * for all (repeatable)"),
    ] = None
    gold_column: o.GoldColumn = None
    id_column: o.IdColumn = None
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="add a column p_LABEL for every label")
    ] = False
    encoding: Annotated[
        str,
        typer.Option(
            hidden=True, help="encoding of the result: utf-8, or utf-8-sig for spreadsheets"
        ),
    ] = "utf-8"
    limit: o.Limit = None
    sample: Annotated[
        int | None, typer.Option(hidden=True, help="only this many rows, drawn with --seed")
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="only rows that match: 'COLUMN OP VALUE', OP one of = != < <= > >= ~ (repeatable)"
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Options of the runner."""

    PANEL: ClassVar[str] = "Where the model runs"

    runner: Annotated[
        str, typer.Option(hidden=True, help="plain: in this process; ray: on a cluster")
    ] = "plain"
    ray_address: Annotated[
        str | None,
        typer.Option(
            hidden=True,
            help="HOST:PORT of the cluster's head, or auto [one is started here]",
            envvar="RAY_ADDRESS",
        ),
    ] = None
    actors: Annotated[
        int | None,
        typer.Option(
            hidden=True, help="with ray: copies of the model [one per GPU, or per machine]"
        ),
    ] = None
    partition_rows: Annotated[
        int | None, typer.Option(hidden=True, help="with ray: rows per partition [1024]")
    ] = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The inputs and outputs of a run, checked before a model is loaded.

    Attributes:
        pool: the labelled examples.
        jobs: inputs and outputs, each with the columns of the input.
    """

    card: TaskCard
    pool: list[Example]
    selection: Selection
    jobs: list[tuple[Job, Columns]]


def output_format(table: RowOptions) -> OutputFormat | None:
    """The format given by ``--output-format``."""
    from ecomfs.errors import ConfigError

    if table.form is not None and table.form not in FORMATS:
        raise ConfigError(
            f"--output-format {table.form!r}", hint=f"use one of {', '.join(FORMATS)}"
        )
    return cast("OutputFormat | None", table.form)


def jobs_of(sources: list[str], table: RowOptions) -> list[Job]:
    """The inputs, with the sheets of workbooks, and their outputs.

    Raises:
        EcomfsError: a pattern that matches no file, ``--sheet`` without a workbook, or an invalid
            output.
    """
    from ecomfs.batch import find_inputs, name_outputs
    from ecomfs.errors import ConfigError
    from ecomfs.io import is_workbook

    inputs = find_inputs(sources)
    if table.sheet:
        for source in inputs:
            if not is_workbook(source):
                raise ConfigError(
                    f"--sheet with {source}, which is not a workbook or already names a sheet",
                    hint="leave --sheet out, or score the workbooks separately",
                )
        inputs = [f"{source}#{'/'.join(table.sheet)}" for source in inputs]
    return name_outputs(inputs, table.output, output_format(table))


def check(sources: list[str], table: RowOptions, labelled: OptionalExamples) -> Checked:
    """Check files, columns and conditions before a model is loaded."""
    from ecomfs.batch import Condition, Selection, check_paths, find_columns, read_marks
    from ecomfs.errors import ConfigError
    from ecomfs.features import with_decimals
    from ecomfs.io import TableReader, is_workbook

    if table.encoding not in ("utf-8", "utf-8-sig"):
        raise ConfigError(f"--encoding {table.encoding!r}", hint="use utf-8 or utf-8-sig")
    card, pool = labelled.load()
    selection = Selection(
        tuple(Condition.parse(text) for text in table.where or ()),
        table.sample,
        table.limit,
        labelled.seed,
    )
    jobs = jobs_of(sources, table)
    specs = [spec.rendering for spec in card.fields]
    marked = with_decimals(specs, [e.fields for e in pool], strict=False)
    checked = []
    for job in jobs:
        check_paths(job, output_format(table), replace_table=table.replace_table)
        reader = TableReader(job.source, encoding=labelled.input_encoding)
        if is_workbook(job.source) and reader.note:
            say(f"note: {reader.note} (--sheet NAME, or --sheet '*' for all)", file=sys.stderr)
        selection.checked(reader)
        columns = find_columns(
            job.source,
            card,
            fields=labelled.fields,
            id_column=table.id_column,
            gold_column=table.gold_column,
            reader=reader,
        )
        read_marks(columns.fields, card.with_rendering(marked), reader)
        checked.append((job, columns))
    return Checked(card, pool, selection, checked)


RUNNERS = ("plain", "ray")


@dataclass(frozen=True, slots=True)
class RowClassifier:
    """Classifies the rows in this process, or in actors on a Ray cluster.

    Attributes:
        by: the scorer for :func:`ecomfs.batch.score_table`.
        k: demonstrations per prompt.
        spec: spec of the engine.
        systems: function of true labels and a seed to predictions and baselines.
        fitted: the profile with the accuracy of model and experts.
        several: the pipeline of a task with several labels per row, or a hierarchy.
    """

    by: Pipeline | RowScorer
    k: int
    spec: str
    systems: Callable[[Gold, int], dict[str, Predictions]]
    fitted: Profile | None = None
    several: MultiLabelPipeline | TaxonomyPipeline | None = None

    def measure(self, gold: Gold, n_examples: int, seed: int, phases: Phases) -> dict[str, Any]:
        """Print metrics on the rows that have true labels, and return them for ``--json``."""
        from ecomfs.cli.present import metrics_table, note, plain, structured_table
        from ecomfs.evaluation.evaluate import model_adds, unknown_labels

        named = gold.labels
        if self.several is not None:
            named = [n for c in gold.labels if c for n in self.several.card.labels_of(c, c)]
        if unknown := unknown_labels(named, self.by.space):
            note(f"note: {unknown}")
        phases(MEASURING)
        systems = self.systems(gold, seed)
        phases.clear()
        if self.several is not None:
            return {"metrics": structured_table(systems, n_examples, seed)}
        found: dict[str, Any] = {"metrics": metrics_table(systems, n_examples, seed=seed)}
        if line := model_adds(systems, seed=seed):
            plain(line)
            found["model_adds"] = line
        return found


@contextmanager
def row_classifier(
    cluster: RunnerOptions,
    pool: list[Example],
    labelled: OptionalExamples,
    settings: o.Settings,
    phases: Phases,
) -> Iterator[RowClassifier]:
    """Load the model in this process, or in the actors of a cluster."""
    from ecomfs.batch.runner import LocalScorer
    from ecomfs.cli.present import note, profile_of
    from ecomfs.errors import ConfigError
    from ecomfs.fit import Profile
    from ecomfs.pipeline import Pipeline
    from ecomfs.task import load_task

    if cluster.runner not in RUNNERS:
        raise ConfigError(f"--runner {cluster.runner!r}", hint="use plain or ray")
    check_guarantees(settings, labelled)
    if cluster.runner == "plain":
        # The address may come from the environment of the cluster's machines.
        for name, given in (
            ("--actors", cluster.actors),
            ("--partition-rows", cluster.partition_rows),
        ):
            if given is not None:
                raise ConfigError(f"{name} without --runner ray", hint="leave one out")
        clf = fitted_classifier(labelled, settings, pool, phases)
        answers = clf.pipeline_
        known = (answers.k, answers.engine.spec)
        if isinstance(answers, Pipeline):
            measured = partial(systems, answers)
            yield RowClassifier(answers, *known, measured, profile_of(clf))
        else:
            several = partial(_several, answers)
            yield RowClassifier(LocalScorer(answers), *known, several, profile_of(clf), answers)
        return
    card = load_task(labelled.task)
    if card.multi_label or card.hierarchy is not None:
        raise ConfigError(
            f"--runner ray with task {card.name!r}, which has several labels a row or a hierarchy",
            hint="use --runner plain",
        )
    from ecomfs.batch.ray.runner import PARTITION_ROWS, RayScorer
    from ecomfs.engine.factory import is_elsewhere

    # Every actor reads the labelled examples itself, so the version of a pool is known there.
    build = partial(_fitted, labelled, settings)
    phases(f"{LOADING} and {FITTING} in the actors")
    scorer = RayScorer(
        build,
        address=cluster.ray_address or None,
        actors=cluster.actors,
        gpus=0 if is_elsewhere(settings["engine"]) else None,
        partition_rows=cluster.partition_rows or PARTITION_ROWS,
        on_event=note,
    )
    with scorer as by:
        named = settings["profile"]
        profile = None if named is None else Profile.load(named)
        yield RowClassifier(by, by.facts.k, by.facts.spec, partial(by.call, systems), profile)


def _fitted(labelled: OptionalExamples, settings: o.Settings) -> Pipeline:
    """The pipeline of an actor, fitted on examples that it reads itself."""
    from ecomfs.core.progress import Phases

    _, pool = labelled.load()
    return cast("Pipeline", fitted_classifier(labelled, settings, pool, Phases()).pipeline_)


def systems(pipeline: Pipeline, gold: Gold, seed: int) -> dict[str, Predictions]:
    """The model and all baselines on the rows that have a true label."""
    from ecomfs.evaluation.evaluate import systems as with_votes
    from ecomfs.evaluation.trained import trained

    return with_votes(gold, pipeline) | trained(gold, pipeline, seed)


def _several(
    answers: MultiLabelPipeline | TaxonomyPipeline, gold: Gold, seed: int
) -> dict[str, Predictions]:
    from ecomfs.suites.structured import structured_systems

    return structured_systems(gold, answers)


@o.flatten_options
def score(
    ctx: typer.Context,
    sources: Sources,
    labelled: OptionalExamples,
    table: RowOptions,
    settings: o.Answering,
    cluster: RunnerOptions,
    budget_seconds: Annotated[
        float | None,
        typer.Option(
            help="time limit in seconds for the model; it reads uncertain rows first, and the "
            "experts classify the rest"
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="the same limit in prompt tokens")
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="delete the journal of an interrupted run and start again"),
    ] = False,
    keep_journal: Annotated[
        bool, typer.Option("--keep-journal", hidden=True, help="keep OUT.journal after the run")
    ] = False,
) -> None:
    """Classify every row of a table; the result keeps all its columns and its order.

    Guarantees (--precision, …) are fitted in the same run, on leave-one-out readings. ecomfs fit
    saves the whole fit for --profile.

    The same command resumes a run that was killed or stopped (Ctrl-C). Exit codes: 0 done
    (failed rows are in OUT.failed.csv), 2 an error, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    # Shown before the slow imports.
    phases = show_phases(CHECKING)
    from ecomfs.batch import Budget, RunLog, score_table
    from ecomfs.cli.present import counts, note, stopping, summary, without_model
    from ecomfs.engine.shared import canary_reports
    from ecomfs.errors import StoppedError

    budget = Budget(budget_seconds, budget_tokens)
    known = check(sources, table, labelled)
    n_examples = len(known.pool)
    tables: list[dict[str, object]] = []

    def stop(number: int) -> None:
        phases.clear()
        stopping(number)

    try:
        with row_classifier(cluster, known.pool, labelled, settings, phases) as answerer:
            log = RunLog.start(ctx.obj or ["score", *sources])
            log.engine(answerer.spec, [r.as_dict() for r in canary_reports(answerer.spec)])
            with log.ending():
                for job, _ in known.jobs:
                    result = score_table(
                        job.source,
                        job.output,
                        answerer.by,
                        fields=labelled.fields,
                        id_column=table.id_column,
                        gold_column=table.gold_column,
                        probabilities=table.probabilities,
                        input_encoding=labelled.input_encoding,
                        encoding="utf-8-sig" if table.encoding == "utf-8-sig" else "utf-8",
                        form=output_format(table),
                        replace_table=table.replace_table,
                        selection=known.selection,
                        budget=budget,
                        restart=restart,
                        keep_journal=keep_journal,
                        progress=phases,
                        on_progress=log.progress,
                        on_stop=stop,
                        on_identity=partial(log.input, job.output),
                    )
                    log.output(job.output, result.tally)
                    phases.clear()
                    summary(result, n_examples, answerer.k, answerer.spec)
                    tables.append({"input": job.source, **counts(result)})
                    if answerer.spec == NO_MODEL:
                        note(without_model(answerer.fitted, result.tally.rows))
                    if result.gold is not None:
                        tables[-1] |= answerer.measure(
                            result.gold, n_examples, labelled.seed, phases
                        )
                log.time(phases.finish(), phases.seconds)
                note(phases.text())
                set_result(
                    {
                        "tables": tables,
                        "examples": n_examples,
                        "k": answerer.k,
                        "engine": answerer.spec,
                        "seconds": phases.seconds,
                    }
                )
    except StoppedError as error:
        phases.clear()
        stopping(None, error)
        raise typer.Exit(128 + error.signal) from None
