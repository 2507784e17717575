"""``ecomfs ab``: which variant is better?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ecomfs.cli import options as o
from ecomfs.cli import progress
from ecomfs.cli.json_result import arguments, set_result
from ecomfs.cli.labelled import Labelled
from ecomfs.core.options import DEFAULTS
from ecomfs.core.progress import CHECKING, LOADING, Phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecomfs.ab import ComparedRows, Design, Outcome, Variant
    from ecomfs.types import Example
    from ecomfs_eval.sequential import SequentialState

T = TypeVar("T")


@o.flatten_options
def ab(
    settings: o.Comparing,
    templates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A B …]",
            help="templates: a version (v1), a .jinja file, or en=A.jinja,zh=B.jinja; "
            "the first is the one in use",
            show_default=False,
        ),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", "-t", help="task [of the log]")] = None,
    examples: o.MaybeExamplesOption = None,
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
    label_column: o.LabelColumn = None,
    pool_label_column: Annotated[
        str | None,
        typer.Option(hidden=True, help="column of the pool that holds the label [--label-column]"),
    ] = None,
    input_encoding: o.InputEncoding = None,
    field: o.Fields = None,
    id_column: o.IdColumn = None,
    pool_name: o.PoolName = o.POOL_NAME,
    shots: o.ShotsOption = None,
    synthetic: o.Synthetic = True,
    seed: o.Seed = DEFAULTS["seed"],
    limit: o.Limit = None,
    primary: Annotated[
        str, typer.Option(help="metric that decides: accuracy, f1_macro, roc_auc, log_loss, …")
    ] = "accuracy",
    margin: Annotated[
        float | None,
        typer.Option(
            help="smallest difference that matters, in the metric's unit (0.01: one point)"
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(hidden=True, help="rate of false decisions")] = 0.05,
    sequential: Annotated[
        bool, typer.Option("--sequential", help="test as rows come, and stop at a decision")
    ] = False,
    every: Annotated[
        int, typer.Option(hidden=True, help="rows between tests of --sequential")
    ] = 50,
    slices: o.Slices = None,
    failed_as_wrong: Annotated[
        bool,
        typer.Option(
            "--failed-as-wrong",
            hidden=True,
            help="rows on which a variant failed count as wrong; else they are left out",
        ),
    ] = False,
    from_log: Annotated[
        Path | None,
        typer.Option(help="compare the variants of a live split: the file of ecomfs serve --log"),
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
            help="write texts of rows and prompts into the reports",
        ),
    ] = True,
    show: Annotated[
        int, typer.Option(hidden=True, help="most rows to list whose prediction changed")
    ] = 20,
    quiet: o.Quiet = False,
) -> None:
    """Score variants on the same rows, or on the arms of a live split, and test whether they
    differ."""
    phases = progress.show(CHECKING, quiet=quiet)
    from ecomfs.ab import Design, check_page, check_targets, write_pages
    from ecomfs.cli.present import note
    from ecomfs.cli.present_ab import print_outcome
    from ecomfs.evaluation.source import numbers_source

    check_targets(output, folder=report)
    check_page(output, report_language)
    design = Design(
        primary=primary,
        margin=margin,
        alpha=alpha,
        sequential=sequential,
        every=every,
        failed_as_wrong=failed_as_wrong,
        seed=seed,
    )
    if from_log is not None:
        _refuse(
            "with --from-log",
            templates=templates,
            variant=variant,
            data=data,
            examples=examples,
            sequential=sequential or None,
            limit=limit,
        )
        found = _from_log(
            from_log,
            _needed(gold, "--gold"),
            task,
            design,
            id_column,
            label_column,
            slices or (),
            input_encoding,
        )
        title = f"Variants in use: {found.about['task']}"
    else:
        _refuse("without --from-log", gold=gold)
        from ecomfs.ab import check_variants, read_test_rows, read_variants

        variants = read_variants(templates or (), variant or ())
        labelled = Labelled(
            task=_needed(task, "--task"),
            examples=_needed(examples, "--examples"),
            pool_name=pool_name,
            label_column=pool_label_column or label_column,
            field=field,
            synthetic=synthetic,
            seed=seed,
            input_encoding=input_encoding,
        )
        table = _needed(data, "--data")
        name, fields = labelled.task, labelled.fields
        card, full = labelled.load()
        test = read_test_rows(
            table,
            card,
            full,
            fields=fields,
            label_column=label_column,
            id_column=id_column,
            slice_columns=slices or (),
            limit=limit,
            encoding=input_encoding,
        )
        common = {**settings, "seed": seed}
        check_variants(variants, common, card, name)
        if not quiet:
            phases.clear()
            _print_plan(len(test), len(variants) - 1, design)
        pool = full if shots is None else _sample(full, shots, seed)
        found = _run(
            variants, common, name, pool, test, design, texts=texts, phases=phases, quiet=quiet
        )
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
    quiet: bool,
) -> Outcome:
    from ecomfs.ab import fit_variants, run
    from ecomfs.cli.console import Console
    from ecomfs.cli.present import note, notes_of

    phases(LOADING)
    contenders = fit_variants(variants, common, task, pool, progress=phases)
    phases.clear()
    # Variants share their examples, and so most of their notes.
    for line in dict.fromkeys(line for c in contenders for line in notes_of(c.classifier)):
        note(line)
    console = Console(stderr=True)

    def look(states: list[SequentialState]) -> None:
        if not quiet:
            phases.clear()
            for variant, state in zip(variants[1:], states, strict=True):
                console.print(state.text(variants[0].name, variant.name), highlight=False)

    return run(contenders, test, design, texts=texts, progress=phases, on_look=look)


def _from_log(
    path: Path,
    gold: Path,
    task: str | None,
    design: Design,
    id_column: str | None,
    label_column: str | None,
    slices: Sequence[str],
    encoding: str | None,
) -> Outcome:
    from ecomfs.ab import compare_log, read_gold
    from ecomfs.task import load_task
    from ecomfs.traffic import read_log

    log = read_log(path)
    card = load_task(task or log.starts[-1].task)
    labels = read_gold(
        gold,
        card,
        id_column=id_column,
        label_column=label_column,
        slice_columns=slices,
        encoding=encoding,
    )
    return compare_log(log, labels, card, design, where=gold.name)


def _print_plan(rows: int, challengers: int, design: Design) -> None:
    from ecomfs.cli.present import note

    text = design.plan(rows, challengers).text()
    if design.sequential:
        text += "\nA sequential test may stop much earlier, and needs more rows when it does not."
    note(text)


def _sample(pool: list[Example], shots: int, seed: int) -> list[Example]:
    from ecomfs.pool import sample_examples

    return sample_examples(pool, shots, seed)


def _needed(value: T | None, option: str) -> T:
    from ecomfs.errors import ConfigError

    if value is None:
        raise ConfigError(f"{option} is missing", hint="see ecomfs ab --help")
    return value


def _refuse(when: str, **options: object) -> None:
    """Refuse options that mean nothing in this mode."""
    from ecomfs.errors import ConfigError

    for name, value in options.items():
        if value:
            raise ConfigError(f"{name} {when}", hint="leave one of the two out")
