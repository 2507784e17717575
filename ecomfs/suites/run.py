"""Running a suite: every cell that is not done yet, the first seed of all data sets first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import shared_engine
from ecomfs.errors import ConfigError
from ecomfs.pool import open_embedder
from ecomfs.suites.cell import Cell, identity, run_cell
from ecomfs.suites.config import Dataset, Shots, Suite
from ecomfs.suites.data import Data, data_folder, read_data
from ecomfs.suites.store import ResultsFolder


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: ``done`` of ``cells``, and of the cell that runs, ``rows_done`` of
    ``rows``."""

    cell: Cell
    done: int
    cells: int
    rows_done: int
    rows: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which cells were run, and which were there already."""

    run: tuple[Cell, ...]
    kept: tuple[Cell, ...]


def plan(
    suite: Suite,
    *,
    only: Collection[str] = (),
    shots: Sequence[Shots] = (),
    seeds: Sequence[int] = (),
    options: Mapping[str, Any] | None = None,
) -> list[Cell]:
    """The cells of a suite, in the order they are run.

    Args:
        only: names of data sets, or of series of them.
        shots, seeds: of those that the suite has, only these.
        options: instead of the suite's, such as ``engine``.

    Raises:
        ConfigError: the suite has no such data set, or nothing is left.
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
            dataset,
            n,
            seed,
            variant,
            {**suite.options, **dataset.options, **more, **(options or {})},
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
            hint="the suite has none of these shots or seeds",
        )
    # All data sets of one seed before the next seed: half a run is then a whole, smaller one.
    order = list(dict.fromkeys(seed for d in suite.datasets for seed in d.seeds or suite.seeds))
    return sorted(cells, key=lambda c: order.index(c.seed))


def run_suite(
    suite: Suite,
    output: str | Path,
    *,
    data: str | Path | None = None,
    engine: str | Engine | None = None,
    embedder: str | None = None,
    only: Collection[str] = (),
    shots: Sequence[Shots] = (),
    seeds: Sequence[int] = (),
    rows: int | None = None,
    redo: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Run what is not done yet.

    Args:
        output: folder of the results.
        data: folder of the data sets; ``None``: the variable ``ECOMFS_DATA``.
        engine, embedder: instead of the suite's.
        only, shots, seeds: see :func:`plan`.
        rows: at most this many test rows a data set, for a look; they are other results.
        redo: run again cells whose inputs or options have changed.

    Raises:
        ConfigError: a stored cell was made from other inputs or options, and ``redo`` is off.
        InputError: data that cannot be used. Nothing has been run then.
        EngineError: the engine is gone; finished cells are kept.
        OutputError: the folder cannot be written.
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
    results = ResultsFolder(output)
    results.begin(suite)
    todo: list[tuple[Cell, dict[str, Any]]] = []
    kept: list[Cell] = []
    for cell in cells:
        table = tables[cell.dataset.name]
        who = identity(cell, table, suite.systems, _engine(cell), _embedder(cell))
        changed = results.changes(cell, who, table.files)
        if changed and not redo:
            raise ConfigError(
                f"{results.folder / cell.folder} was made otherwise: {'; '.join(changed)}",
                hint="run it again with --redo, or choose another -o",
            )
        if changed == []:
            kept.append(cell)
        else:
            todo.append((cell, who))
    for number, (cell, who) in enumerate(todo):
        table = tables[cell.dataset.name]

        def report(done: int, cell: Cell = cell, number: int = number, table: Data = table) -> None:
            on_progress(Progress(cell, len(kept) + number, len(cells), done, len(table.test)))

        report(0)
        result = run_cell(cell, table, suite.systems, _engine(cell), on_rows=report)
        results.write(cell, who, table.files, result)
    return Outcome(tuple(cell for cell, _ in todo), tuple(kept))


def _engine(cell: Cell) -> Engine:
    chosen = cell.options.get("engine", "auto")
    return shared_engine(chosen) if isinstance(chosen, str) else chosen


def _embedder(cell: Cell) -> str:
    chosen = cell.options.get("embedder", "auto")
    return (open_embedder(chosen) if isinstance(chosen, str) else chosen).fingerprint


def _limited(dataset: Dataset, rows: int | None) -> Dataset:
    if rows is None:
        return dataset
    most = rows if dataset.test.rows is None else min(rows, dataset.test.rows)
    test = dataset.test.model_copy(update={"rows": most})
    return dataset.model_copy(update={"test": test})
