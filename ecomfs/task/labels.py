"""The label space of one run: the labels of the card in the spelling of the pool.

The pool may write ``Positive``, ``pos`` or ``好评`` for the card's ``positive``: all of them mean
one label, and predictions use the pool's own spelling (the first one seen). For labels that only
the pool has, each spelling is a label: ``Apple`` and ``apple`` are two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecomfs.core.messages import did_you_mean, listed
from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.io import squeeze
from ecomfs.task.card import LabelSpec, TaskCard, plain_key
from ecomfs.task.cells import join_labels, read_labels
from ecomfs.task.label_value import is_missing_number, label_number, label_order, label_text
from ecomfs.types import Example, Language

_BETWEEN = re.compile(r"[|;]")
"""Usual separators between several labels."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a run.

    Attributes
    ----------
    name : str
        The label in the spelling of the pool.
    spec : LabelSpec | None
        Its entry in the card.
    reading : str
        Word in the prompt for a label that only the pool has; the name when empty.

    Examples
    --------
    >>> Label("card_arrival", reading="card arrival").word("en")
    'card arrival'
    """

    name: str
    spec: LabelSpec | None = None
    reading: str = ""

    def word(self, language: Language) -> str:
        """The word for the label in prompts."""
        return self.spec.words.get(language) if self.spec else self.reading or self.name

    def definition(self, language: Language) -> str:
        """The card's definition; empty for labels that only the pool has."""
        return self.spec.definition.get(language) if self.spec else ""

    def spellings(self) -> tuple[str, ...]:
        """Every string that means this label: its name, its words in prompts, its aliases."""
        declared = self.spec.spellings() if self.spec else ()
        return (self.name, *([self.reading] if self.reading else []), *declared)


class LabelSpace:
    """An ordered, closed set of labels for one run.

    Attributes
    ----------
    labels, names : Sequence[Label]
        The labels and their names, in order.
    merged : Mapping[str, tuple[str, ...]] | None
        Name → other spellings in the pool that the card does not list exactly (``positive`` when
        the name is ``Positive``); empty for most pools.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), ["Negative", "Positive"])
    >>> space.names
    ('Positive', 'Negative')
    >>> space.index(" POS "), space.index("1.0"), space.index("meh")
    (0, 0, None)
    """

    def __init__(
        self, labels: Sequence[Label], merged: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.labels = tuple(labels)
        self.names = tuple(label.name for label in labels)
        self.merged = dict(merged or {})
        names = [[name] for name in self.names]
        spelt = [label.spellings() for label in labels]
        # From the strictest match to the loosest; names before spellings in the card.
        self._tables: list[tuple[Callable[[str], Hashable | None], dict[Hashable, int | None]]] = [
            (key, _table(spellings, key))
            for key in (str.strip, label_number, plain_key)
            for spellings in (names, spelt)
        ]

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, spelling: str) -> int | None:
        """Position of the label that ``spelling`` means; ``None`` if it is unknown or ambiguous.

        Matched in this order: the exact text of a name or of a spelling in the card; the same
        number (``1.0`` is ``1``, ``-1`` is not); the same text except for case and width. No
        character is dropped: ``C#`` is not ``C``, ``10%`` is not ``10``.
        """
        text = spelling.strip()
        for key, table in self._tables:
            value = key(text)
            if value is not None and value in table:
                return table[value]
        return None

    def require(self, spelling: str, where: str) -> int:
        """Like :meth:`index`, but raises :class:`UnknownLabelError` naming ``where``."""
        found = self.index(spelling)
        if found is None:
            near = did_you_mean(spelling, self.names)
            parts = _BETWEEN.split(spelling)
            if len(parts) > 1 and any(self.index(part) is not None for part in parts):
                near = "if these are several labels, set label_separator in the task.yaml; "
            raise UnknownLabelError(
                f"{where}: unknown label {spelling!r}",
                hint=f"{near}labels are: {listed(self.names)}",
            )
        return found

    def true_label(self, value: Any, where: str = "the true label") -> str:
        """The true label of a row in the pool's spelling; empty when it is missing. An unknown
        label is returned unchanged: the row is scored and always wrong, and callers report it.

        Raises:
            InputError: the value is not one label (:func:`ecomfs.task.label_text`).

        >>> space = LabelSpace([Label("0"), Label("1")])
        >>> [space.true_label(v) for v in (1.0, "1.0", float("nan"), "nan", "-1", "10")]
        ['1', '1', '', '', '-1', '10']
        """
        text = label_text(value, where)
        if text is None:
            return ""
        found = self.index(text)
        if found is not None:
            return self.names[found]
        return "" if is_missing_number(text, self.names) else text

    @classmethod
    def resolve(cls, card: TaskCard, pool_labels: Iterable[str], where: str = "pool") -> LabelSpace:
        """The label space of ``card`` for a pool with these labels (repeats are allowed).

        Raises:
            UnknownLabelError: a closed card does not have one of the pool's labels.
            PoolError: the pool has examples of one label only.
        """
        seen = list(dict.fromkeys(label.strip() for label in pool_labels))
        known = cls([Label(spec.name, spec) for spec in card.labels])
        if card.label_space == "open":
            space = cls(cls._open_labels(seen, known))
        else:
            spelling: dict[int, list[str]] = {}
            for name in seen:
                spelling.setdefault(known.require(name, where), []).append(name)
            space = cls(
                [
                    Label(spelling[i][0] if i in spelling else spec.name, spec)
                    for i, spec in enumerate(card.labels)
                    if i in spelling or not spec.optional
                ],
                {
                    names[0]: tuple(names[1:])
                    for i, names in spelling.items()
                    if len(names) > 1 and not set(names) <= set(card.labels[i].spellings())
                },
            )
            seen = [names[0] for names in spelling.values()]
        if len(seen) == 1:
            raise PoolError(
                f"{where}: all labelled examples have the label {seen[0]!r}",
                hint="add at least one example of another label",
            )
        if len(space) < 2:
            raise PoolError(
                f"{where}: no labelled examples, and task {card.name!r} takes its labels from them",
                hint="give at least one example of each label",
            )
        return space

    @staticmethod
    def _open_labels(seen: Sequence[str], known: LabelSpace) -> list[Label]:
        names = label_order(seen)
        if not names:
            return list(known.labels)
        meant: dict[int, list[str]] = {}
        for name in names:
            position = known.index(name)
            if position is not None:
                meant.setdefault(position, []).append(name)
        specs: dict[str, LabelSpec | None] = {}
        for position, those in meant.items():
            # If two labels of the pool match one entry, the one with the entry's name gets it.
            entry = known.labels[position]
            name = min(
                those, key=lambda n: (n != entry.name, plain_key(n) != plain_key(entry.name))
            )
            others = set(names) - {name}
            if entry.spec and not {entry.word("en"), entry.word("zh")} & others:
                specs[name] = entry.spec
        readings = Counter(plain_key(_reading(name)) for name in names)
        return [
            Label(
                name,
                specs.get(name),
                _reading(name) if readings[plain_key(_reading(name))] == 1 else "",
            )
            for name in names
        ]


