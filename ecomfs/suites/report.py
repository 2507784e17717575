"""The results of a suite as a board: every data set and label budget, averaged over its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecomfs.core.options import NO_MODEL
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.evaluation.harness import harness_errors
from ecomfs.evaluation.labels import check_metrics
from ecomfs.evaluation.rules import MAJORITY, RULES
from ecomfs.suites.config import Dataset, Suite
from ecomfs.suites.data import task_of
from ecomfs.suites.store import ResultsFolder, Stored
from ecomfs.task import load_task
from ecomfs_eval import Bootstrap, compare
from ecomfs_eval.board import Board, BoardEntry, PublishedResult, build_board
from ecomfs_eval.report import ReportLanguage, build_report, write_report


@harness_errors()
def suite_board(
    results: str | Path,
    *,
    only: Iterable[str] = (),
    main: str | None = None,
    metrics: Sequence[str] = (),
    how: Bootstrap | None = None,
    language: ReportLanguage = "en",
) -> Board:
    """The board of a results folder: every data set and label budget, beside the baselines.

    Parameters
    ----------
    results : str or Path
        Folder that :func:`ecomfs.suites.run_suite` wrote.
    only : iterable of str
        Names of data sets or series.
    main : str, optional
        The system that others are compared with; by default the suite's.
    metrics : sequence of str
        Instead of the suite's; the first decides which baseline is best.
    how : Bootstrap, optional
        Resamples, level and seed of the intervals.
    language : {"en", "zh"}
        Of the report.

    Returns
    -------
    Board
        What :mod:`ecomfs_eval.board` renders.

    Raises
    ------
    MissingFileError
        No results, or none of these.
    InputError
        A file differs from its manifest.
    ConfigError
        An unknown system, metric or language.

    Examples
    --------
    >>> suite_board("no-such-folder")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-folder/suite.json: no such file (name the folder ...
    """
    return _board(ResultsFolder(results), set(only), main, metrics, how, language)


@harness_errors()
def write_details(
    results: str | Path,
    folder: str | Path,
    *,
    only: Iterable[str] = (),
    main: str | None = None,
    how: Bootstrap | None = None,
) -> list[Path]:
    """A full report of the first seed of each data set and label budget.

    It has confusion, reliability, ROC and worst errors of the main system, and what each baseline
    differs in.

    Parameters
    ----------
    results : str or Path
        Folder that :func:`ecomfs.suites.run_suite` wrote.
    folder : str or Path
        Of the files, one stem per cell.
    only, main, how
        As for :func:`suite_board`.

    Returns
    -------
    list of Path
        The HTML files.

    Raises
    ------
    MissingFileError, InputError, ConfigError
        As :func:`suite_board`.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> write_details("no-such-folder", "details")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-folder/suite.json: no such file (name the folder ...
    """
    suite, stored = _stored(ResultsFolder(results), set(only))
    first: dict[tuple[Any, ...], Stored] = {}
    for cell in stored:
        who = cell.identity
        first.setdefault((who["dataset"], who["shots"], who["variant"]), cell)
    return [_detail(cell, Path(folder), main or suite.main, how) for cell in first.values()]


def _detail(cell: Stored, folder: Path, main: str, how: Bootstrap | None) -> Path:
    who = cell.identity
    ours = next((p for p in cell.results.systems if p.name == main), None)
    if ours is None:
        have = ", ".join(p.name for p in cell.results.systems)
        raise ConfigError(f"{cell.folder}: no system {main!r}", hint=f"there are: {have}")
    others = [p for p in cell.results.systems if ":" not in p.name and p.name != main]
    pairs = [compare(p, ours, how=how) for p in others]
    title = f"{who['dataset']}: {who['pool_rows']} labelled examples, seed {who['seed']}"
    page = build_report(
        [ours, *others],
        comparisons=pairs,
        title=f"{title} · {who['variant']}" if who["variant"] else title,
        how=how,
        notes=[f"Model: {who['engine']}", f"Templates: {', '.join(who['templates'].values())}"],
    )
    stem = f"{who['dataset']}-{cell.folder.name}"
    return write_report(page, folder, stem)[0]


def _board(
    folder: ResultsFolder,
    wanted: set[str],
    main: str | None,
    metrics: Sequence[str],
    how: Bootstrap | None,
    language: ReportLanguage,
) -> Board:
    suite, stored = _stored(folder, wanted)
    datasets = {dataset.name: dataset for dataset in suite.datasets}
    for cell in stored if metrics else ():
        check_metrics(metrics, load_task(task_of(datasets[cell.identity["dataset"]])), "--metric")
    return build_board(
        [_entry(cell, datasets[cell.identity["dataset"]]) for cell in stored],
        metrics=tuple(metrics) or suite.metrics,
        main=main or suite.main,
        title=suite.title or suite.name,
        published=_published(suite),
        notes=_notes(suite, stored),
        how=how,
        language=language,
        without=_without(main or suite.main, stored),
    )


def _without(main: str, stored: Sequence[Stored]) -> str:
    """The part of the main system that answers without the model; empty where no model was asked
    at all."""
    asked = any(cell.identity["engine"] != NO_MODEL for cell in stored)
    return f"{main}:experts" if asked else ""


def _stored(folder: ResultsFolder, wanted: set[str]) -> tuple[Suite, list[Stored]]:
    """The suite and its finished cells, in the order of the suite."""
    suite = folder.suite()
    order = {dataset.name: (i, dataset) for i, dataset in enumerate(suite.datasets)}
    stored = [
        cell
        for cell in folder.cells()
        if cell.identity["dataset"] in order
        and (not wanted or wanted & _names(order[cell.identity["dataset"]][1]))
    ]
    if not stored:
        raise MissingFileError(f"{folder.folder}: no finished cell", hint="run the suite first")
    variants = ["", *suite.variants]

    def place(cell: Stored) -> tuple[int, int, int, int]:
        who = cell.identity
        at = variants.index(who["variant"]) if who["variant"] in variants else len(variants)
        return order[who["dataset"]][0], at, who["pool_rows"], who["seed"]

    return suite, sorted(stored, key=place)


def _names(dataset: Dataset) -> set[str]:
    return {name for name in (dataset.name, dataset.series) if name}


def _group(dataset: Dataset) -> str:
    return dataset.series or dataset.name


def _entry(cell: Stored, dataset: Dataset) -> BoardEntry:
    who = cell.identity
    return BoardEntry(
        _group(dataset),
        who["pool_rows"],
        cell.results.systems,
        who["seed"],
        who["variant"],
        cell.results.manifest.settings["absent"],
        _rule(cell),
    )


def _rule(cell: Stored) -> str:
    """The system that is the trivial rule of the task: the majority where there is no other."""
    names = [p.name for p in cell.results.systems if p.name in RULES]
    return next((name for name in names if name != MAJORITY), MAJORITY if names else "")


def _published(suite: Suite) -> dict[str, list[PublishedResult]]:
    found: dict[str, list[PublishedResult]] = {}
    for dataset in suite.datasets:
        for p in dataset.published:
            row = PublishedResult(p.system, p.metric, p.value, str(p.shots), p.source, p.note)
            found.setdefault(_group(dataset), []).append(row)
    return found


def _notes(suite: Suite, stored: Sequence[Stored]) -> dict[str, list[str]]:
    notes: dict[str, list[str]] = {"": [suite.description] if suite.description else []}
    for dataset in suite.datasets:
        if dataset.note:
            notes.setdefault(_group(dataset), []).append(dataset.note)
    for what, key in (
        ("Model", "engine"),
        ("Embedder", "embedder_fingerprint"),
        ("ecomfs", "ecomfs"),
    ):
        values = dict.fromkeys(str(cell.identity[key]) for cell in stored)
        notes[""].append(f"{what}: {', '.join(values)}")
    failed = _failed(stored)
    if failed:
        notes[""].append(failed)
    return notes


def _failed(stored: Sequence[Stored]) -> str:
    """Rows without an answer, which count as wrong."""
    lost: Mapping[str, int] = {
        str(cell.folder.relative_to(cell.folder.parents[1])): n
        for cell in stored
        if (n := sum(v for k, v in cell.measured["status"].items() if k in ("failed", "invalid")))
    }
    if not lost:
        return ""
    return "Rows without an answer, which count as wrong: " + ", ".join(
        f"{n} in {name}" for name, n in lost.items()
    )
