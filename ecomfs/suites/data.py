"""Reads the data of a suite, and splits labelled examples and test rows."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecomfs.batch import read_examples
from ecomfs.errors import ColumnError, ConfigError, EmptyInputError, InputError, MissingFileError
from ecomfs.io import TableReader, same_text
from ecomfs.pool import random_examples, refuse_synthetic, sample_examples
from ecomfs.suites.config import Dataset, Shots, Table
from ecomfs.task import TaskCard, label_space_of, load_task
from ecomfs.types import Example

ENVIRONMENT = "ECOMFS_DATA"


@dataclass(frozen=True, slots=True)
class Data:
    """A data set in memory.

    Attributes:
        card: card of its task.
        pool: all labelled examples.
        test: the test rows, with labels in the pool's spelling.
        groups: one group per test row, if the suite names a column.
        files: path below the data folder → file.
        left_out: number of test rows left out because they are also in the pool.
    """

    dataset: Dataset
    card: TaskCard
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    groups: tuple[str, ...] | None
    files: Mapping[str, Path]
    left_out: int = 0

    def examples(self, shots: Shots, seed: int) -> list[Example]:
        """The labelled examples of a cell.

        Raises:
            InputError: the pool has too few.
        """
        if shots == "all":
            return list(self.pool)
        if shots > len(self.pool):
            raise InputError(
                f"data set {self.dataset.name!r}: {shots} labelled examples wanted, "
                f"the pool has {len(self.pool)}",
                hint="lower shots for it, in the suite",
            )
        if self.dataset.draw == "random":
            return random_examples(self.pool, shots, seed)
        return sample_examples(self.pool, shots, seed)


def data_folder(path: str | Path | None) -> Path:
    """The folder of the data sets.

    Raises:
        ConfigError: no folder is given.
        MissingFileError: it does not exist.
    """
    chosen = path or os.environ.get(ENVIRONMENT)
    if not chosen:
        raise ConfigError(
            "no data folder", hint=f"name it with --data, or in the variable {ENVIRONMENT}"
        )
    folder = Path(chosen)
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder", hint="name the folder of the data sets")
    return folder


def task_of(dataset: Dataset) -> str | Path:
    """The name of the task of a data set, or the folder of its card."""
    return Path(dataset.task) if "/" in dataset.task else dataset.task


def read_data(dataset: Dataset, folder: Path) -> Data:
    """Read a data set and split off its test rows. The same file gives the same rows.

    Raises:
        InputError: a file or a column is missing, a row cannot be used, or there are too few rows.
    """
    card = load_task(task_of(dataset))
    spec = dataset.test
    pool, pool_cells = _read(dataset.pool, card, folder, spec.group if spec.file is None else None)
    files = {dataset.pool.file: folder / dataset.pool.file}
    if spec.file is None:
        rows, cells = pool, pool_cells
    else:
        table = Table(
            file=spec.file,
            label=spec.label or dataset.pool.label,
            fields=dataset.pool.fields if spec.fields is None else spec.fields,
            filter={} if spec.filter is None else spec.filter,
        )
        rows, cells = _read(table, card, folder, spec.group)
        files[spec.file] = folder / spec.file
    refuse_synthetic(rows, spec.file or dataset.pool.file)
    disjoint = not card.tabular if spec.disjoint is None else spec.disjoint
    left_out = 0
    if spec.file is None:
        test, pool = _split(rows, cells, spec.group, spec.rows or 0, spec.seed, dataset.name)
        if disjoint:
            kept = _without(pool, test)
            left_out, pool = len(pool) - len(kept), kept
    else:
        if disjoint:
            kept = _without(rows, pool)
            left_out, rows = len(rows) - len(kept), kept
        test = _draw(rows, spec.rows, spec.seed, dataset.name)
    space = label_space_of(card, pool, dataset.pool.file)
    pool = [replace(e, label=space.true_label(e.label)) for e in pool]
    spelt = [replace(e, label=space.true_label(e.label) or e.label) for e in test]
    groups = None
    if spec.group is not None:
        groups = tuple(cells[e.id][spec.group] for e in test)
    return Data(dataset, card, tuple(pool), tuple(spelt), groups, files, left_out)


def _read(
    table: Table, card: TaskCard, folder: Path, group: str | None
) -> tuple[list[Example], dict[str, Mapping[str, str]]]:
    """The examples of a table that pass its filter, and their cells by id."""
    path = folder / table.file
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file", hint="check the data folder and the suite")
    examples = read_examples(path, card, fields=table.fields, label_column=table.label)
    reader = TableReader(path)
    wanted = {*table.filter, *([group] if group else [])}
    for column in wanted:
        if column not in reader.header:
            raise ColumnError(
                f"{path.name}: no column {column!r}", hint=f"columns: {', '.join(reader.header)}"
            )
    if not wanted:
        return examples, {}
    id_name = next((c for c in reader.header if c.casefold() == "id"), None)
    cells = {
        row.cells[id_name] if id_name else f"line{row.line}": row.cells for row in reader.rows()
    }
    kept = [
        e
        for e in examples
        if all(_is(cells[e.id][column], value) for column, value in table.filter.items())
    ]
    if not kept:
        said = ", ".join(f"{c} = {v}" for c, v in table.filter.items())
        raise EmptyInputError(f"{path.name}: no row has {said}", hint="check the filter")
    if group is not None:
        for e in kept:
            if not cells[e.id][group].strip():
                raise InputError(
                    f"{path.name}: row {e.id!r}: column {group!r} is empty",
                    hint="fill it in: every row belongs to a group",
                )
    return kept, cells


def _is(cell: str, value: str | int | bool) -> bool:
    """Whether a cell has a value of a filter; true and false in any case."""
    text = cell.strip()
    if isinstance(value, bool):
        return text.casefold() == str(value).casefold()
    return text == str(value).strip()


def _draw(rows: Sequence[Example], n: int | None, seed: int, name: str) -> list[Example]:
    if n is None:
        return list(rows)
    if n > len(rows):
        raise InputError(
            f"data set {name!r}: {n} test rows wanted, there are {len(rows)}",
            hint="lower rows in the suite",
        )
    chosen = set(random.Random(f"test/{seed}").sample(range(len(rows)), n))
    return [row for i, row in enumerate(rows) if i in chosen]


def _split(
    rows: Sequence[Example],
    cells: Mapping[str, Mapping[str, str]],
    group: str | None,
    n: int,
    seed: int,
    name: str,
) -> tuple[list[Example], list[Example]]:
    """Test rows and the rest; a group is never split between them."""
    if n >= len(rows):
        raise InputError(
            f"data set {name!r}: {n} test rows wanted of {len(rows)} in all",
            hint="lower rows in the suite: the other rows are the pool",
        )
    unit = {e.id: cells[e.id][group] if group else e.id for e in rows}
    order = list(dict.fromkeys(unit.values()))
    random.Random(f"test/{seed}").shuffle(order)
    members: dict[str, list[Example]] = {}
    for row in rows:
        members.setdefault(unit[row.id], []).append(row)
    taken: list[Example] = []
    units: set[str] = set()
    for key in order:
        if len(taken) >= n:
            break
        taken += members[key]
        units.add(key)
    chosen = {row.id for row in taken[:n]}
    test = [row for row in rows if row.id in chosen]
    return test, [row for row in rows if unit[row.id] not in units]


def _without(rows: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """The rows whose fields, after normalisation, differ from those of all other rows."""
    known = {_content(row) for row in others}
    return [row for row in rows if _content(row) not in known]


def _content(row: Example) -> tuple[str, ...]:
    texts = [str(row.fields[name]) for name in sorted(row.fields)]
    return tuple(same_text(text) for text in texts)


def rows_hash(rows: Sequence[Example]) -> str:
    """A hash of rows, their order and their labels."""
    text = "\n".join(f"{row.id}\t{row.label}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
