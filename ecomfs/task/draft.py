"""Drafts a task card from labelled data, and checks finished cards.

Fields, labels and their spellings come from the data. For what is not in the data (the definition
of a label, its word in the other language) the draft has a question that begins with
:data:`QUESTION`; :func:`lint_card` reports every open question.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from ecomfs.errors import TaskError
from ecomfs.io import detect_language
from ecomfs.task.card import Bilingual, TaskCard, plain_key
from ecomfs.task.cells import read_labels

QUESTION = "???"
MAX_LISTED = 50
"""With more labels than this the label space is open: the labels are those of the pool."""

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_HAN = re.compile(r"[\u3400-\u9fff]")
_LANGUAGES = ("en", "zh")
_CALLED = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A new task.

    Attributes:
        card: content of its ``task.yaml``.
        questions: number of questions that a person must answer.
        labels: the labels found, each in its first spelling.
        aliases: label → its other spellings, which differ in case or width only. They are drafted
            as aliases, for a person to confirm.
    """

    card: str
    questions: int
    labels: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]]


def draft_task(
    name: str,
    columns: Sequence[str],
    labels: Sequence[str],
    *,
    label_column: str = "label",
    language: Literal["auto", "en", "zh"] = "auto",
    label_separator: str | None = None,
    hierarchy: str | None = None,
    where: str = "the data",
) -> Draft:
    """Draft a task card for a person to edit.

    Args:
        name: name of the task: lower-case letters, digits and underscores.
        columns: columns for the fields.
        labels: the label of every row of the data, unchanged.
        label_column: name of the label column.
        language: language of the prompts; ``auto`` follows each row.
        label_separator, hierarchy: as in :class:`TaskCard`; with a separator, ``labels`` are cells
            with several labels.
        where: source of the data, for messages.

    Returns:
        The card as YAML text, and the number of questions to answer.

    Raises:
        TaskError: the name is not valid, or there is no column, or fewer than two labels.

    >>> draft = draft_task("gift", ["note"], ["yes", "no", "Yes"])
    >>> draft.labels, draft.aliases, draft.card.splitlines()[2]
    (('yes', 'no'), {'yes': ('Yes',)}, 'name: gift')
    """
    if not _NAME.match(name):
        raise TaskError(
            f"{name!r} is not a valid name of a task",
            hint="use lower-case letters, digits and underscores, a letter first",
        )
    if not columns:
        raise TaskError("no column is left to classify by", hint="name one with --column")
    if label_separator:
        cells = [cell for cell in labels if cell.strip()]
        labels = [x for cell in cells for x in read_labels(cell, where, label_separator)]
    spellings: dict[str, list[str]] = {}
    for label in labels:
        if label.strip():
            known = spellings.setdefault(plain_key(label), [])
            if label.strip() not in known:
                known.append(label.strip())
    if len(spellings) < 2:
        raise TaskError(
            f"{where}: column {label_column!r} holds {'one' if spellings else 'no'} label; a task "
            "needs two",
            hint="name another with --label-column",
        )
    several = {"label_separator": label_separator, "hierarchy": hierarchy}
    declared = {key: value for key, value in several.items() if value is not None}
    card = _card(name, columns, list(spellings.values()), label_column, language, declared)
    TaskCard.model_validate(card)
    text = yaml.safe_dump(card, allow_unicode=True, sort_keys=False, width=96)
    head = (
        f"# A draft. Replace every text that begins with {QUESTION} and check the rest, then run:\n"
        f"#   ecomfs lint-task {name}\n"
    )
    return Draft(
        head + text,
        text.count(f"{QUESTION} "),
        tuple(s[0] for s in spellings.values()),
        {s[0]: tuple(s[1:]) for s in spellings.values() if "labels" in card and s[1:]},
    )


def _card(
    name: str,
    columns: Sequence[str],
    spellings: list[list[str]],
    label_column: str,
    language: str,
    declared: Mapping[str, str],
) -> dict[str, Any]:
    listed = len(spellings) <= MAX_LISTED and not declared.get("hierarchy")
    title = name.replace("_", " ").capitalize()
    card: dict[str, Any] = {
        "name": name,
        "title": {"en": title, "zh": _ask(f"The task's name in Chinese ({title})?")},
        "description": _both("What is asked of a row, in one LANGUAGE sentence?"),
        "fields": _fields(columns),
        "label_title": _titles(label_column, "Label", "标签"),
        "label_column": [label_column, *({"label"} - {label_column, *columns})],
        "label_space": "closed" if listed else "open",
        **declared,
    }
    if listed:
        taken = {plain_key(each[0]) for each in spellings}
        card["labels"] = [_label(each, taken) for each in spellings]
    card["instruction"] = _both("What should the reader decide, in one LANGUAGE sentence?")
    card["language"] = language
    return card if language == "auto" else _in_one_language(card, language)


