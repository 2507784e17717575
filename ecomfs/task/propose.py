"""Proposes the label column and the task of an unknown table.

If the names and values of the table allow several answers, all of them are returned, for a person
to choose from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ecomfs.errors import ColumnError, PoolError, TaskError, UnknownLabelError
from ecomfs.io import NumberError, possible_marks, read_number
from ecomfs.task.card import TaskCard
from ecomfs.task.draft import QUESTION
from ecomfs.task.fields import FieldMap
from ecomfs.task.labels import Label, LabelSpace
from ecomfs.task.registry import available_tasks, load_task

_PLAIN = ("label", "labels", "标签")
_COMMON = ("class", "y", "gold", "answer", "truth", "target_label", "分类", "结果")
_MOST_LABELS = 200
_LONGEST_LABEL = 60
_REPEATED = 3
"""Mean repetitions of a value from which a column counts as categories."""
_KNOWN = 0.1
"""A task with an open label space fits well if the card has this share of the table's labels."""

Cells = Mapping[str, Sequence[str]]
"""Column → its cells."""


def label_columns(cells: Cells) -> list[str]:
    """The columns that may hold the label; several if a person must choose.

    A column called ``label`` comes first, then label columns of task cards (``sentiment``,
    ``category``, …), then other usual names, then columns of few, short, repeated values.

    Args:
        cells: column → its cells.

    Returns:
        Names of columns; empty if none looks like labels.

    >>> texts = [f"text {i}" for i in range(6)]
    >>> label_columns({"text": texts, "label": ["a", "b"] * 3, "shop": ["x", "y"] * 3})
    ['label']
    >>> label_columns({"text": texts, "mood": ["a", "b"] * 3, "shop": ["x", "x", "y"] * 2})
    ['mood', 'shop']
    """
    cards = [load_task(name) for name in _tasks()]
    of_cards = {name.casefold() for card in cards for name in card.label_column}
    for names in (_PLAIN, of_cards, _COMMON):
        found = [c for c in cells if c.strip().casefold() in names and _kinds(cells[c]) > 1]
        if found:
            return found
    return [column for column, values in cells.items() if _like_labels(values)]


def _kinds(values: Iterable[str]) -> int:
    return len({value.strip() for value in values} - {""})


