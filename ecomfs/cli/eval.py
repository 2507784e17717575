"""``ecomfs eval``: score predictions of any system; run and report suites of data sets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import arguments, set_result
from ecomfs.cli.terminal import say, show_phases
from ecomfs.core.options import DEFAULTS, OPTIONS
from ecomfs.core.progress import CHECKING
from ecomfs.errors import ConfigError, InputError
from ecomfs.types import Language

if TYPE_CHECKING:
    import pandas as pd

    from ecomfs.suites.config import Shots
    from ecomfs.task import TaskCard
    from ecomfs_eval import ColumnNames, Predictions
    from ecomfs_eval.board import Board


app = typer.Typer(
    help="Score predictions of any system; run suites of data sets and report them.",
    no_args_is_help=True,
)

Only = Annotated[list[str] | None, typer.Option(help="only this data set or series (repeatable)")]
Results = Annotated[Path, typer.Argument(metavar="RESULTS", help="folder that eval run wrote")]
Resamples = Annotated[int, typer.Option(hidden=True, help="bootstrap resamples", min=100)]
RESAMPLES = 2000
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", help="instead of the usual ones (repeatable)")
]


HINTS = {
    "ColumnNames(id=...), or ColumnNames(id='')": "--id-column, or --id-column ''",
    "ColumnNames(gold=...)": "--gold-column",
    "ColumnNames(predicted=...)": "--predicted-column",
    "set ColumnNames(probability_prefix=...)": "set --prefix",
    "read the file with unknown_predicted='invalid'": "use --invalid",
}
"""Text in hints of the harness → the option of this command."""


@app.command("score")
def score(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="PREDICTIONS",
            help="tables with one prediction per row: id, label (the true one), predicted, and "
            "optionally p_LABEL; several tables must have the same rows",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            "-t",
            help="task with several labels per row, or with a hierarchy of labels",
            rich_help_panel=o.FIRST,
        ),
    ] = None,
    id_column: Annotated[str, typer.Option(help="column with unique ids; '' numbers them")] = "id",
    gold_column: Annotated[
        str | None, typer.Option(help="column with true labels [gold or label]")
    ] = None,
    predicted_column: Annotated[
        str | None, typer.Option(help="column with answers [predicted, prediction, …]")
    ] = None,
    prefix: Annotated[
        str, typer.Option(hidden=True, help="prefix of the columns with probabilities")
    ] = "p_",
    resample: Annotated[
        str | None,
        typer.Option(help="column of the unit that intervals resample, such as the user"),
    ] = None,
    slice_columns: o.Slices = None,
    input_encoding: o.InputEncoding = None,
    positive: Annotated[
        str | None, typer.Option(help="the positive label, for AUC and the like")
    ] = None,
    invalid: Annotated[
        bool,
        typer.Option(
            "--invalid", hidden=True, help="count predictions that are not a label as invalid"
        ),
    ] = False,
    metric: Metrics = None,
    resamples: Resamples = RESAMPLES,
    seed: o.Seed = DEFAULTS["seed"],
    report: o.ReportFolder = None,
    report_language: o.ReportLanguage = "en",
) -> None:
    """Print metrics of the predictions of any system, with intervals; for several systems, also the
    paired differences from the first."""
    from ecomfs.cli.present import metrics_table, note, plain, usual_metrics
    from ecomfs.evaluation.harness import check_metrics, harness_errors
    from ecomfs.evaluation.source import numbers_source
    from ecomfs.task import load_task
    from ecomfs_eval import Bootstrap, ColumnNames, compare_many, get_metric
    from ecomfs_eval.report import build_report, write_figures, write_report

    columns = ColumnNames(
        id=id_column,
        gold=gold_column,
        predicted=predicted_column,
        probability_prefix=prefix,
        group=resample,
        slices=tuple(slice_columns or ()),
    )
    how = Bootstrap(resamples=resamples, seed=seed)
    card = None if task is None else load_task(task)
    if card is not None:
        check_metrics(metric or (), card, "--metric")
    with harness_errors(HINTS):
        systems = _read(files, columns, positive, input_encoding, card, invalid=invalid)
        named = {name: get_metric(name).title for name in metric or ()}
        shown = named or usual_metrics(systems[0].kind)
        found = compare_many(systems, metrics=tuple(shown), how=how) if len(systems) > 1 else None
        scores = metrics_table(
            {p.name: p for p in systems}, None, seed=seed, shown=shown, notes=True
        )
        set_result(
            lambda: {
                "metrics": scores,
                "comparisons": None if found is None else found.to_dict(),
                "report": report,
            }
        )
        for comparison in found.comparisons if found is not None else ():
            plain(comparison.to_text())
        if report is not None:
            page = build_report(
                systems,
                comparisons=found or (),
                title=" · ".join(p.name for p in systems),
                language=_language(report_language),
                how=how,
                source=numbers_source(arguments(), files),
            )
            written = write_report(page, report)
            write_figures(page, report / "figures")
            note(f"wrote {written[0]}")


def _read(
    files: Sequence[str],
    columns: ColumnNames,
    positive: str | None,
    encoding: str | None,
    card: TaskCard | None,
    *,
    invalid: bool,
) -> list[Predictions]:
    from ecomfs_eval.reading import from_frame

    names = [Path(file).stem for file in files]
    if len(set(names)) < len(names):  # run1/predictions.csv and run2/predictions.csv
        names = list(files)
    frames = [_frame(file, encoding) for file in files]
    classes: list[str] = []
    if card is not None and card.multi_label:
        # The probabilities of several labels do not sum to one.
        columns = replace(columns, probability_prefix="")
        frames, columns, classes = _cells(files, frames, columns, card)
    found = [
        from_frame(
            frame,
            columns,
            name=name,
            source=file,
            positive=positive,
            unknown_predicted="invalid" if invalid else "error",
        )
        for file, name, frame in zip(files, names, frames, strict=True)
    ]
    return found if card is None else [_structured(p, card, classes) for p in found]


def _structured(p: Predictions, card: TaskCard, classes: Sequence[str]) -> Predictions:
    """The predictions with the structure of the task's labels."""
    from ecomfs.evaluation.harness import structure_of

    made = structure_of(card, p.labels, classes)
    positive = None if card.multi_label else p.positive
    return replace(p, structure=made, positive=positive)


