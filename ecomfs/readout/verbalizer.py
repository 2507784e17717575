"""The answers for labels: label words, or single-token codes.

*Words* ("positive") carry meaning, which small models need. *Codes* ("A") always need only one
next-token distribution per row; the prompt then lists the names of the labels.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ecomfs.engine.protocol import Tokenizer
from ecomfs.errors import ConfigError, EngineError
from ecomfs.task import LabelSpace
from ecomfs.types import Language

AnswerKind = Literal["words", "codes"]


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """Answers aligned with a label space.

    Attributes:
        kind: ``words`` or ``codes``.
        answers: one answer per label, all different.

    >>> Verbalizer("words", ("good", "bad", "broken")).subset([2, 0]).answers
    ('broken', 'good')
    """

    kind: AnswerKind
    answers: tuple[str, ...]

    def subset(self, places: Sequence[int]) -> Verbalizer:
        """The answers for some of the labels, by position."""
        return Verbalizer(self.kind, tuple(self.answers[i] for i in places))


def words(space: LabelSpace, language: Language) -> Verbalizer:
    """Label words in the prompt's language.

    Raises
    ------
    ConfigError
        Two labels have the same word.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> words(LabelSpace.resolve(load_task("review_sentiment"), []), "en").answers
    ('positive', 'negative')
    """
    answers = tuple(" ".join(label.word(language).split()) for label in space.labels)
    if len(set(answers)) != len(answers):
        twice = next(a for a in answers if answers.count(a) > 1)
        raise ConfigError(
            f"two labels have the word {twice!r}", hint="rename one, or use --readout codes"
        )
    return Verbalizer("words", answers)


def codes(space: LabelSpace, tokenizer: Tokenizer | None, separator: str, seed: int) -> Verbalizer:
    """Codes such as "A", permuted with ``seed`` so that a model's preference for "A" does not
    always favour the same label.

    Parameters
    ----------
    space
        The labels.
    tokenizer
        Codes are single tokens of it; ``None``: all codes have the same length, so that none is a
        prefix of another.
    separator
        The text between the answer cue and the answer.
    seed
        Seed of the permutation.

    Raises
    ------
    EngineError
        There are not enough codes.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), [])
    >>> sorted(codes(space, None, " ", seed=0).answers)
    ['A', 'B']
    """
    if tokenizer is None:
        found = list(_SINGLE if len(space) <= len(_SINGLE) else _PAIRS)[: len(space)]
    else:
        found = _single_tokens(tokenizer, separator, len(space))
    if len(found) < len(space):
        raise EngineError(
            f"only {len(found)} single-token codes for {len(space)} labels",
            hint="use --readout words, or a shortlist",
        )
    random.Random(seed).shuffle(found)
    return Verbalizer("codes", tuple(found))


def _single_tokens(tokenizer: Tokenizer, separator: str, count: int) -> list[str]:
    found: dict[int, str] = {}
    for candidate in _CANDIDATES:
        if len(found) == count:
            break
        ids = tokenizer.encode(separator + candidate)
        if len(ids) == 1:
            found.setdefault(ids[0], candidate)
    return list(found.values())


_SINGLE = (*string.ascii_uppercase, *(str(n) for n in range(1, 10)))
_PAIRS = tuple(a + b for a in string.ascii_uppercase for b in string.ascii_uppercase)
_CANDIDATES = (
    *_SINGLE,
    *_PAIRS,
    *(a + b for a in string.ascii_uppercase for b in string.ascii_lowercase),
)
