"""``ecomfs score``: classify every row of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecomfs.cli import options as o


def score(
    source: Annotated[Path, typer.Argument(metavar="IN.csv", help="table to classify")],
    task: o.Task,
    examples: o.MaybeExamples = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="result table [IN.scored.csv]")
    ] = None,
    engine: o.Engine = "auto",
    k: o.K = None,
    embedder: o.Embedder = "auto",
    language: o.Language = None,
    template: o.Template = None,
    readout: o.Readout = "auto",
    strategy: o.Strategy = "balanced",
    similarity: o.Similarity = "auto",
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
    pool_name: o.PoolName = "default",
    shots: o.Shots = None,
    synthetic: o.Synthetic = True,
    seed: o.Seed = 0,
    limit: o.Limit = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar")] = False,
) -> None:
    """Classify every row of a table; the result keeps all its columns and its order."""
    from ecomfs.batch import find_columns, score_table
    from ecomfs.batch.evaluate import systems
    from ecomfs.cli.present import metrics_table, progress, summary
    from ecomfs.errors import ConfigError

    if encoding not in ("utf-8", "utf-8-sig"):
        raise ConfigError(f"--encoding {encoding!r}", hint="use utf-8 or utf-8-sig")
    fields = o.parse_fields(field)
    card, pool = o.load_pool(
        task, examples, fields, label_column, None, shots, seed, pool_name, synthetic
    )
    # A model takes a while to load; a wrong column should not wait for it.
    find_columns(source, card, fields=fields, id_column=id_column, gold_column=gold)
    target = output or source.with_name(f"{source.stem}.scored.csv")
    clf = o.classifier(
        task, engine=engine, k=k, embedder=embedder, language=language, template=template,
        readout=readout, strategy=strategy, similarity=similarity, seed=seed, fields=fields,
        calibration_size=calibrate,
    )  # fmt: skip
    with o.to_fit(examples, pool, shots, pool_name, synthetic) as labelled:
        clf.fit(labelled)
    with progress(source.name, quiet=quiet) as report:
        result = score_table(
            source,
            target,
            clf.pipeline_,
            fields=fields,
            id_column=id_column,
            gold_column=gold,
            probabilities=probabilities,
            encoding="utf-8-sig" if encoding == "utf-8-sig" else "utf-8",
            limit=limit,
            on_progress=report,
        )
    summary(result, clf.pipeline_, len(pool))
    if result.gold is not None:
        metrics_table(systems(result.gold, clf.pipeline_, name="LLM"), len(pool), seed=seed)
