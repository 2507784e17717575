"""``ecomfs ab``: compare variants of a classifier."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import OptionalExamples
from ecomfs.cli.json_result import arguments, set_result
from ecomfs.cli.terminal import is_quiet, show_phases
from ecomfs.core.progress import CHECKING, LOADING, Phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecomfs.ab import ComparedRows, Design, Outcome, Variant
    from ecomfs.types import Example
    from ecomfs_eval.sequential import SequentialState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Examples(OptionalExamples):
    """The task and its labelled examples, unless a log has them."""

    task: Annotated[str, typer.Option("--task", "-t", help="task [of the log]")] = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class _Design:
    """Options of the comparison."""

    primary: Annotated[
        str, typer.Option(help="metric that decides: accuracy, f1_macro, roc_auc, log_loss, …")
    ] = "accuracy"
    margin: Annotated[
        float | None,
        typer.Option(
            help="smallest difference that matters, in the metric's unit (0.01: one point)"
        ),
    ] = None
    alpha: Annotated[float, typer.Option(hidden=True, help="rate of false decisions")] = 0.05
    sequential: Annotated[
        bool, typer.Option("--sequential", help="test while rows are read; stop at a decision")
    ] = False
    every: Annotated[int, typer.Option(hidden=True, help="rows between tests of --sequential")] = 50
    failed_as_wrong: Annotated[
        bool,
        typer.Option(
            "--failed-as-wrong",
            hidden=True,
            help="rows on which a variant failed count as wrong; else they are left out",
        ),
    ] = False


@o.flatten_options
def ab(
    settings: o.Comparing,
    labelled: _Examples,
    how: _Design,
    templates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A B …]",
            help="templates: a version (v1), a .jinja file, or en=A.jinja,zh=B.jinja; "
            "the first is the one in use",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="table of rows with true labels")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help='"name: k=4 template=v2 engine=…", any option of the classifier; or a .yaml file '
            "that maps names to options (repeatable)",
        ),
    ] = None,
    pool_label_column: Annotated[
        str | None,
        typer.Option(hidden=True, help="column of the pool that holds the label [--label-column]"),
    ] = None,
    id_column: o.IdColumn = None,
    limit: o.Limit = None,
    slices: o.Slices = None,
    from_log: Annotated[
        Path | None,
        typer.Option(help="compare the variants of live traffic: the file of ecomfs serve --log"),
    ] = None,
    gold: Annotated[
        Path | None, typer.Option(help="with --from-log: table of ids and true labels")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write the report here (.html, .md, or .json)"),
    ] = None,
    report: o.ReportFolder = None,
    report_language: o.ReportLanguage = "en",
    texts: Annotated[
        bool,
        typer.Option(
            "--texts/--no-texts",
            hidden=True,
            help="include texts of rows and prompts in the reports",
        ),
    ] = True,
    show: Annotated[
        int, typer.Option(hidden=True, help="most rows to list whose prediction changed")
    ] = 20,
) -> None:
    """Compare variants on the same rows, or on split live traffic, and test whether they differ."""
    phases = show_phases(CHECKING)
    from ecomfs.ab import (
        Design,
        check_page,
        check_targets,
        check_variants,
        compare_log,
        read_gold,
        read_test_rows,
        read_variants,
        write_pages,
    )
    from ecomfs.cli.present import note
    from ecomfs.cli.present_ab import print_outcome
    from ecomfs.evaluation.source import numbers_source
    from ecomfs.pool import sample_examples
    from ecomfs.task import load_task
    from ecomfs.traffic import read_log

    check_targets(output, folder=report)
    check_page(output, report_language)
    task, examples = labelled.task, labelled.examples
    columns: dict[str, Any] = {"id_column": id_column, "label_column": labelled.label_column}
    columns |= {"slice_columns": slices or (), "encoding": labelled.input_encoding}
    design = Design(**asdict(how), seed=labelled.seed)
    if from_log is not None:
        _refuse(
            "with --from-log",
            templates=templates,
            variant=variant,
            data=data,
            examples=examples,
            sequential=how.sequential,
            limit=limit,
        )
        truth = _needed(gold, "--gold")
        traffic = read_log(from_log)
        card = load_task(task or traffic.starts[-1].task)
        labels = read_gold(truth, card, **columns)
        found = compare_log(traffic, labels, card, design, where=truth.name)
        title = f"Variants in use: {found.about['task']}"
    else:
        _refuse("without --from-log", gold=gold)
        variants = read_variants(templates or (), variant or ())
        _needed(task, "--task")
        _needed(examples, "--examples")
        table = _needed(data, "--data")
        own = pool_label_column or labelled.label_column
        card, pool = replace(labelled, label_column=own, shots=None).load()
        test = read_test_rows(table, card, pool, fields=labelled.fields, limit=limit, **columns)
        common = {**settings, "seed": labelled.seed}
        check_variants(variants, common, card, task)
        if not is_quiet():
            phases.clear()
            _print_plan(len(test), len(variants) - 1, design)
        if labelled.shots is not None:
            pool = sample_examples(pool, labelled.shots, labelled.seed)
        found = _run(variants, common, task, pool, test, design, texts=texts, phases=phases)
        title = f"A/B: {card.name}, {table.name}"
    set_result(found.to_dict)
    pool_of = [examples] if isinstance(examples, str | Path) else examples or ()
    read = [*pool_of, data, from_log, gold]
    written = write_pages(
        found,
        page=output,
        folder=report,
        title=title,
        language=report_language,
        how=design.how,
        source=numbers_source(arguments(), [each for each in read if each is not None]),
    )
    phases.clear()
    print_outcome(found, show, written)
    note(phases.text())


def _run(
    variants: Sequence[Variant],
    common: dict[str, Any],
    task: str,
    pool: list[Example],
    test: ComparedRows,
    design: Design,
    *,
    texts: bool,
    phases: Phases,
) -> Outcome:
    from ecomfs.ab import fit_variants, run
    from ecomfs.cli.present import Console, note, notes_of

    phases(LOADING)
    contenders = fit_variants(variants, common, task, pool, progress=phases)
    phases.clear()
    # Variants share their examples, so most of their notes are equal.
    for line in dict.fromkeys(line for c in contenders for line in notes_of(c.classifier)):
        note(line)
    console = Console(stderr=True)

    def look(states: list[SequentialState]) -> None:
        if not is_quiet():
            phases.clear()
            for variant, state in zip(variants[1:], states, strict=True):
                console.print(state.text(variants[0].name, variant.name), highlight=False)

    return run(contenders, test, design, texts=texts, progress=phases, on_look=look)


def _print_plan(rows: int, challengers: int, design: Design) -> None:
    from ecomfs.cli.present import note

    text = design.plan(rows, challengers).text()
    if design.sequential:
        text += "\nA sequential test may stop much earlier, and needs more rows when it does not."
    note(text)


def _needed(value: T | None, option: str) -> T:
    from ecomfs.errors import ConfigError

    if value is None:
        raise ConfigError(f"{option} is missing", hint="see ecomfs ab --help")
    return value


def _refuse(when: str, **options: object) -> None:
    """Refuse options that have no effect in this mode."""
    from ecomfs.errors import ConfigError

    for name, value in options.items():
        if value:
            raise ConfigError(f"{name} {when}", hint="leave one of the two out")
