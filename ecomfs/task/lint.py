"""What is wrong with a task card, beyond what loading it refuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ecomfs.task.card import Bilingual, TaskCard, plain_key
from ecomfs.task.draft import QUESTION


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One thing that a person should look at.

    Attributes:
        level: ``error``: the task must not be used so; ``warning``: it can be.
        where: the key of the card, or the template.
        what: what is wrong.
        hint: the mend.
    """

    level: Literal["error", "warning"]
    where: str
    what: str
    hint: str = ""


def lint_card(card: TaskCard) -> list[LintFinding]:
    """Texts that are missing or still questions, and names that could mean two things.

    A text that is missing in a language the card never speaks (``language: en``) is a warning.

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
            spoken = card.language in ("auto", language)
            what = "is still a question" if value else "is empty"
            hint = value.removeprefix(QUESTION).strip() or "write it"
            yield LintFinding("error" if spoken else "warning", f"{where}.{language}", what, hint)


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
    """Spellings of two labels that differ only in case or width: one that matches neither exactly
    could mean both, and counts as neither."""
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
                "if it is the same label, make it an alias; else choose another spelling",
            )


def _columns(card: TaskCard) -> Iterator[LintFinding]:
    owner: dict[str, str] = {}
    for field in card.fields:
        for name in (field.name, *field.aliases):
            key = plain_key(name)
            other = owner.setdefault(key, field.name)
            if other != field.name:
                yield LintFinding(
                    "error", f"fields.{field.name}", f"{name!r} also means field {other!r}",
                    "a column can be one field only",
                )  # fmt: skip
    for name in card.label_column:
        if plain_key(name) in owner:
            yield LintFinding(
                "error", "label_column",
                f"column {name!r} is also field {owner[plain_key(name)]!r}",
                "the label would stand in the prompt",
            )  # fmt: skip


def failed(findings: Sequence[LintFinding]) -> bool:
    """Whether one of them is an error."""
    return any(finding.level == "error" for finding in findings)
