"""Make, import and export the labelled examples of a pool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecomfs.batch.example_tables import allowed_labels, table_cell, write_examples
from ecomfs.core.messages import did_you_mean, listed
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    InputError,
    RowError,
    UnknownLabelError,
)
from ecomfs.features import RowText
from ecomfs.pool import Pool, shown_ids
from ecomfs.task import (
    Label,
    LabelSpace,
    TaskCard,
    first_empty,
    label_text,
)
from ecomfs.types import Example


def make_example(
    card: TaskCard,
    text: str | None,
    values: Mapping[str, str],
    label: str,
    id: str | None = None,
) -> Example:
    """Make one labelled example, with the same checks as for a file.

    Parameters
    ----------
    card : TaskCard
        The task.
    text : str, optional
        The value of the only required field.
    values : mapping
        Field → value, for other tasks.
    label : str
        The label.
    id : str, optional
        By default a hash of the fields, so that the same row gets the same id.

    Raises
    ------
    InputError
        A field that the card lacks, a required field that is empty, or a cell that does not fit the
        kind of its field.
    UnknownLabelError
        A label that a closed card does not have.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> example = make_example(load_task("review_sentiment"), "fits well", {}, "positive")
    >>> example.id, example.fields["text"], example.label
    ('x-...', 'fits well', 'positive')
    """
    names = [spec.name for spec in card.fields]
    given = dict(values)
    if text is not None:
        needed = [spec.name for spec in card.fields if spec.required]
        if len(needed) != 1:
            raise ConfigError(
                f"task {card.name!r} has fields {', '.join(names)}",
                hint="give each field as --set FIELD=VALUE",
            )
        given.setdefault(needed[0], text)
    for name in given:
        if name not in names:
            raise ColumnError(
                f"task {card.name!r} has no field {name!r}", hint=f"fields are: {', '.join(names)}"
            )
    fields = {name: given.get(name, "") for name in names}
    empty = first_empty(fields, card)
    if empty is not None:
        raise InputError(f"field {empty!r} is empty", hint="give it a value: it is required")
    check_cells(card, fields, "the example")
    named = label_text(label)
    if named is None:
        raise InputError("the label is empty", hint="give the example a label")
    known = allowed_labels(card)
    if known is not None:
        for each in card.labels_of(named, "the example"):
            known.require(each, "the example")
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return Example(f"x-{digest[:12]}" if id is None else id, fields, named)


def check_cells(card: TaskCard, fields: Mapping[str, Any], where: str) -> None:
    """Refuse cells that do not fit the kind of their field: one such example would stop every
    classifier that uses the pool.

    Parameters
    ----------
    card : TaskCard
        The task.
    fields : mapping
        Field → cell.
    where : str
        Name of the row in error messages.

    Raises
    ------
    InputError
        Naming ``where`` and the column.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> check_cells(load_task("ad_response"), {"income": "high"}, "line 2")
    Traceback (most recent call last):
    ecomfs.errors.InputError: line 2: ...
    """
    try:
        RowText(card).render(fields, "en")
    except RowError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Counts of an import.

    Attributes:
        added: examples that were not in the pool.
        unchanged: examples that the pool already has with the same fields and label.
        changed: examples whose label was replaced.
        version: version of the pool after the import.
    """

    added: int
    unchanged: int
    changed: int
    version: int


def import_examples(
    pool: Pool, examples: Iterable[Example], *, replace: bool = False, note: str = ""
) -> ImportReport:
    """Add examples to a pool, with their ids; examples that it already has are unchanged. An
    interrupted import can be repeated.

    Parameters
    ----------
    pool : Pool
        The pool.
    examples : iterable of Example
        Examples with unique ids.
    replace : bool
        Relabel examples that the pool has with another label, all in one version. Otherwise such
        an example is an error.
    note : str
        Note of the new version.

    Raises
    ------
    DuplicateIdError
        The pool has the id with other fields or another origin, or (without ``replace``) with
        another label; nothing is stored.

    Examples
    --------
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
            f"pool {pool.name!r} has {shown_ids(differing)} with other fields or another origin",
            hint="give the new rows other ids (--id-column), or retire the old examples first",
        )
    if relabelled and not replace:
        raise DuplicateIdError(
            f"pool {pool.name!r} has {shown_ids(e.id for e in relabelled)} with another label",
            hint="relabel them with --replace",
        )
    version = pool.add(new, note)
    if relabelled:
        version = pool.relabel_many({e.id: e.label for e in relabelled}, note)
    return ImportReport(len(new), unchanged, len(relabelled), version)


def refuse_new_labels(pool: Pool, labels: Mapping[str, str], card: TaskCard | None = None) -> None:
    """Refuse labels that neither the pool nor the task has: a misspelt label would become a new
    class, or stop every classifier that uses the pool.

    Parameters
    ----------
    pool : Pool
        The pool; an empty pool of an open task accepts any label.
    labels : mapping
        Name of the example in messages → its label.
    card : TaskCard, optional
        The task; without it only the labels of the pool are accepted.

    Raises
    ------
    UnknownLabelError
        A new label; the message names the example and the most similar label.

    Examples
    --------
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
    if card is not None and card.multi_label:
        held = list({each for cell in held for each in card.labels_of(cell, "the pool")})
    parts = [
        (where, label)
        for where, cell in labels.items()
        for label in (card.labels_of(cell, where) if card is not None else (cell,))
    ]
    for where, label in parts:
        if closed:
            space.require(label, where)
        elif label not in held and space.index(label) is None:
            names = list(dict.fromkeys((*held, *space.names)))
            near = did_you_mean(label, names, fold=True)
            raise UnknownLabelError(
                f"{where}: pool {pool.name!r} has no label {label!r}",
                hint=f"{near}labels are: {listed(names)}; --new-label adds one",
            )


def export_examples(pool: Pool, path: str | Path, version: int | None = None) -> tuple[int, int]:
    """Write the examples of a pool as a table (see :func:`write_examples`).

    Parameters
    ----------
    pool : Pool
        The examples.
    path : str or Path
        A table in the format of its name.
    version : int, optional
        Version of the pool; the newest by default.

    Returns
    -------
    int, int
        The version and the number of examples.

    Raises
    ------
    PoolError
        The version does not exist.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with Pool.in_memory([Example("a", {"text": "fine"}, "positive")]) as pool:
    ...     export_examples(pool, Path(tempfile.mkdtemp()) / "pool.csv")
    (1, 1)
    """
    version, examples = pool.snapshot(version)
    write_examples(path, examples)
    return version, len(examples)


def _origin(example: Example) -> tuple[bool, str, str]:
    return example.synthetic, example.source_id, example.method


def _plain(fields: Mapping[str, Any]) -> dict[str, str]:
    """Fields as text; a missing field equals an empty one."""
    cells = {name: table_cell(value) for name, value in fields.items()}
    return {name: cell for name, cell in cells.items() if cell}
