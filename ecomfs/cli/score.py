"""``ecomfs score``: classify every row of a table."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.cli.labelled import MaybeLabelled
from ecomfs.cli.progress import show
from ecomfs.cli.scoring import Cluster, RowOptions, Sources, check, output_format, row_classifier
from ecomfs.core.options import NO_MODEL
from ecomfs.core.progress import CHECKING, MEASURING


@o.flatten_options
def score(
    ctx: typer.Context,
    sources: Sources,
    labelled: MaybeLabelled,
    table: RowOptions,
    settings: o.Answering,
    cluster: Cluster,
    budget_seconds: Annotated[
        float | None,
        typer.Option(
            help="most seconds that are spent on reading a table, doubtful rows first; the experts "
            "answer the rest"
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(help="the same for prompt tokens that the model reads"),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="drop the journal of an interrupted run and start again"),
    ] = False,
    keep_journal: Annotated[
        bool, typer.Option("--keep-journal", hidden=True, help="keep OUT.journal after the run")
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Classify every row of a table; the result keeps all its columns and its order.

    Guarantees (--precision, …) are fitted in the same run, on examples that are read
    leave-one-out. ecomfs fit saves them with everything else that it finds, for --profile.

    The same command resumes a run that was killed or stopped (Ctrl-C). Exit codes: 0 done
    (failed rows are in OUT.failed.csv), 2 an error, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    # Shown before the slow imports.
    phases = show(CHECKING, quiet=quiet)
    from ecomfs.batch import Budget, RunLog, score_table
    from ecomfs.cli.present import (
        counts,
        note,
        stopping,
        summary,
        without_model,
    )
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
                for job in known.jobs:
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
                        phases(MEASURING)
                        found = answerer.measure(result.gold, n_examples, labelled.seed, phases)
                        if line := found.pop("model_adds", None):
                            tables[-1]["model_adds"] = line
                        tables[-1]["metrics"] = found
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
