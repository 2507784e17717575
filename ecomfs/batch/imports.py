"""Labelled examples of a table into a pool, and of a pool into a table."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.errors import DuplicateIdError, UnknownLabelError
from ecomfs.io import AtomicWriter, added_columns
from ecomfs.pool import Pool, few
from ecomfs.task import Label, LabelSpace, TaskCard
from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, as counts of examples.

    Attributes:
        added: ids that were not alive in the pool.
        unchanged: ids that the pool holds with the same fields and label.
        changed: ids whose label was replaced.
        version: the pool's version afterwards.
    """

    added: int
    unchanged: int
    changed: int
    version: int


def import_examples(
    pool: Pool, examples: Iterable[Example], *, replace: bool = False, note: str = ""
) -> ImportReport:
    """Add examples to a pool, keeping their ids; one that it holds already is left alone.

    An import that was broken off is finished by doing it again.

    Args:
        replace: give examples that the pool holds under another label the new one, all in one
            version. Without it such an example is an error, and nothing is stored.

    Raises:
        DuplicateIdError: an id of the pool with other fields or another origin, or (without
            ``replace``) with another label; nothing is stored.

    >>> pool = Pool.in_memory([Example("a", {"text": "fine"}, "positive")])
    >>> import_examples(pool, [Example("a", {"text": "fine"}, "positive"),
    ...                        Example("b", {"text": "poor"}, "negative")])
    ImportReport(added=1, unchanged=1, changed=0, version=2)
    >>> pool.close()
    """
    alive = {e.id: e for e in pool.examples()}
    new: list[Example] = []
    relabelled: list[Example] = []
    differing: list[str] = []
    unchanged = 0
    for example in examples:
        old = alive.get(example.id)
        if old is None:
            new.append(example)
        elif _plain(old.fields) != _plain(example.fields) or _origin(old) != _origin(example):
            differing.append(example.id)
        elif old.label != example.label:
            relabelled.append(example)
        else:
            unchanged += 1
    if differing:
        raise DuplicateIdError(
            f"pool {pool.name!r} holds {few(differing)} with other fields or another origin",
            hint="give the new rows ids of their own (--id-column), or retire the old ones first",
        )
    if relabelled and not replace:
        raise DuplicateIdError(
            f"pool {pool.name!r} holds {few(e.id for e in relabelled)} with another label",
            hint="--replace gives them the new one",
        )
    version = pool.add(new, note)
    if relabelled:
        version = pool.relabel_many({e.id: e.label for e in relabelled}, note)
    return ImportReport(len(new), unchanged, len(relabelled), version)


def refuse_new_labels(pool: Pool, labels: Mapping[str, str], card: TaskCard | None = None) -> None:
    """Refuse labels that neither the pool nor the task has: a misspelt one would become a class
    of its own, or stop every classifier that uses the pool.

    Args:
        labels: what a message calls the example → its label.
        card: of the task; without one, the labels of the pool are all there are. An empty pool
            of an open task takes any label.

    Raises:
        UnknownLabelError: naming the example, and the nearest label.

    >>> with Pool.in_memory([Example("a", {"text": "fine"}, "positive")]) as pool:
    ...     refuse_new_labels(pool, {"example 'a'": "postive"})
    Traceback (most recent call last):
        ...
    ecomfs.errors.UnknownLabelError: example 'a': pool 'default' has no label 'postive' (did you
    mean 'positive'? labels are: positive; --new-label adds one)
    """
    held = list(pool.stats().labels)
    space = LabelSpace([Label(s.name, s) for s in card.labels]) if card else LabelSpace([])
    closed = card is not None and card.label_space == "closed"
    if not closed and not held:
        return
    for where, label in labels.items():
        if closed:
            space.require(label, where)
        elif label not in held and space.index(label) is None:
            names = list(dict.fromkeys((*held, *space.names)))
            folded = {name.casefold(): name for name in reversed(names)}
            close = difflib.get_close_matches(label.casefold(), folded, n=1)
            did = f"did you mean {folded[close[0]]!r}? " if close else ""
            known = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
            raise UnknownLabelError(
                f"{where}: pool {pool.name!r} has no label {label!r}",
                hint=f"{did}labels are: {known}; --new-label adds one",
            )


def export_examples(pool: Pool, path: str | Path, version: int | None = None) -> tuple[int, int]:
    """Write the examples of a version as a table (see :func:`write_examples`).

    Returns:
        The version and the number of examples.

    Raises:
        PoolError: a version that does not exist.
        OutputError: the file cannot be written.
    """
    version, examples = pool.snapshot(version)
    write_examples(path, examples)
    return version, len(examples)


def write_examples(path: str | Path, examples: Sequence[Example]) -> None:
    """Write examples as a table that :func:`read_examples` reads: ``id``, the fields, ``label``;
    ``synthetic`` where an example is, with ``source_id`` and ``method`` where one has them.
    Values that are no text are JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    fields = list(dict.fromkeys(name for e in examples for name in e.fields))
    ends = ["label"]
    if any(e.synthetic for e in examples):
        ends.append("synthetic")
    if any(e.source_id or e.method for e in examples):
        ends += ["source_id", "method"]
    shown = added_columns(["id", *ends], fields)
    with AtomicWriter(path, ["id", *shown, *ends]) as out:
        out.write(_cells(example, fields, ends) for example in examples)


def _cells(example: Example, fields: Sequence[str], ends: Sequence[str]) -> list[str]:
    mark = "yes" if example.synthetic else "no"
    own = [example.label, mark, example.source_id, example.method][: len(ends)]
    return [example.id, *(_cell(example.fields.get(name)) for name in fields), *own]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _origin(example: Example) -> tuple[bool, str, str]:
    return example.synthetic, example.source_id, example.method


def _plain(fields: Mapping[str, Any]) -> dict[str, str]:
    """Fields as a table shows them: an absent field is an empty one."""
    cells = {name: _cell(value) for name, value in fields.items()}
    return {name: cell for name, cell in cells.items() if cell}
