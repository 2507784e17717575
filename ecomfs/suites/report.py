"""Reports of a suite: a board of all data sets and label budgets, averaged over seeds; a full
report of each; and the comparison of two results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecomfs.core.options import NO_MODEL
from ecomfs.errors import InputError, MissingFileError
from ecomfs.evaluation.harness import check_metrics, harness_errors
from ecomfs.evaluation.rules import MAJORITY, RULES
from ecomfs.suites.config import Dataset, Suite
from ecomfs.suites.data import task_of
from ecomfs.suites.store import ResultsFolder, Stored, changes
from ecomfs.task import load_task
from ecomfs_eval import Bootstrap, compare
from ecomfs_eval.board import Board, BoardEntry, PublishedResult, build_board
from ecomfs_eval.compare import Difference
from ecomfs_eval.errors import RowsDifferError
from ecomfs_eval.metrics import USUAL
from ecomfs_eval.repeated import average_difference
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
    """The board of a results folder: every data set and label budget, with baselines.

    Args:
        results: folder written by :func:`ecomfs.suites.run_suite`.
        only: names of data sets or series.
        main: the system that others are compared with; by default the suite's.
        metrics: replace those of the suite; the first decides which baseline is best.
        how: resamples, level and seed of the intervals.
        language: language of the report.

    Returns:
        The board, for :mod:`ecomfs_eval.board`.

    Raises:
        MissingFileError: there are no results, or none of these data sets.
        InputError: a file differs from its manifest.
        ConfigError: an unknown system, metric or language.

    >>> suite_board("no-such-folder")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-folder/suite.json: no such file (name the folder ...
    """
    suite, stored = _stored(ResultsFolder(results), set(only))
    datasets = {dataset.name: dataset for dataset in suite.datasets}
    for cell in stored if metrics else ():
        check_metrics(metrics, load_task(task_of(datasets[cell.identity["dataset"]])), "--metric")
    main = main or suite.main
    asked = any(cell.identity["engine"] != NO_MODEL for cell in stored)
    return build_board(
        [_entry(cell, datasets[cell.identity["dataset"]]) for cell in stored],
        metrics=tuple(metrics) or suite.metrics,
        main=main,
        title=suite.title or suite.name,
        published=_published(suite),
        notes=_notes(suite, stored),
        how=how,
        language=language,
        without=f"{main}:experts" if asked else "",  # the part without the model
    )


@harness_errors()
def write_details(
    results: str | Path,
    folder: str | Path,
    *,
    only: Iterable[str] = (),
    main: str | None = None,
    how: Bootstrap | None = None,
) -> list[Path]:
    """Write a full report of the first seed of each data set and label budget.

    It has confusion matrix, reliability, ROC and worst errors of the main system, and its
    differences from each baseline.

    Args:
        results: folder written by :func:`ecomfs.suites.run_suite`.
        folder: folder of the reports, one file stem per cell.
        only, main, how: as in :func:`suite_board`.

    Returns:
        The HTML files.

    Raises:
        MissingFileError, InputError, ConfigError: as in :func:`suite_board`.
        OutputError: a file cannot be written.

    >>> write_details("no-such-folder", "details")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-folder/suite.json: no such file (name the folder ...
    """
    suite, stored = _stored(ResultsFolder(results), set(only))
    first: dict[tuple[str, int | str, str], Stored] = {}
    for cell in stored:
        first.setdefault(cell.budget, cell)
    return [_detail(cell, Path(folder), main or suite.main, how) for cell in first.values()]


def _detail(cell: Stored, folder: Path, main: str, how: Bootstrap | None) -> Path:
    who = cell.identity
    ours = cell.system(main)
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
    """The system of the task's trivial rule; by default the majority."""
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
    """A note on rows without a prediction, which count as wrong."""
    lost = [
        f"{n} in {cell.folder.relative_to(cell.folder.parents[1])}"
        for cell in stored
        if (n := sum(cell.measured["status"].get(kind, 0) for kind in ("failed", "invalid")))
    ]
    return f"Rows without a prediction, which count as wrong: {', '.join(lost)}" if lost else ""


@dataclass(frozen=True, slots=True)
class ChangedCell:
    """A data set with one label budget in both results.

    Attributes:
        name, shots, variant: data set, label budget and variant.
        runs: number of common seeds.
        causes: differences in inputs, options, model and code; empty if there are none.
        differences: metric → paired difference new − old of one system; empty if the rows differ.
        note: why there are no differences.
    """

    name: str
    shots: int | str
    variant: str
    runs: int
    causes: tuple[str, ...]
    differences: dict[str, Difference]
    note: str = ""

    @property
    def title(self) -> str:
        """The title in reports."""
        variant = f" · {self.variant}" if self.variant else ""
        runs = "1 run" if self.runs == 1 else f"mean of {self.runs} runs"
        return f"{self.name} · {self.shots} labelled{variant} · {runs}"


@dataclass(frozen=True, slots=True)
class ResultsDiff:
    """Two results of one suite.

    Attributes:
        changed: the cells in both results, by data set and label budget.
        only_old, only_new: folders of the cells in only one of them.
    """

    changed: tuple[ChangedCell, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


@harness_errors()
def compare_results(
    new: str | Path,
    old: str | Path,
    *,
    system: str | None = None,
    metrics: Sequence[str] = (),
    how: Bootstrap | None = None,
) -> ResultsDiff:
    """Compare two folders of results, cell by cell.

    Args:
        new, old: folders written by :func:`ecomfs.suites.run_suite`.
        system: the system to compare; by default the main system of the new suite.
        metrics: replace those of the suite.
        how: resamples, level and seed of the intervals.

    Returns:
        The cells in both, with paired differences; and the cells in only one of them.

    Raises:
        MissingFileError: a folder has no results.
        InputError: no cell is in both, or a file is damaged.
        ConfigError: a result lacks the system, or a metric is unknown.

    >>> compare_results("no-such-folder", "old")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-folder/suite.json: no such file (name the folder ...
    """
    suite = ResultsFolder(new).suite()
    ResultsFolder(old).suite()
    now, was = (_by_folder(ResultsFolder(x)) for x in (new, old))
    common = [key for key in now if key in was]
    if not common:
        raise InputError(f"{new} and {old} share no cell", hint="compare runs of one suite")
    pairs = [(now[key], was[key]) for key in common]
    changed = _changed(pairs, system or suite.main, tuple(metrics) or suite.metrics, how)
    return ResultsDiff(
        tuple(changed),
        tuple(key for key in was if key not in now),
        tuple(key for key in now if key not in was),
    )


def _by_folder(results: ResultsFolder) -> dict[str, Stored]:
    return {str(c.folder.relative_to(results.folder)): c for c in results.cells()}


def _changed(
    pairs: Sequence[tuple[Stored, Stored]],
    system: str,
    metrics: Sequence[str],
    how: Bootstrap | None,
) -> Iterator[ChangedCell]:
    for budget in dict.fromkeys(new.budget for new, _ in pairs):
        mine = [pair for pair in pairs if pair[0].budget == budget]
        causes = [
            c
            for new, old in mine
            for c in changes(old.results.manifest, new.identity, new.results.manifest.inputs)
        ]
        news = [new.system(system) for new, _ in mine]
        shown = tuple(metrics) or USUAL[news[0].kind]
        olds = [replace(old.system(system), name=f"{system} (old)") for _, old in mine]
        note, found = "", {}
        try:
            found = average_difference(olds, news, shown, how)
        except RowsDifferError:
            note = "the test rows differ: no paired difference"
        yield ChangedCell(*budget, len(mine), tuple(dict.fromkeys(causes)), found, note)