def _cells(
    files: Sequence[str], frames: Sequence[pd.DataFrame], columns: ColumnNames, card: TaskCard
) -> tuple[list[pd.DataFrame], ColumnNames, list[str]]:
    """The tables, with the labels of each cell in one order and spelling; their columns; and all
    labels. A row without a prediction has an empty cell; ``[]`` is a prediction of no label."""
    from ecomfs.task import Label, LabelSpace, MultiLabelSpace, find_column

    known = LabelSpace([Label(spec.name, spec) for spec in card.labels])
    seen: dict[str, None] = dict.fromkeys(known.names)
    read: list[dict[str, list[tuple[str, ...]]]] = []
    gold = given = ""
    for file, frame in zip(files, frames, strict=True):
        header = [str(name) for name in frame.columns]
        gold = find_column(
            header, columns.gold, ("gold", *card.label_column), file, "--gold-column "
        )
        given = find_column(
            header, columns.predicted, ("predicted", "prediction"), file, "--predicted-column "
        )
        own: dict[str, list[tuple[str, ...]]] = {}
        for column in (gold, given):
            own[column] = []
            for row, cell in enumerate(frame[column], 1):
                where = f"{file}, row {row}, column {column!r}"
                empty = cell is None or cell != cell or not str(cell).strip()
                labels = () if empty else card.labels_of(str(cell), where)
                names = [x if (i := known.index(x)) is None else known.names[i] for x in labels]
                own[column].append(tuple(names))
                seen |= dict.fromkeys(names)
        read.append(own)
    classes = [*known.names, *sorted(set(seen) - set(known.names))]
    space = MultiLabelSpace([Label(name) for name in classes], card.label_separator or "")
    made = []
    for frame, own in zip(frames, read, strict=True):
        frame = frame.copy()
        for column, rows in own.items():
            cells = zip(rows, frame[column], strict=True)
            frame[column] = [
                "" if not labels and not str(cell or "").strip() else space.true_label(list(labels))
                for labels, cell in cells
            ]
        made.append(frame)
    return made, replace(columns, gold=gold, predicted=given), classes