def _like_labels(values: Sequence[str]) -> bool:
    filled = [value.strip() for value in values if value.strip()]
    kinds = set(filled)
    short = all(len(value) <= _LONGEST_LABEL for value in kinds)
    return 2 <= len(kinds) <= min(_MOST_LABELS, len(filled) // 3) and short


@dataclass(frozen=True, slots=True)
class TaskProposal:
    """A task that a table fits.

    Attributes:
        task: its name.
        columns: field of the card → column of the table.
        known: share of the table's labels that the card has.
        why: evidence for it, in words.

    >>> propose_tasks(["text", "mood"], "mood", ["positive", "negative"])[0].columns
    {'text': 'text'}
    """

    task: str
    columns: Mapping[str, str]
    known: float
    why: str


def propose_tasks(
    header: Sequence[str], label_column: str, labels: Sequence[str]
) -> list[TaskProposal]:
    """The tasks that fit a table best.

    A card with the table's labels fits better than one with an open label space; among equal ones,
    the one with more of the table's columns. An open card with a single field ``text`` fits any
    table of texts, so it is never the only answer.

    Args:
        header: the columns of the table.
        label_column: the column with the labels.
        labels: the different labels.

    Returns:
        The best tasks; several if a person must choose, none if no task fits.

    >>> [p.task for p in propose_tasks(["id", "query", "product", "label"], "label", ["1", "0"])]
    ['query_relevance']
    >>> len(propose_tasks(["text", "label"], "label", ["blue", "green"])) > 1
    True
    >>> propose_tasks(["weight", "label"], "label", ["heavy", "light"])
    []
    """
    found: dict[tuple[int, int], list[TaskProposal]] = {}
    for name in _tasks():
        card = load_task(name)
        proposal = _fit(name, card, header, label_column, labels)
        if proposal is not None:
            sure = 2 if proposal.known == 1 else 1 if proposal.known >= _KNOWN else 0
            place = (sure, len(proposal.columns) if sure else _named(card, proposal, label_column))
            found.setdefault(place, []).append(proposal)
    return found[max(found)] if found else []


def only_texts(proposals: Sequence[TaskProposal]) -> bool:
    """Whether a text column is the only evidence for these tasks, which fit any text.

    >>> only_texts(propose_tasks(["text", "label"], "label", ["blue", "green"]))
    True
    >>> only_texts(propose_tasks(["text", "label"], "label", ["positive", "negative"]))
    False
    """
    return all(
        p.known < _KNOWN and {c.strip().casefold() for c in p.columns.values()} == {"text"}
        for p in proposals
    )


def _tasks() -> list[str]:
    return [name for name in available_tasks() if _loads(name)]


def _loads(name: str) -> bool:
    """Whether a task can be loaded: a broken task must not stop the proposal of another one."""
    try:
        load_task(name)
    except TaskError:
        return False
    return True


def _fit(
    name: str, card: TaskCard, header: Sequence[str], label_column: str, labels: Sequence[str]
) -> TaskProposal | None:
    others = [column for column in header if column != label_column]
    try:
        columns = FieldMap.resolve(card, others).columns
        LabelSpace.resolve(card, labels)
    except (ColumnError, UnknownLabelError, PoolError):
        return None
    if not any(spec.required for spec in card.fields) and len(columns) < max(3, len(others) // 3):
        return None
    space = LabelSpace([Label(spec.name, spec) for spec in card.labels])
    known = sum(space.index(label) is not None for label in labels) / max(len(labels), 1)
    shown = ", ".join(f"{field} = {column}" for field, column in list(columns.items())[:4])
    more = f" and {len(columns) - 4} more" if len(columns) > 4 else ""
    knows = "labels of the table" if not known else f"it knows {known:.0%} of the labels"
    return TaskProposal(name, columns, known, f"{shown}{more}; {knows}")


def _named(card: TaskCard, proposal: TaskProposal, label_column: str) -> int:
    """Number of matched columns with a specific name, other than ``text`` and ``label``."""
    own = [c for c in proposal.columns.values() if c.strip().casefold() != "text"]
    says = label_column.strip().casefold() not in _PLAIN and label_column.strip().casefold() in {
        name.casefold() for name in card.label_column
    }
    return len(own) + says


def text_columns(cells: Cells, label_column: str) -> list[str]:
    """The columns for the fields of a new task: the text columns, or all if there are none.

    Left out are the label, ids, empty or constant columns, and columns that are copies of the
    label in other words.

    Args:
        cells: column → its cells.
        label_column: the column of the labels.

    Returns:
        In the order of the table.

    >>> table = {"id": ["1", "2", "3"], "note": ["so soft", "it broke", "too big"],
    ...          "label": ["good", "bad", "bad"], "label_zh": ["好", "坏", "坏"]}
    >>> text_columns(table, "label")
    ['note']
    """
    labels = [value.strip() for value in cells[label_column]]
    kept = {}
    for column, values in cells.items():
        found = [value.strip() for value in values]
        if column == label_column or _kinds(found) < 2 or is_id(column, found):
            continue
        if _kinds(found) == _kinds(labels) == len(set(zip(found, labels, strict=True))):
            continue
        kept[column] = found
    texts = [c for c, values in kept.items() if _like_texts(values)]
    return texts or [*kept]


def is_id(column: str, values: Sequence[str]) -> bool:
    """Whether a column holds ids of its rows or of something in them.

    >>> is_id("order_id", ["7", "7"]), is_id("ID", ["a", "b"]), is_id("paid", ["yes", "no"])
    (True, True, False)
    """
    name = column.strip().casefold()
    return name in ("id", "uuid", "编号", "序号") or name.endswith(("_id", " id"))


def _like_texts(values: Sequence[str]) -> bool:
    filled = [value for value in values if value]
    words = sum(len(value) for value in filled) / max(len(filled), 1)
    return len(set(filled)) * 2 > len(filled) and words > 12


def filled_card(draft: str, cells: Cells) -> str:
    """A drafted card with plain texts instead of questions, so that it can be used at once.
    Definitions of labels, which are not in the table, are left empty. Kinds of fields, and whether
    they may be empty, come from the cells of the table.

    Args:
        draft: the card of :func:`ecomfs.task.draft_task`.
        cells: column → its cells.

    Returns:
        A card as YAML text.

    >>> from ecomfs.task import draft_task
    >>> draft = draft_task("gift", ["note", "price"], ["yes", "no"], label_column="for_gift").card
    >>> card = yaml.safe_load(filled_card(draft, {"note": ["hi", "yo"], "price": ["9.5", ""]}))
    >>> card["fields"][1]["kind"], card["fields"][1]["required"]
    ('number', False)
    >>> card["instruction"]["en"], card["labels"][0]
    ('For gift: decide it for each row.', {'name': 'yes', 'words': {'en': 'yes', 'zh': 'yes'}, ...
    """
    card: dict[str, Any] = yaml.safe_load(draft)
    title = card["label_title"]
    names = title if isinstance(title, dict) else {"en": title, "zh": title}
    plain = {
        "title": card["title"]["en"] if isinstance(card["title"], dict) else card["name"],
        "description": {"en": f"{names['en']} of each row.", "zh": f"每一行的{names['zh']}。"},
        "instruction": {
            "en": f"{names['en']}: decide it for each row.",
            "zh": f"判断每一行的{names['zh']}。",
        },
    }
    for key, value in plain.items():
        if _asks(card[key]):
            card[key] = value
    for field in card["fields"]:
        column = next((c for c in (*field.get("aliases", ()), field["name"]) if c in cells), None)
        if column is not None:
            field |= _kind(cells[column])
    for label in card.get("labels", ()):
        label["definition"] = "" if _asks(label["definition"]) else label["definition"]
        words = label["words"]
        if isinstance(words, dict):
            known = next(word for word in words.values() if not _asks(word))
            label["words"] = {k: known if _asks(word) else word for k, word in words.items()}
        elif _asks(words):
            label["words"] = label["name"]
    head = (
        "# Made by ecomfs init. Say what each label means (definition) and check the rest, then\n"
        "# run ecomfs lint-task on this folder; docs/tasks.md explains the keys.\n"
    )
    return head + yaml.safe_dump(card, allow_unicode=True, sort_keys=False, width=96)


def _kind(values: Sequence[str]) -> dict[str, Any]:
    """The kind of a field with these cells, as keys of a card."""
    filled = [value.strip() for value in values if value.strip()]
    found: dict[str, Any] = {}
    if filled and all(map(_is_number, filled)):
        found["kind"] = "number"
    elif len({*filled}) * _REPEATED <= len(filled) and max(map(len, filled)) <= _LONGEST_LABEL:
        found["kind"] = "category"
    if len(filled) < len(values):
        found |= {"required": False, "missing": "skip"}
    return found


def _is_number(text: str) -> bool:
    if sum(map(str.isdigit, text)) * 2 < len(text):  # words with a number in them
        return False
    try:
        read_number(text)
    except NumberError:
        return bool(possible_marks(text))  # with either mark; the column's is decided later
    return True


def _asks(text: Any) -> bool:
    return any(map(_asks, text.values())) if isinstance(text, dict) else QUESTION in text


__all__ = [
    "TaskProposal",
    "filled_card",
    "is_id",
    "label_columns",
    "only_texts",
    "propose_tasks",
    "text_columns",
]