def _fields(columns: Sequence[str]) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for number, column in enumerate(columns, 1):
        slug = re.sub(r"[^a-z0-9]+", "_", column.strip().casefold()).strip("_")
        name = slug if _NAME.match(slug) else ("text" if len(columns) == 1 else f"field_{number}")
        while any(field["name"] == name for field in fields):
            name += f"_{number}"
        field: dict[str, Any] = {
            "name": name,
            "title": _titles(column, *[column.replace("_", " ")] * 2),
        }
        if name != column:
            field["aliases"] = [column]
        fields.append(field)
    return fields


def _label(spellings: list[str], taken: set[str]) -> dict[str, Any]:
    name = spellings[0]
    own = "zh" if _HAN.search(name) else "en"
    other = "en" if own == "zh" else "zh"
    word = name.replace("_", " ").strip()
    if not word or (plain_key(word) in taken and word != name):
        word = name  # another label has this spelling
    taken.add(plain_key(word))
    label: dict[str, Any] = {
        "name": name,
        "words": {
            own: word,
            other: _ask(f"The {_CALLED[other]} word for {name!r}?"),
        },
        "definition": _both(f"In one LANGUAGE sentence: when is a row {name!r}?"),
    }
    if spellings[1:]:
        label["aliases"] = spellings[1:]
    return label


def _titles(column: str, en: str, zh: str) -> dict[str, str]:
    """The name of a column in its language, and the given general word in the other one."""
    shown = column.replace("_", " ").strip()
    chinese = detect_language(shown) == "zh"
    return {"en": en if chinese else shown[:1].upper() + shown[1:], "zh": shown if chinese else zh}


def _both(question: str) -> dict[str, str]:
    return {each: _ask(question.replace("LANGUAGE", _CALLED[each], 1)) for each in _LANGUAGES}


def _in_one_language(value: Any, language: str) -> Any:
    """The card with texts in one language only."""
    if isinstance(value, dict):
        if value.keys() == set(_LANGUAGES):
            return value[language]
        return {key: _in_one_language(inner, language) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_one_language(item, language) for item in value]
    return value


def _ask(question: str) -> str:
    return f"{QUESTION} {question}"


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One problem found in a card.

    Attributes:
        level: ``error`` or ``warning``; with errors the task must not be used.
        where: the key of the card, or the template.
        what: what is wrong.
        hint: how to fix it.

    >>> LintFinding("error", "instruction.zh", "is empty", "write it").level
    'error'
    """

    level: Literal["error", "warning"]
    where: str
    what: str
    hint: str = ""


def lint_card(card: TaskCard) -> list[LintFinding]:
    """Check a card for missing texts, open questions and ambiguous names.

    A text missing in a language without prompts (with ``language: en``) is only a warning.

    Args:
        card: the card.

    Returns:
        Errors and warnings, in the order of the card.

    >>> from ecomfs.task import load_task
    >>> lint_card(load_task("product_category"))
    []
    """
    return [*_texts(card), *_spellings(card), *_columns(card)]


def _texts(card: TaskCard) -> Iterator[LintFinding]:
    for where, text in _bilinguals(card):
        for language in ("en", "zh"):
            value = text.get("zh" if language == "zh" else "en").strip()
            if value and not value.startswith(QUESTION):
                continue
            used = card.language in ("auto", language)
            if not used and text.en == text.zh:
                continue
            what = "is still an open question" if value else "is empty"
            hint = value.removeprefix(QUESTION).strip() or "write it"
            yield LintFinding("error" if used else "warning", f"{where}.{language}", what, hint)


def _bilinguals(card: TaskCard) -> Iterable[tuple[str, Bilingual]]:
    yield "title", card.title
    yield "description", card.description
    for field in card.fields:
        yield f"fields.{field.name}.title", field.title
    yield "label_title", card.label_title
    for label in card.labels:
        yield f"labels.{label.name}.words", label.words
        yield f"labels.{label.name}.definition", label.definition
    yield "instruction", card.instruction


def _spellings(card: TaskCard) -> Iterator[LintFinding]:
    """Warn of spellings of two labels that differ only in case or width: text that matches neither
    exactly is ambiguous, and no label is read from it."""
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    for label in card.labels:
        for spelling in label.spellings():
            if not spelling.startswith(QUESTION):
                owners[plain_key(spelling)].setdefault(label.name, spelling)
    for labels in owners.values():
        if len(labels) > 1:
            (one, first), (two, second) = list(labels.items())[:2]
            yield LintFinding(
                "warning",
                f"labels.{two}",
                f"{second!r} differs from {first!r} of {one!r} in case or width only",
                "make it an alias if it is the same label; else choose another spelling",
            )


def _columns(card: TaskCard) -> Iterator[LintFinding]:
    owner: dict[str, str] = {}
    for field in card.fields:
        for name in (field.name, *field.aliases):
            key = plain_key(name)
            other = owner.setdefault(key, field.name)
            if other != field.name:
                yield LintFinding(
                    "error",
                    f"fields.{field.name}",
                    f"{name!r} also means field {other!r}",
                    "a column can be one field only",
                )
    for name in card.label_column:
        if plain_key(name) in owner:
            yield LintFinding(
                "error",
                "label_column",
                f"column {name!r} is also field {owner[plain_key(name)]!r}",
                "give the field another column: the prompt would contain the label",
            )
