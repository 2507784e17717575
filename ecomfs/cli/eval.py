"""``ecomfs eval``: suites of data sets, run and reported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import eval_score
from ecomfs.cli import options as o
from ecomfs.cli.json_result import arguments, set_result
from ecomfs.cli.progress import show
from ecomfs.cli.terminal import say
from ecomfs.core.options import DEFAULTS, OPTIONS
from ecomfs.core.progress import CHECKING
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.suites.config import Shots
    from ecomfs_eval.board import Board

app = typer.Typer(
    help="Score predictions of any system; run suites of data sets and report them.",
    no_args_is_help=True,
)
app.command("score")(eval_score.score)

Only = Annotated[list[str] | None, typer.Option(help="only this data set or series (repeatable)")]
Results = Annotated[Path, typer.Argument(metavar="RESULTS", help="folder that eval run wrote")]


@app.command("list")
def list_suites() -> None:
    """The suites that ship."""
    from rich.table import Table

    from ecomfs.cli.console import Console
    from ecomfs.suites import available_suites, load_suite

    table = Table()
    for column in ("suite", "data sets", "shots", "seeds", "what"):
        table.add_column(column)
    found = []
    for name, path in available_suites().items():
        suite = load_suite(path)
        found.append(
            {
                "name": name,
                "title": suite.title,
                "data_sets": len(suite.datasets),
                "shots": suite.shots,
                "seeds": suite.seeds,
            }
        )
        shots, seeds = (" ".join(map(str, v)) for v in (suite.shots, suite.seeds))
        table.add_row(name, str(len(suite.datasets)), shots, seeds, suite.title)
    set_result({"suites": found})
    Console().print(table)


@app.command("run")
def run(
    suite: Annotated[str, typer.Argument(help="a YAML file, or the name of a suite that ships")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder of results [results/SUITE]")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="folder of the data sets", envvar="ECOMFS_DATA"),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="engine instead of the suite's", envvar=OPTIONS["engine"].env),
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
    quiet: o.Quiet = False,
) -> None:
    """Run every cell of a suite that is not done yet; the same command resumes it."""
    phases = show(CHECKING, quiet=quiet)
    from ecomfs.cli.console import Console
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
    Console(stderr=True).print(
        f"{len(outcome.run)} cells run{kept} in {phases.finish():.1f} s · wrote {target} · "
        f"ecomfs eval report {target}",
        highlight=False,
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
    metric: eval_score.Metrics = None,
    resamples: eval_score.Resamples = eval_score.RESAMPLES,
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
    from ecomfs.cli.console import Console
    from ecomfs.evaluation.harness import harness_errors
    from ecomfs.evaluation.source import numbers_source
    from ecomfs.suites import suite_board, write_details
    from ecomfs_eval import Bootstrap
    from ecomfs_eval.board.mlflow import log_board
    from ecomfs_eval.report import settings, write_figures, write_report

    how = Bootstrap(resamples=resamples, seed=seed)
    if report_language not in ("en", "zh"):
        raise ConfigError(f"--report-language {report_language!r}", hint="en or zh")
    board = suite_board(
        results,
        only=only or (),
        main=main,
        metrics=metric or (),
        how=how,
        language="zh" if report_language == "zh" else "en",
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
    console = Console(stderr=True, highlight=False)
    console.print(f"wrote {written[0]}")
    if details:
        pages = write_details(results, written[0].parent, only=only or (), main=main, how=how)
        console.print(f"wrote {len(pages)} full reports beside it")


def _print(board: Board) -> None:
    from rich.table import Table

    from ecomfs.cli.console import Console
    from ecomfs.cli.present import TITLES
    from ecomfs_eval import get_metric
    from ecomfs_eval.board import page
    from ecomfs_eval.report.words import ReportWords

    console = Console()
    words = ReportWords(board.language)

    def show(title: str, first: str, metrics: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(title=title, title_justify="left")
        table.add_column(first, no_wrap=True)
        for name in metrics:
            table.add_column(TITLES.get(name, get_metric(name).title), overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)

    def print_lines(lines: Iterable[str]) -> None:
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    for group in board.groups:
        systems = ((s, *page.cells(group, s, group.metrics)) for s in group.averages)
        show(page.heading(group, words), words("system"), group.metrics, systems)
        differences = (
            (s, *("–" if d[m].delta is None else d[m].text() for m in group.metrics))
            for s, d in group.differences.items()
        )
        versus = words("versus", main=group.main)
        show(words("paired", main=group.main), versus, group.metrics, differences)
        print_lines(
            (
                *page.said(group, board, words),
                page.verdict(group, group.metrics[0], words),
                *page.undefined(group, group.metrics),
                "",
            )
        )
    for found in board.overall:
        means = page.overall_rows(found)
        show(page.overall_heading(found, board, words), words("mean"), found.metrics, means)
        show("", words("against"), found.metrics, page.win_rows(found, words))
        print_lines((words("win_note", main=board.groups[0].main), ""))


@app.command("compare")
def compare(
    results: Results,
    old: Annotated[Path, typer.Argument(metavar="OLD", help="results of an earlier run")],
    system: Annotated[str | None, typer.Option(help="which system [the suite's main]")] = None,
    metric: eval_score.Metrics = None,
    resamples: eval_score.Resamples = eval_score.RESAMPLES,
) -> None:
    """Compare two results of a suite: what they were made from, and new − old, paired."""
    from ecomfs.cli.console import Console
    from ecomfs.suites import compare_results
    from ecomfs_eval import Bootstrap

    found = compare_results(
        results, old, system=system, metrics=metric or (), how=Bootstrap(resamples=resamples)
    )
    set_result({"changed": found.changed, "only_old": found.only_old, "only_new": found.only_new})
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for cell in found.changed:
        console.print(cell.title)
        for cause in cell.causes or ("made from the same",):
            console.print(f"  {cause}")
        if cell.note:
            console.print(f"  {cell.note}")
        for d in cell.differences.values():
            console.print(f"  {d.title}: {d.a.text()} → {d.b.text()}: {d.text()}")
    for what, folders in (("old", found.only_old), ("new", found.only_new)):
        for folder in folders:
            console.print(f"only in the {what} results: {folder}")


def _shots(text: str) -> Shots:
    if text == "all":
        return "all"
    if not text.isdigit():
        raise ConfigError(f"--shots {text!r}", hint="a number, or all")
    return int(text)