def _frame(file: str, encoding: str | None) -> pd.DataFrame:
    """Read a table like other commands do, but a row that cannot be read is an error."""
    from ecomfs.io import plain_cell, read_frame, text_encoding

    frame = read_frame(file, encoding=text_encoding(file, encoding))
    for error in frame.errors.values():
        raise InputError(f"{file}: {error}", hint="correct that line, and run the command again")
    if "predicted" in frame.data.columns:  # ecomfs score marks what a spreadsheet would run
        frame.data["predicted"] = [plain_cell(str(v)) for v in frame.data["predicted"]]
    return frame.data


def _language(language: str) -> Language:
    if language in get_args(Language):
        return cast("Language", language)
    raise ConfigError(f"--report-language {language!r}", hint="use en or zh")


@app.command("list")
def list_suites() -> None:
    """List the included suites."""
    from ecomfs.cli.present import show_table
    from ecomfs.suites import available_suites, load_suite

    suites = {name: load_suite(path) for name, path in available_suites().items()}
    found = [
        {
            "name": name,
            "title": suite.title,
            "data_sets": len(suite.datasets),
            "shots": suite.shots,
            "seeds": suite.seeds,
        }
        for name, suite in suites.items()
    ]
    set_result({"suites": found})
    show_table(
        ("suite", "data sets", "shots", "seeds", "description"),
        (
            (
                name,
                str(len(suite.datasets)),
                *(" ".join(map(str, each)) for each in (suite.shots, suite.seeds)),
                suite.title,
            )
            for name, suite in suites.items()
        ),
    )


@app.command("run")
def run(
    suite: Annotated[str, typer.Argument(help="a YAML file, or the name of an included suite")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder of results [results/SUITE]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="folder of the data sets", envvar="ECOMFS_DATA")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="engine instead of the suite's", envvar=OPTIONS["engine"].env)
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            hidden=True, help="embedder instead of the suite's", envvar=OPTIONS["embedder"].env
        ),
    ] = None,
    only: Only = None,
    shots: Annotated[
        list[str] | None, typer.Option(help="only this label budget of the suite (repeatable)")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(hidden=True, help="only this seed of the suite (repeatable)")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="most test rows per data set, for a quick run", min=1)
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="run cells again whose inputs or options changed")
    ] = False,
) -> None:
    """Run the cells of a suite that are not done yet; the same command resumes a run."""
    phases = show_phases(CHECKING)
    from ecomfs.cli.present import note
    from ecomfs.suites import load_suite, run_suite

    chosen = load_suite(suite)
    target = output or Path("results") / chosen.name
    outcome = run_suite(
        chosen,
        target,
        data=data,
        engine=engine,
        embedder=embedder,
        only=only or (),
        shots=[_shots(s) for s in shots or ()],
        seeds=seed or (),
        rows=limit,
        redo=redo,
        progress=phases,
    )
    phases.clear()
    set_result(
        {
            "output": target,
            "run": len(outcome.run),
            "kept": len(outcome.kept),
            "failed": [{"cell": cell.title, "error": str(e)} for cell, e in outcome.failed],
        }
    )
    kept = f", {len(outcome.kept)} were done" if outcome.kept else ""
    note(
        f"{len(outcome.run)} cells run{kept} in {phases.finish():.1f} s · wrote {target} · "
        f"ecomfs eval report {target}"
    )
    for cell, error in outcome.failed:
        say(f"error: {cell.title}: {error}", file=sys.stderr)
    if outcome.failed:
        raise typer.Exit(1)


