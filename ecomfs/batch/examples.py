"""Labelled examples: from tables, into a pool, and back."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ecomfs.batch.input import origin_column, origin_of, read_marks
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    EmptyInputError,
    InputError,
    RowError,
    UnknownLabelError,
)
from ecomfs.features import RowText
from ecomfs.io import AtomicWriter, TableReader, TableRow, added_columns, text_encoding
from ecomfs.pool import Pool, few
from ecomfs.task import (
    FieldMap,
    Label,
    LabelSpace,
    TaskCard,
    column_labels,
    find_column,
    first_empty,
    label_text,
)
from ecomfs.types import Example


def read_examples(
    path: str | Path,
    card: TaskCard,
    *,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    encoding: str | None = None,
) -> list[Example]:
    """The labelled examples of a file.

    A pool is small and every row of it counts, so any bad row is an error, also one without a
    label. Rows with yes in a column ``synthetic`` are synthetic; the columns ``source_id`` and
    ``method`` then say where they came from.

    Parameters
    ----------
    path : str or Path
        Anything that :class:`ecomfs.io.TableReader` reads.
    card : TaskCard
        The task.
    fields : mapping, optional
        Card field → column, where names differ.
    label_column : str, optional
        The column of labels; found by the card's names by default.
    id_column : str, optional
        Unique ids; the column ``id`` by default, else the line number.
    encoding : str, optional
        Of a text table that is not UTF-8; detected by default.

    Raises
    ------
    InputError
        Naming the file, the line and the column.
    UnknownLabelError
        A closed card does not know a label.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "pool.csv"
    >>> write_examples(path, [Example("a", {"text": "fits well"}, "positive")])
    >>> read_examples(path, load_task("review_sentiment"))[0].label
    'positive'
    """
    table = _Labelled(path, card, fields, label_column, id_column, encoding)
    return table.examples(blank="error")


def read_labelled_so_far(
    path: str | Path, card: TaskCard, **columns: Any
) -> tuple[list[Example], int]:
    """The labelled examples of a table in which some rows have no label yet.

    Parameters
    ----------
    path, card
        As for :func:`read_examples`; such a table is written by ``ecomfs suggest``.
    **columns
        ``fields``, ``label_column``, ``id_column`` and ``encoding`` of :func:`read_examples`.

    Returns
    -------
    list of Example, int
        The examples, and how many rows have no label.

    Raises
    ------
    EmptyInputError
        No row has a label.
    InputError, UnknownLabelError
        As for :func:`read_examples`.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "pool.csv"
    >>> _ = path.write_text("text,label\\nfits well,positive\\ntoo small,\\n")
    >>> examples, blank = read_labelled_so_far(path, load_task("review_sentiment"))
    >>> len(examples), blank
    (1, 1)
    """
    table = _Labelled(path, card, **columns)
    return table.examples(blank="skip"), table.blank


def read_several(paths: Sequence[str | Path], card: TaskCard, **columns: Any) -> list[Example]:
    """The labelled examples of several files, one after the other.

    Parameters
    ----------
    paths : sequence of str or Path
        Rows of a file without ids are named by the file and the line; those of a single file by
        the line.
    card : TaskCard
        The task.
    **columns
        ``fields``, ``label_column``, ``id_column`` and ``encoding`` of :func:`read_examples`.

    Raises
    ------
    ConfigError
        A file that is named twice.
    DuplicateIdError
        An id that two files have.
    InputError, UnknownLabelError
        As for :func:`read_examples`.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> paths = [Path(tempfile.mkdtemp()) / name for name in ("one.csv", "two.csv")]
    >>> for path in paths:
    ...     _ = path.write_text("text,label\\nfits well,positive\\n")
    >>> [example.id for example in read_several(paths, load_task("review_sentiment"))]
    ['one.csv:line2', 'two.csv:line2']
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise ConfigError("one file of examples is named twice", hint="name each file once")
    names = {Path(path).name for path in paths}
    found: list[Example] = []
    places: dict[str, str] = {}
    for path in paths:
        table = _Labelled(path, card, **columns)
        if len(paths) > 1 and table.id_name is None:
            # Folders may hold files of one name.
            table.prefix = f"{table.name if len(names) == len(paths) else path}:"
        for example in table.examples(blank="error"):
            place = f"{table.name}, line {table.lines[example.id]}"
            first = places.setdefault(example.id, place)
            if first != place:
                raise DuplicateIdError(
                    f"{place}: id {example.id!r} is already used in {first}",
                    hint="make the ids unique across the files, or name another --id-column",
                )
            found.append(example)
    return found


