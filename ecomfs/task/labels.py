"""The label space of one run: the card's labels, spelt as the pool spells them.

The pool may write ``Positive``, ``pos`` or ``好评`` for the card's ``positive``: all of them mean
one label, and predictions come back in the pool's own spelling (the first one seen).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecomfs.errors import PoolError, UnknownLabelError
from ecomfs.task.card import LabelSpec, TaskCard, plain_key
from ecomfs.text.normalise import fold, squeeze
from ecomfs.types import Language


@dataclass(frozen=True, slots=True)
class Label:
    """One label: ``name`` as the pool spells it, and the card's entry where there is one.

    ``reading`` is what stands in the prompt for a label that only the pool knows; the name when
    empty.
    """

    name: str
    spec: LabelSpec | None = None
    reading: str = ""

    def word(self, language: Language) -> str:
        """What stands in the prompt for it."""
        return self.spec.words.get(language) if self.spec else self.reading or self.name

    def definition(self, language: Language) -> str:
        """The card's definition; empty for labels only the pool knows."""
        return self.spec.definition.get(language) if self.spec else ""


class LabelSpace:
    """An ordered, closed set of labels for one run.

    >>> from ecomfs.task import load_task
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), ["Negative", "Positive"])
    >>> space.names
    ('Positive', 'Negative')
    >>> space.index(" POS "), space.index("meh")
    (0, None)
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        self.labels = tuple(labels)
        self.names = tuple(label.name for label in labels)
        self._exact: dict[str, int] = {}
        self._loose: dict[str, int | None] = {}
        # A label's own name beats another label's alias.
        for position, label in enumerate(labels):
            self._exact.setdefault(plain_key(label.name), position)
        for position, label in enumerate(labels):
            for spelling in (label.name, *(label.spec.spellings() if label.spec else ())):
                self._exact.setdefault(plain_key(spelling), position)
                loose = fold(spelling)
                # A loose key that two labels share must not decide between them.
                if loose and self._loose.setdefault(loose, position) != position:
                    self._loose[loose] = None

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, spelling: str) -> int | None:
        """Position of the label that ``spelling`` means, by name, alias or case; ``None`` when
        it means none of them."""
        found = self._exact.get(plain_key(spelling))
        return found if found is not None else self._loose.get(fold(spelling))

    def exact(self, spelling: str) -> int | None:
        """Like :meth:`index`, but only width, case and outer space may differ."""
        return self._exact.get(plain_key(spelling))

    def require(self, spelling: str, where: str) -> int:
        """Like :meth:`index`, but raises :class:`UnknownLabelError` naming ``where``."""
        found = self.index(spelling)
        if found is None:
            close = difflib.get_close_matches(spelling, self.names, n=1)
            did = f"did you mean {close[0]!r}? " if close else ""
            known = ", ".join(self.names[:12]) + (" …" if len(self.names) > 12 else "")
            raise UnknownLabelError(
                f"{where}: unknown label {spelling!r}", hint=f"{did}labels are: {known}"
            )
        return found

    @classmethod
    def resolve(cls, card: TaskCard, pool_labels: Iterable[str], where: str = "pool") -> LabelSpace:
        """The label space of ``card`` for a pool with these labels (repeats are fine).

        Raises:
            UnknownLabelError: a closed card does not know one of the pool's labels.
            PoolError: the pool has examples of one label only.
        """
        seen = list(dict.fromkeys(pool_labels))
        known = cls([Label(spec.name, spec) for spec in card.labels])
        if card.label_space == "open":
            space = cls(cls._open_labels(seen, known))
        else:
            spelling: dict[int, str] = {}
            for name in seen:
                spelling.setdefault(known.require(name, where), name)
            space = cls(
                [
                    Label(spelling.get(i, spec.name), spec)
                    for i, spec in enumerate(card.labels)
                    if i in spelling or not spec.optional
                ]
            )
            seen = list(spelling.values())
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
        names: dict[str, str] = {}
        for name in sorted(seen):  # "Shoes" and "shoes " are one label; the first spelling wins
            names.setdefault(plain_key(name), name)
        if not names:
            return list(known.labels)
        # Where two of the pool's labels mean one entry of the card, the one of its name has it.
        owner: dict[int, str] = {}
        for name in names.values():
            position = known.index(name)
            if position is not None:
                own = plain_key(known.names[position]) == plain_key(name)
                owner[position] = name if own else owner.get(position, name)
        specs = {name: known.labels[position].spec for position, name in owner.items()}
        readings = Counter(plain_key(_reading(name)) for name in names.values())
        return [
            Label(
                name,
                specs.get(name),
                _reading(name) if readings[plain_key(_reading(name))] == 1 else "",
            )
            for name in names.values()
        ]


def _reading(name: str) -> str:
    """Underscores read as spaces: small models know the words of ``card_arrival``, not the name.

    >>> _reading("card_arrival"), _reading("_")
    ('card arrival', '_')
    """
    return squeeze(name.replace("_", " ")) or name
