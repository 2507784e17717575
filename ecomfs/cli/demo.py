"""``ecomfs demo``: score the sample tables with a real model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import OptionalExamples, classifier
from ecomfs.cli.json_result import set_result
from ecomfs.cli.score import RowClassifier, systems
from ecomfs.cli.terminal import show_phases
from ecomfs.core.options import DEFAULTS
from ecomfs.core.progress import CHECKING, LOADING

_TASKS = ("review_sentiment", "product_category")


def demo(
    samples: Annotated[Path, typer.Option(help="folder of the sample tables")] = Path("samples"),
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for results")] = Path(
        "out"
    ),
    engine: o.EngineOption = DEFAULTS["engine"],
    k: Annotated[int, typer.Option(help="demonstrations per prompt; more take longer")] = 4,
) -> None:
    """Score the sample reviews and product titles, and print the metrics."""
    phases = show_phases(CHECKING)
    from ecomfs.batch import read_examples, score_table
    from ecomfs.cli.present import Console, counts, note, summary
    from ecomfs.errors import MissingFileError, OutputError
    from ecomfs.task import load_task

    if not samples.is_dir():
        raise MissingFileError(
            f"{samples}: no such folder", hint="run it in a checkout, or name --samples"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror}") from error
    console = Console()
    tables: dict[str, dict[str, object]] = {}
    for task in _TASKS:
        card = load_task(task)
        pool = read_examples(samples / task / "pool.csv", card)
        phases(LOADING)
        clf = classifier(OptionalExamples(task=task), o.Settings(engine=engine, k=k))
        clf.fit(pool, progress=phases)
        phases.clear()
        pipeline = clf.pipeline_
        answerer = RowClassifier(
            pipeline, pipeline.k, pipeline.engine.spec, partial(systems, pipeline)
        )
        console.print(f"\n[bold]{task}[/]: {card.description.en}")
        result = score_table(
            samples / task / "test.csv",
            output / f"{task}.csv",
            pipeline,
            gold_column="label",
            probabilities=True,
            restart=True,  # the demo is short; an old journal is dropped
            progress=phases,
        )
        phases.clear()
        summary(result, len(pool), answerer.k, answerer.spec)
        tables[task] = counts(result)
        if result.gold is not None:
            tables[task] |= answerer.measure(result.gold, len(pool), 0, phases)
    note(phases.text())
    set_result({"tasks": tables, "seconds": phases.seconds})