@app.command("report")
def report(
    results: Results,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder of the files [RESULTS/report]")
    ] = None,
    only: Only = None,
    main: Annotated[
        str | None, typer.Option(help="the system that the others are compared with [the suite's]")
    ] = None,
    metric: Metrics = None,
    resamples: Resamples = RESAMPLES,
    seed: o.Seed = DEFAULTS["seed"],
    details: Annotated[
        bool,
        typer.Option("--details", help="also a full report of the first seed of each data set"),
    ] = False,
    report_language: Annotated[str, typer.Option(help="words of the report: en, zh")] = "en",
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="also log to this MLflow server or database")
    ] = None,
) -> None:
    """Print the tables of a suite's results, and write them as HTML, Markdown and JSON."""
    from ecomfs.cli.present import note
    from ecomfs.evaluation.harness import harness_errors
    from ecomfs.evaluation.source import numbers_source
    from ecomfs.suites import suite_board, write_details
    from ecomfs_eval import Bootstrap
    from ecomfs_eval.board.mlflow import log_board
    from ecomfs_eval.report import settings, write_figures, write_report

    how = Bootstrap(resamples=resamples, seed=seed)
    board = suite_board(
        results,
        only=only or (),
        main=main,
        metrics=metric or (),
        how=how,
        language=_language(report_language),
    )
    source = numbers_source(arguments(), [results / "suite.json"])
    board = replace(board, source={**source, "settings": settings(how)})
    with harness_errors():
        written = write_report(board, output or results / "report")
        write_figures(board, written[0].parent / "figures")
        if mlflow is not None:
            log_board(board, mlflow, files=written)
    set_result(lambda: {"files": written, "board": board.to_dict()})
    _print(board)
    note(f"wrote {written[0]}")
    if details:
        pages = write_details(results, written[0].parent, only=only or (), main=main, how=how)
        note(f"wrote {len(pages)} full reports in the same folder")


def _print(board: Board) -> None:
    from rich.table import Column

    from ecomfs.cli.present import TITLES, plain, show_table
    from ecomfs_eval import get_metric
    from ecomfs_eval.board import page
    from ecomfs_eval.report.words import ReportWords

    words = ReportWords(board.language)

    def show(title: str, first: str, metrics: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        titles = (TITLES.get(name, get_metric(name).title) for name in metrics)
        columns = (Column(first, no_wrap=True), *(Column(t, overflow="fold") for t in titles))
        show_table(columns, rows, title=title, title_justify="left")

    for group in board.groups:
        systems = ((s, *page.cells(group, s, group.metrics)) for s in group.averages)
        show(page.heading(group, words), words("system"), group.metrics, systems)
        differences = (
            (s, *("–" if d[m].delta is None else d[m].text() for m in group.metrics))
            for s, d in group.differences.items()
        )
        versus = words("versus", main=group.main)
        show(words("paired", main=group.main), versus, group.metrics, differences)
        said = [*page.headlines(group, board, words), page.verdict(group, group.metrics[0], words)]
        plain("\n".join([*said, *page.undefined(group, group.metrics), ""]))
    for found in board.overall:
        means = page.overall_rows(found)
        show(page.overall_heading(found, board, words), words("mean"), found.metrics, means)
        show("", words("against"), found.metrics, page.win_rows(found, words))
        plain(words("win_note", main=board.groups[0].main) + "\n")


@app.command("compare")
def compare(
    results: Results,
    old: Annotated[Path, typer.Argument(metavar="OLD", help="results of an earlier run")],
    system: Annotated[
        str | None, typer.Option(help="system to compare [the main one of the suite]")
    ] = None,
    metric: Metrics = None,
    resamples: Resamples = RESAMPLES,
) -> None:
    """Compare two results of a suite: changed inputs, and the paired differences new − old."""
    from ecomfs.cli.present import plain
    from ecomfs.suites import compare_results
    from ecomfs_eval import Bootstrap

    found = compare_results(
        results, old, system=system, metrics=metric or (), how=Bootstrap(resamples=resamples)
    )
    set_result({"changed": found.changed, "only_old": found.only_old, "only_new": found.only_new})
    for cell in found.changed:
        lines = [*(cell.causes or ("made from the same",)), *filter(None, [cell.note])]
        for d in cell.differences.values():
            lines.append(f"{d.title}: {d.a.text()} → {d.b.text()}: {d.text()}")
        plain("\n  ".join([cell.title, *lines]))
    for what, folders in (("old", found.only_old), ("new", found.only_new)):
        for folder in folders:
            plain(f"only in the {what} results: {folder}")


def _shots(text: str) -> Shots:
    if text == "all":
        return "all"
    if not text.isdigit():
        raise ConfigError(f"--shots {text!r}", hint="use a number, or all")
    return int(text)
