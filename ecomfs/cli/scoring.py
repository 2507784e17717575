"""What ``score`` and ``plan`` have in common: from options to inputs, outputs and a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from ecomfs.cli import groups as g
from ecomfs.cli import options as o
from ecomfs.core.progress import LOADING, Phases

if TYPE_CHECKING:
    from ecomfs.batch import Job, Selection
    from ecomfs.pipeline import Pipeline
    from ecomfs.task import TaskCard
    from ecomfs.types import Example

Sources = Annotated[
    list[str],
    typer.Argument(metavar="IN.csv …", help="tables to classify, or a pattern: 'in/*.csv'"),
]


@dataclass(frozen=True, slots=True)
class Table:
    """Which rows are classified, and what the result looks like."""

    PANEL: ClassVar[str] = "Rows and results"

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="result [IN.scored.csv]: .csv, .tsv, packed (.gz, .zst), .parquet; for several "
            "inputs a folder [scored]",
            rich_help_panel=o.FIRST,
        ),
    ] = None
    gold: Annotated[
        str | None, typer.Option(help="column of IN with true labels: prints metrics")
    ] = None
    id_column: o.IdColumn = None
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="add a column p_LABEL for every label")
    ] = False
    encoding: Annotated[
        str, typer.Option(help="of the result: utf-8, or utf-8-sig for spreadsheets")
    ] = "utf-8"
    limit: o.Limit = None
    sample: Annotated[int | None, typer.Option(help="only this many rows, drawn with --seed")] = (
        None
    )
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="only rows that fit: 'COLUMN OP VALUE', OP one of = != < <= > >= ~ (repeatable)"
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Who asks the model."""

    PANEL: ClassVar[str] = "Where the model runs"

    runner: Annotated[
        str, typer.Option(help="who asks the model: plain (this process), or ray (a cluster)")
    ] = "plain"
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the cluster's head, or auto [one is started here]",
            envvar="RAY_ADDRESS",
        ),
    ] = None
    actors: Annotated[
        int | None,
        typer.Option(help="with ray: copies of the model [one a GPU, or one a machine]"),
    ] = None
    partition_rows: Annotated[
        int | None, typer.Option(help="with ray: rows that an actor is handed at a time [1024]")
    ] = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known before a model is loaded.

    Attributes:
        pool: the labelled examples.
        jobs: inputs and outputs.
    """

    card: TaskCard
    pool: list[Example]
    selection: Selection
    jobs: list[Job]


def check(sources: list[str], table: Table, labelled: g.MaybeLabelled) -> Checked:
    """Check files, columns and conditions: a model takes a while to load, and a wrong column
    should not wait for it.

    Raises:
        EcomfsError: anything that the options get wrong.
    """
    from ecomfs.batch import (
        Condition,
        Selection,
        check_paths,
        find_columns,
        find_inputs,
        name_outputs,
        read_marks,
    )
    from ecomfs.errors import ConfigError
    from ecomfs.features import with_decimals
    from ecomfs.io import TableReader

    if table.encoding not in ("utf-8", "utf-8-sig"):
        raise ConfigError(f"--encoding {table.encoding!r}", hint="use utf-8 or utf-8-sig")
    card, pool = labelled.load()
    selection = Selection(
        tuple(Condition.parse(text) for text in table.where or ()),
        table.sample,
        table.limit,
        labelled.seed,
    )
    jobs = name_outputs(find_inputs(sources), table.output)
    specs = [spec.rendering for spec in card.fields]
    marked = with_decimals(specs, [e.fields for e in pool], strict=False)
    for job in jobs:
        check_paths(job.source, job.output)
        reader = TableReader(job.source, encoding=labelled.input_encoding)
        selection.checked(reader)
        columns = find_columns(
            job.source,
            card,
            fields=labelled.fields,
            id_column=table.id_column,
            gold_column=table.gold,
            reader=reader,
        )
        read_marks(columns.fields, card.with_rendering(marked), reader)
    return Checked(card, pool, selection, jobs)


def fitted(
    labelled: g.MaybeLabelled,
    reading: g.Reading,
    fitting: g.Fitting,
    promises: g.Promises,
    pool: list[Example] | None = None,
    phases: Phases | None = None,
) -> Pipeline:
    """Load the model and fit it on the labelled examples; say what of the promises can be kept.

    Args:
        pool: the examples, when they are read already.
        phases: are told how far it is; ``None``: nobody is.

    Raises:
        EcomfsError: anything that the options get wrong.
    """
    promises.check(labelled, fitting)
    if pool is None:
        _, pool = labelled.load()
    phases = phases or Phases()
    phases(LOADING)
    clf = g.classifier(labelled, reading, fitting, promises)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
    phases.clear()
    g.tell(promises, clf)
    return clf.pipeline_


__all__ = ["Checked", "Cluster", "Sources", "Table", "check", "fitted"]