class MultiLabelSpace(LabelSpace):
    """The label space of a multi-label task, where a cell may hold several labels.

    >>> from ecomfs.task import Label
    >>> space = MultiLabelSpace([Label("late"), Label("broken")], "|")
    >>> space.true_label("Broken|late"), space.true_label("[]"), space.true_label(" ")
    ('late|broken', '[]', '')
    """

    def __init__(self, labels: Sequence[Label], separator: str) -> None:
        super().__init__(labels)
        self.separator = separator

    def true_label(self, value: Any, where: str = "the true label") -> str:
        """The true labels of a row as one cell, in the order of the label space; empty if they are
        missing. Unknown labels are kept and always wrong.

        Raises:
            InputError: the value is not a list of labels.
        """
        if isinstance(value, str) and not value.strip():
            return ""
        found = read_labels(value, where, self.separator)
        known = {self.index(text): text for text in found}
        ordered = [self.names[i] for i in sorted(i for i in known if i is not None)]
        unknown = [text for text in found if self.index(text) is None]
        return join_labels([*ordered, *unknown], self.separator)


class HierarchySpace(LabelSpace):
    """The label space of a hierarchy. Spaces around the separator of parent and child are ignored.

    >>> space = HierarchySpace(["Home > Lamps", "Toys > Games"], " > ")
    >>> space.true_label("home>lamps"), space.parent("Toys > Games")
    ('Home > Lamps', 'Toys')
    """

    def __init__(self, leaves: Sequence[str], separator: str) -> None:
        super().__init__([Label(leaf) for leaf in leaves])
        self.separator = separator
        self._leaves = {_plain_leaf(leaf, separator): leaf for leaf in leaves}

    def true_label(self, value: Any, where: str = "the true label") -> str:
        """The true label of a row in the pool's spelling; see :meth:`LabelSpace.true_label`."""
        found = super().true_label(value, where)
        return found and self._leaves.get(_plain_leaf(found, self.separator), found)

    def parent(self, leaf: str) -> str:
        """The parent of a label."""
        return leaf.partition(self.separator.strip())[0].strip()


def label_space_of(
    card: TaskCard, examples: Iterable[Example], where: str = "examples"
) -> LabelSpace:
    """The label space of labelled examples, in their spelling.

    Raises:
        InputError, PoolError: the examples do not fit the task.

    >>> from ecomfs.task import load_task
    >>> pool = [Example("1", {}, "quality_bad|price_good")]
    >>> label_space_of(load_task("review_aspects"), pool).true_label("price_good | quality_bad")
    'quality_bad|price_good'
    """
    labels = [name for e in examples for name in card.labels_of(e.label, f"example {e.id!r}")]
    space = LabelSpace.resolve(card, labels, where)
    if card.label_separator:
        return MultiLabelSpace(space.labels, card.label_separator)
    return space if card.hierarchy is None else HierarchySpace(space.names, card.hierarchy)


def _table(
    spellings: Sequence[Sequence[str]], key: Callable[[str], Hashable | None]
) -> dict[Hashable, int | None]:
    """Key → position of the label with this key; ``None`` if two labels have it."""
    table: dict[Hashable, int | None] = {}
    for position, own in enumerate(spellings):
        for value in {key(spelling.strip()) for spelling in own} - {None, ""}:
            table[value] = None if value in table else position
    return table


def _reading(name: str) -> str:
    """The name with spaces for underscores: small models read words better than ``card_arrival``.

    >>> _reading("card_arrival"), _reading("_")
    ('card arrival', '_')
    """
    return squeeze(name.replace("_", " ")) or name


def _plain_leaf(label: str, separator: str) -> str:
    """A key that is equal for all spellings of one label of a hierarchy.

    >>> _plain_leaf("Home > Lamps", " > ") == _plain_leaf("home>lamps", " > ")
    True
    """
    parent, mark, child = label.partition(separator.strip())
    return "\0".join([plain_key(parent), mark, plain_key(child)])
