"""The results of a suite as a board: every data set and label budget, averaged over its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ecomfs.errors import InputError, MissingFileError
from ecomfs.suites.config import Dataset, Suite
from ecomfs.suites.store import ResultsFolder, Stored
from ecomfs_eval import Bootstrap, EvalError
from ecomfs_eval.board import Board, Entry, Published, build_board


def suite_board(
    results: str | Path,
    *,
    only: Iterable[str] = (),
    main: str | None = None,
    metrics: Sequence[str] = (),
    how: Bootstrap | None = None,
) -> Board:
    """What a results folder says.

    Args:
        results: folder that :func:`ecomfs.suites.run_suite` wrote.
        only: names of data sets or series.
        main: the system that others are compared with; by default the suite's.
        metrics: instead of the suite's; the first decides which baseline is best.
        how: resamples, level and seed of the intervals.

    Raises:
        MissingFileError: no results, or none of these.
        InputError: a file is not what its manifest says, or an unknown system or metric.
    """
    try:
        return _board(ResultsFolder(results), set(only), main, metrics, how)
    except EvalError as error:
        raise InputError(error.message, hint=error.hint) from error


def _board(
    folder: ResultsFolder,
    wanted: set[str],
    main: str | None,
    metrics: Sequence[str],
    how: Bootstrap | None,
) -> Board:
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

    stored.sort(key=place)
    return build_board(
        [_entry(cell, order[cell.identity["dataset"]][1]) for cell in stored],
        metrics=tuple(metrics) or suite.metrics,
        main=main or suite.main,
        title=suite.title or suite.name,
        published=_published(suite),
        notes=_notes(suite, stored),
        how=how,
    )


def _names(dataset: Dataset) -> set[str]:
    return {name for name in (dataset.name, dataset.series) if name}


def _group(dataset: Dataset) -> str:
    return dataset.series or dataset.name


def _entry(cell: Stored, dataset: Dataset) -> Entry:
    who = cell.identity
    return Entry(
        _group(dataset),
        who["pool_rows"],
        cell.results.systems,
        who["seed"],
        who["variant"],
        cell.results.manifest.settings["absent"],
    )


def _published(suite: Suite) -> dict[str, list[Published]]:
    found: dict[str, list[Published]] = {}
    for dataset in suite.datasets:
        for p in dataset.published:
            row = Published(p.system, p.metric, p.value, str(p.shots), p.source, p.note)
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