class _Labelled:
    """A table of labelled examples, its columns found.

    Attributes:
        name: of the file, for messages.
        id_name: its column of ids.
        prefix: of ids that are line numbers.
        blank: rows without a label that were skipped.
        lines: id → line.
    """

    def __init__(
        self,
        path: str | Path,
        card: TaskCard,
        fields: Mapping[str, str] | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
        encoding: str | None = None,
    ) -> None:
        self._reader = reader = TableReader(path, encoding=text_encoding(path, encoding))
        self._card = card
        self.name = reader.path.name
        self._mapping = read_marks(
            FieldMap.resolve(card, reader.header, fields, self.name), card, reader
        )
        self._label = find_column(
            reader.header, label_column, card.label_column, self.name, "--label-column "
        )
        self.id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
        if self.id_name is not None:
            reader.require(self.id_name)
        self.prefix = ""
        self.blank = 0
        self.lines: dict[str, int] = {}

    def examples(self, *, blank: Literal["error", "skip"]) -> list[Example]:
        rows = list(self._rows())
        places = [f"{self.name}, line {row.line}" for row in rows]
        labels = column_labels([row.cells[self._label] for row in rows], places, self._label)
        if blank == "skip" and not any(labels):
            raise EmptyInputError(
                f"{self.name}: column {self._label!r} holds no label",
                hint="label some rows, or name another column with --label-column",
            )
        known = _known_labels(self._card)
        columns = self._mapping.columns
        marks = origin_column(
            self._reader.header, {*columns.values(), self._label, self.id_name or ""}
        )
        examples: list[Example] = []
        for row, where, text in zip(rows, places, labels, strict=True):
            if text is None:
                if blank == "error":
                    raise InputError(
                        f"{where}: column {self._label!r} is empty",
                        hint="every example is labelled",
                    )
                self.blank += 1
                continue
            if known is not None:
                for label in self._card.labels_of(text, where):
                    known.require(label, where)
            values = self._mapping.fields(row.cells, self._card)
            empty = first_empty(values, self._card)
            if empty is not None:
                raise InputError(f"{where}: column {columns[empty]!r} is empty")
            id_ = row.cells[self.id_name] if self.id_name else f"{self.prefix}line{row.line}"
            if id_ in self.lines:
                raise DuplicateIdError(
                    f"{where}: id {id_!r} is already used on line {self.lines[id_]}",
                    hint="make the ids unique, or name another column with --id-column",
                )
            self.lines[id_] = row.line
            examples.append(Example(id_, values, text, *origin_of(row.cells, marks, where)))
        return examples

    def _rows(self) -> Iterator[TableRow]:
        for row in self._reader.rows():
            if row.error:
                raise InputError(
                    f"{self.name}, {row.error}",
                    hint="correct that line: cells with a comma, a quote or a line break stand in "
                    "quotes, and the whole file has one encoding (--input-encoding)",
                )
            yield row


def make_example(
    card: TaskCard,
    text: str | None,
    values: Mapping[str, str],
    label: str,
    id: str | None = None,
) -> Example:
    """One labelled example, checked as those of a file are.

    Parameters
    ----------
    card : TaskCard
        The task.
    text : str, optional
        The value of the only required field.
    values : mapping
        Field → value, for the others.
    label : str
        The label.
    id : str, optional
        By default a digest of the fields, so that the same row twice is noticed.

    Raises
    ------
    InputError
        A field that is not the card's, a required one that is empty, or a cell that is not of its
        field's kind.
    UnknownLabelError
        A closed card does not know the label.

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
                hint="give each as --set FIELD=VALUE",
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
        raise InputError(f"field {empty!r} is empty", hint="every example has a value there")
    check_cells(card, fields, "the example")
    named = label_text(label)
    if named is None:
        raise InputError("the label is empty", hint="every example is labelled")
    known = _known_labels(card)
    if known is not None:
        for each in card.labels_of(named, "the example"):
            known.require(each, "the example")
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return Example(f"x-{digest[:12]}" if id is None else id, fields, named)


def check_cells(card: TaskCard, fields: Mapping[str, Any], where: str) -> None:
    """Refuse cells that are not of their field's kind: in a pool, one such example would stop
    every classifier that uses it.

    Parameters
    ----------
    card : TaskCard
        The task.
    fields : mapping
        Field → cell.
    where : str
        What to call the row in errors.

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


def _known_labels(card: TaskCard) -> LabelSpace | None:
    """The labels a closed card allows; ``None`` when the pool's own are the labels."""
    if card.label_space != "closed":
        return None
    return LabelSpace([Label(spec.name, spec) for spec in card.labels])


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

    Parameters
    ----------
    pool : Pool
        Gets the examples.
    examples : iterable of Example
        With unique ids.
    replace : bool
        Give examples that the pool holds under another label the new one, all in one version.
        Without it such an example is an error.
    note : str
        Kept with the version.

    Raises
    ------
    DuplicateIdError
        An id of the pool with other fields or another origin, or (without ``replace``) with
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

    Parameters
    ----------
    pool : Pool
        The examples so far; an empty pool of an open task takes any label.
    labels : mapping
        What a message calls the example → its label.
    card : TaskCard, optional
        Of the task; without one, the labels of the pool are all there are.

    Raises
    ------
    UnknownLabelError
        Naming the example, and the nearest label.

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
    if card is not None and card.several_labels:
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
            folded = {name.casefold(): name for name in reversed(names)}
            close = difflib.get_close_matches(label.casefold(), folded, n=1)
            did = f"did you mean {folded[close[0]]!r}? " if close else ""
            known = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
            raise UnknownLabelError(
                f"{where}: pool {pool.name!r} has no label {label!r}",
                hint=f"{did}labels are: {known}; --new-label adds one",
            )


def export_examples(pool: Pool, path: str | Path, version: int | None = None) -> tuple[int, int]:
    """Write the examples of a pool as a table (see :func:`write_examples`).

    Parameters
    ----------
    pool : Pool
        The examples.
    path : str or Path
        A CSV file.
    version : int, optional
        Of the pool; the newest by default.

    Returns
    -------
    int, int
        The version and the number of examples.

    Raises
    ------
    PoolError
        A version that does not exist.
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


def write_examples(path: str | Path, examples: Sequence[Example]) -> None:
    """Write examples as a table that :func:`read_examples` reads.

    Parameters
    ----------
    path : str or Path
        A CSV file with ``id``, the fields and ``label``; ``synthetic``, ``source_id`` and
        ``method`` where an example has them.
    examples : sequence of Example
        Values that are no text are written as JSON.

    Raises
    ------
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pool.csv"
    >>> write_examples(path, [Example("a", {"text": "fine"}, "positive")])
    >>> path.read_text().splitlines()
    ['id,text,label', 'a,fine,positive']
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
