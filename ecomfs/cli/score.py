"""``ecomfs score``: classify every row of a table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o

if TYPE_CHECKING:
    from ecomfs.batch import Tally


def score(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IN.csv …", help="tables to classify, or a pattern: 'in/*.csv'"),
    ],
    task: o.Task,
    examples: o.MaybeExamples = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="result [IN.scored.csv]: .csv, .tsv, packed (.gz, .zst), .parquet; for several "
            "inputs a folder [scored]",
        ),
    ] = None,
    engine: o.Engine = "auto",
    k: o.K = None,
    embedder: o.Embedder = "auto",
    language: o.Language = None,
    template: o.Template = None,
    readout: o.Readout = "auto",
    strategy: o.Strategy = "balanced",
    similarity: o.Similarity = "auto",
    sharing: o.Sharing = "none",
    shortlist: o.Shortlist = None,
    passes: o.Passes = 1,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    id_column: o.IdColumn = None,
    gold: Annotated[
        str | None, typer.Option(help="column of IN with true labels: prints metrics")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="add a column p_<label> for every label")
    ] = False,
    encoding: Annotated[
        str, typer.Option(help="of the result: utf-8, or utf-8-sig for spreadsheets")
    ] = "utf-8",
    calibrate: o.Calibrate = 48,
    profile: o.Profile = None,
    fusion: o.Fusion = True,
    pool_name: o.PoolName = "default",
    shots: o.Shots = None,
    synthetic: o.Synthetic = True,
    seed: o.Seed = 0,
    limit: o.Limit = None,
    sample: Annotated[
        int | None, typer.Option(help="only this many rows, drawn with --seed")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="only rows that fit: 'COLUMN OP VALUE', OP one of = != < <= > >= ~ (repeatable)"
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="drop what an interrupted run has, and begin anew")
    ] = False,
    keep_journal: Annotated[
        bool, typer.Option("--keep-journal", help="leave OUT.journal when all is done")
    ] = False,
    runner: Annotated[
        str, typer.Option(help="who asks the model: plain (this process), or ray (a cluster)")
    ] = "plain",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the cluster's head, or auto [one is started here]",
            envvar="RAY_ADDRESS",
        ),
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(help="with ray: copies of the model [one a GPU, or one a machine]"),
    ] = None,
    partition_rows: Annotated[
        int | None, typer.Option(help="with ray: rows that an actor is handed at a time [1024]")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar")] = False,
) -> None:
    """Classify every row of a table; the result keeps all its columns and its order.

    A run that is killed or stopped (Ctrl-C) goes on with the same command. Exit codes: 0 done
    (failed rows are in OUT.failed.csv), 2 an error, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    options = dict(locals())
    from ecomfs.batch import score_table
    from ecomfs.batch.runlog import RunLog
    from ecomfs.cli.answering import answering
    from ecomfs.cli.present import metrics_table, progress, stopping, summary
    from ecomfs.cli.scoring import check
    from ecomfs.engine.shared import canary_reports
    from ecomfs.errors import ConfigError, StoppedError

    if encoding not in ("utf-8", "utf-8-sig"):
        raise ConfigError(f"--encoding {encoding!r}", hint="use utf-8 or utf-8-sig")
    known = check(options)
    n_examples = len(known.pool)
    try:
        with answering(options, known) as answerer:
            log = RunLog.start(ctx.obj or ["score", *sources])
            log.engine(answerer.spec, [r.as_dict() for r in canary_reports(answerer.spec)])
            with log.ending():
                for job in known.jobs:
                    with progress(job.source, quiet=quiet) as report:

                        def tell(tally: Tally, report: Callable[[Tally], None] = report) -> None:
                            report(tally)
                            log.progress(tally)

                        result = score_table(
                            job.source,
                            job.output,
                            answerer.by,
                            fields=known.fields,
                            id_column=id_column,
                            gold_column=gold,
                            probabilities=probabilities,
                            encoding="utf-8-sig" if encoding == "utf-8-sig" else "utf-8",
                            selection=known.selection,
                            restart=restart,
                            keep_journal=keep_journal,
                            on_progress=tell,
                            on_stop=stopping,
                            on_identity=partial(log.input, job.output),
                        )
                    log.output(job.output, result.tally)
                    summary(result, n_examples, answerer.k, answerer.spec)
                    if result.gold is not None:
                        metrics_table(answerer.systems(result.gold, seed), n_examples, seed=seed)
    except StoppedError as error:
        stopping(None, error)
        raise typer.Exit(128 + error.signal) from None
