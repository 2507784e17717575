"""Runs the cells of a suite that are not done yet, the first seed of all data sets first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.core.options import NO_MODEL
from ecomfs.core.progress import LOADING, Progress, silent, within
from ecomfs.embed import Embedder, open_embedder
from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import shared_engine
from ecomfs.errors import ConfigError, EcomfsError, EngineError, StoppedError
from ecomfs.evaluation.harness import check_metrics
from ecomfs.suites.cell import Cell, Tools, identity, run_cell
from ecomfs.suites.config import Dataset, Shots, Suite
from ecomfs.suites.data import data_folder, read_data
from ecomfs.suites.store import ResultsFolder


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """The cells that were run, that were done already, and that failed, with the error.

    >>> len(SuiteRun(run=(), kept=()).failed)
    0
    """

    run: tuple[Cell, ...]
    kept: tuple[Cell, ...]
    failed: tuple[tuple[Cell, EcomfsError], ...] = ()


def plan(
    suite: Suite,
    *,
    only: Collection[str] = (),
    shots: Sequence[Shots] = (),
    seeds: Sequence[int] = (),
    options: Mapping[str, Any] | None = None,
) -> list[Cell]:
    """The cells of a suite, in the order in which they are run.

    Args:
        only: names of data sets or series.
        shots, seeds: use only these of the suite.
        options: options that replace those of the suite, such as ``engine``.

    Raises:
        ConfigError: the suite has no such data set, or no cell is left.

    >>> from ecomfs.suites import available_suites, load_suite
    >>> suite = load_suite(next(iter(available_suites())))
    >>> plan(suite)[0].seed == suite.seeds[0]
    True
    """
    known = {name for d in suite.datasets for name in (d.name, d.series) if name}
    for name in only:
        if name not in known:
            raise ConfigError(
                f"suite {suite.name!r} has no data set {name!r}",
                hint=f"it has: {', '.join(d.name for d in suite.datasets)}",
            )
    cells = [
        Cell(
            dataset, n, seed, variant, suite.options | dataset.options | more | dict(options or {})
        )
        for dataset in suite.datasets
        if not only or {dataset.name, dataset.series} & set(only)
        for n in dataset.shots or suite.shots
        if not shots or n in shots
        for seed in dataset.seeds or suite.seeds
        if not seeds or seed in seeds
        for variant, more in (suite.variants or {"": {}}).items()
    ]
    if not cells:
        raise ConfigError(
            f"suite {suite.name!r}: nothing to run",
            hint="use shots and seeds of the suite",
        )
    # All data sets of one seed before the next seed, so that half a run is a complete smaller run.
    order = list(dict.fromkeys(seed for d in suite.datasets for seed in d.seeds or suite.seeds))
    return sorted(cells, key=lambda c: order.index(c.seed))


def run_suite(
    suite: Suite,
    output: str | Path,
    *,
    data: str | Path | None = None,
    engine: str | Engine | None = None,
    embedder: str | Embedder | None = None,
    only: Collection[str] = (),
    shots: Sequence[Shots] = (),
    seeds: Sequence[int] = (),
    rows: int | None = None,
    redo: bool = False,
    progress: Progress = silent,
) -> SuiteRun:
    """Run the cells that are not done yet. A cell that fails does not stop the others.

    Args:
        output: folder of the results.
        data: folder of the data sets; ``None``: the variable ``ECOMFS_DATA``.
        engine, embedder: replace those of the suite.
        only, shots, seeds: see :func:`plan`.
        rows: most test rows per data set, for a quick run; such results are different cells.
        redo: run cells again whose inputs or options have changed.
        progress: called with the progress, phase by phase of every cell.

    Raises:
        ConfigError: a stored cell was made from other inputs or options, and ``redo`` is off.
        InputError: data cannot be used; nothing has been run then.
        EngineError: the engine is unavailable; finished cells are kept.
        OutputError: the folder cannot be written.

    >>> from ecomfs.suites import available_suites, load_suite
    >>> suite = load_suite(next(iter(available_suites())))
    >>> run_suite(suite, "results", only=["no-such-data"])
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: suite ... has no data set 'no-such-data' (it has: ...
    """
    overrides = {k: v for k, v in (("engine", engine), ("embedder", embedder)) if v is not None}
    cells = plan(suite, only=only, shots=shots, seeds=seeds, options=overrides)
    folder = data_folder(data)
    tables = {
        dataset.name: read_data(_limited(dataset, rows), folder)
        for dataset in {c.dataset.name: c.dataset for c in cells}.values()
    }
    for cell in cells:
        tables[cell.dataset.name].examples(cell.shots, cell.seed)  # too few: found before any run
    for name, table in tables.items():
        check_metrics(suite.metrics, table.card, f"suite {suite.name!r}, data set {name!r}")
    results = ResultsFolder(output)
    results.begin(suite)
    progress(LOADING)
    opened = _Opened()
    todo: list[tuple[Cell, dict[str, Any]]] = []
    kept: list[Cell] = []
    for cell in cells:
        table = tables[cell.dataset.name]
        who = identity(cell, table, suite.systems, opened.tools(cell))
        changed = results.changes(cell, who, table.files)
        if changed and not redo:
            raise ConfigError(
                f"{results.folder / cell.folder} has other inputs or options: {'; '.join(changed)}",
                hint="run it again with --redo, or choose another -o",
            )
        if changed == []:
            kept.append(cell)
        else:
            todo.append((cell, who))
    run: list[Cell] = []
    failed: list[tuple[Cell, EcomfsError]] = []
    for number, (cell, who) in enumerate(todo, start=len(kept)):
        table = tables[cell.dataset.name]
        shown = within(progress, f"cell {number + 1} of {len(cells)}, {cell.title}")
        try:
            result = run_cell(cell, table, suite.systems, opened.tools(cell), progress=shown)
        except (EngineError, StoppedError) as error:
            error.add_note(f"in {cell.title}; finished cells are kept")
            raise
        except EcomfsError as error:
            failed.append((cell, error))
            continue
        results.write(cell, who, table.files, result)
        run.append(cell)
    return SuiteRun(tuple(run), tuple(kept), tuple(failed))


class _Opened:
    """Opens each engine and embedder once."""

    def __init__(self) -> None:
        self._embedders: dict[str, Embedder] = {}

    def tools(self, cell: Cell) -> Tools:
        engine = cell.options.get("engine", "auto")
        engine = NO_MODEL if engine is None else engine
        embedder = cell.options.get("embedder", "auto")
        if isinstance(embedder, str):
            if embedder not in self._embedders:
                self._embedders[embedder] = open_embedder(embedder)
            embedder = self._embedders[embedder]
        return Tools(shared_engine(engine) if isinstance(engine, str) else engine, embedder)


def _limited(dataset: Dataset, rows: int | None) -> Dataset:
    if rows is None:
        return dataset
    most = rows if dataset.test.rows is None else min(rows, dataset.test.rows)
    test = dataset.test.model_copy(update={"rows": most})
    return dataset.model_copy(update={"test": test})
