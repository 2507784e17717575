"""Prompts of a multi-label task: demonstrations and row first, the label asked about last.

All prompts of a row have the same demonstrations, so they share a prefix. A demonstration ends in
lines such as ``slow: yes``. Every label has equally many lines with yes and with no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ecomfs.features import RowText
from ecomfs.prompt import ANSWER_PLACEHOLDER, PromptBuilder, Template
from ecomfs.task import Bilingual, Label, LabelSpace, LabelSpec, TaskCard, common_template
from ecomfs.types import Demonstration, Language, Row

FOLDER, VERSION = "_multilabel", "v1"


def _answer(name: str, en: str, zh: str) -> Label:
    spec = LabelSpec(
        name=name,
        words=Bilingual(en=en, zh=zh),
        definition=Bilingual(en="", zh=""),
    )
    return Label(name, spec)


YES_NO = LabelSpace([_answer("yes", "yes", "是"), _answer("no", "no", "否")])
"""The possible answers about a label; :data:`YES` is the position of yes."""
YES, NO = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPrompts(PromptBuilder):
    """Builds the prompts that ask about one label.

    All prompts of a row are equal up to their last line, which names the label.

    Attributes:
        labels: the label space.
        words: the text in the prompt for each label.
        sets: example id → positions of its labels.
        asked: position of the label that is asked about.
    """

    _context_is_fixed: ClassVar[bool] = False
    labels: LabelSpace
    words: tuple[str, ...]
    sets: Mapping[str, frozenset[int]]
    asked: int

    def separator(self) -> str:
        """The text between a label and its answer in this template."""
        context = self._trial()
        probe = [{"text": "x", "lines": [{"label": "x", "answer": ANSWER_PLACEHOLDER}]}]
        return self.template.answer_separator(context | {"demonstrations": probe})

    def standing(self, demonstrations: Sequence[Demonstration]) -> tuple[str, ...]:
        """Ids of the demonstrations in the prompt: those with at least one label line."""
        told = self._told(demonstrations)
        return tuple(d.example.id for d, lines in zip(demonstrations, told, strict=True) if lines)

    def _told(self, demonstrations: Sequence[Demonstration]) -> list[list[tuple[int, bool]]]:
        return balanced_lines([self.sets[d.example.id] for d in demonstrations], len(self.labels))

    def _shown(self, demonstrations: Sequence[Demonstration]) -> list[dict[str, Any]]:
        told = self._told(demonstrations)
        return [
            {
                "text": self._titled(self._text(d.example.fields)),
                "lines": [
                    {"label": self.words[label], "answer": self.answers[YES if yes else NO]}
                    for label, yes in lines
                ],
            }
            for d, lines in zip(demonstrations, told, strict=True)
            if lines
        ]

    def _context(self, row: Row, text: str) -> dict[str, Any]:
        # (super() does not work in dataclasses with slots.)
        return PromptBuilder._context(self, row, text) | {
            "text": self._titled(text),
            "labels": [
                {"word": word, "definition": label.definition(self.language)}
                for word, label in zip(self.words, self.labels.labels, strict=True)
            ],
            "asked": self.words[self.asked],
        }

    def _titled(self, text: str) -> str:
        """The text with a title, which a row of one text field lacks."""
        if len(self.card.fields) > 1 or self.card.tabular:
            return text
        colon = "：" if self.language == "zh" else ": "
        return f"{self.card.fields[0].title.get(self.language)}{colon}{text}"


def label_template(language: Language) -> Template:
    """The template of multi-label prompts."""
    name = f"{FOLDER}/{language}.{VERSION}"
    return Template(common_template(FOLDER, language, VERSION), name)


def label_prompts(
    card: TaskCard,
    labels: LabelSpace,
    words: tuple[str, ...],
    sets: Mapping[str, frozenset[int]],
    language: Language,
    rows: RowText,
) -> list[LabelPrompts]:
    """A builder for each label."""
    template = label_template(language)
    answers = tuple(label.word(language) for label in YES_NO.labels)
    return [
        LabelPrompts(
            card,
            YES_NO,
            template,
            language,
            answers,
            rows,
            labels=labels,
            words=words,
            sets=sets,
            asked=asked,
        )
        for asked in range(len(labels))
    ]


def cover_labels(
    nearest: Sequence[int], sets: Sequence[frozenset[int]], labels: int, k: int
) -> list[int]:
    """At most ``k`` examples, nearest first, so that for every label one of them has it and one
    lacks it; then two of each, and so on.

    The nearest examples alone are not enough: if all of them have a label, the prompt does not
    show what a row without it looks like.

    Args:
        nearest: positions of examples, most similar first.
        sets: the labels of every example, by position.
        labels: number of labels.

    >>> sets = [frozenset({0}), frozenset({0}), frozenset(), frozenset({1})]
    >>> cover_labels([0, 1, 2, 3], sets, 2, 3)
    [0, 2, 3]
    """
    having, lacking = [0] * labels, [0] * labels
    chosen: set[int] = set()
    wanted = 0
    while len(chosen) < min(k, len(nearest)):
        wanted += 1
        short = {label for label in range(labels) if having[label] < wanted}
        long = {label for label in range(labels) if lacking[label] < wanted}
        for position in nearest:
            own = sets[position]
            if len(chosen) == k or not (short or long):
                break
            if position in chosen or not (short & own or long - own):
                continue
            chosen.add(position)
            for label in range(labels):
                counts, open_ = (having, short) if label in own else (lacking, long)
                counts[label] += 1
                if counts[label] >= wanted:
                    open_.discard(label)
    return [position for position in nearest if position in chosen]


def balanced_lines(sets: Sequence[frozenset[int]], labels: int) -> list[list[tuple[int, bool]]]:
    """For each demonstration, the labels shown with it, each with yes or no.

    Each label is shown with equally many demonstrations that have it and that lack it, the nearest
    ones of each kind. A label that all demonstrations have, or none, is not shown: lines with only
    one answer would teach the model to give that answer.

    Args:
        sets: labels of the demonstrations, least similar first, as in a prompt.
        labels: number of labels.

    >>> balanced_lines([frozenset(), frozenset({0}), frozenset({1})], 2)
    [[], [(0, True), (1, False)], [(0, False), (1, True)]]
    """
    told: list[list[tuple[int, bool]]] = [[] for _ in sets]
    for label in range(labels):
        having = [place for place, own in enumerate(sets) if label in own]
        lacking = [place for place, own in enumerate(sets) if label not in own]
        each = min(len(having), len(lacking))
        for place in having[len(having) - each :]:
            told[place].append((label, True))
        for place in lacking[len(lacking) - each :]:
            told[place].append((label, False))
    return told


__all__ = [
    "NO",
    "YES",
    "YES_NO",
    "LabelPrompts",
    "cover_labels",
    "label_prompts",
    "label_template",
]
