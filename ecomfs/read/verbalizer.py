"""What the model answers with: label words, or single-token codes.

*Words* ("positive") carry meaning, which small models need. *Codes* ("A") cost one look whatever
the labels are, which many or long labels need; label names then stand in the prompt's listing.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ecomfs.engine.protocol import Tokenizer
from ecomfs.errors import ConfigError, EngineError
from ecomfs.task import LabelSpace
from ecomfs.types import Language

Kind = Literal["words", "codes"]


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """Answers aligned with a label space.

    Attributes:
        kind: ``words`` or ``codes``.
        answers: one answer a label, all different.
    """

    kind: Kind
    answers: tuple[str, ...]


def words(space: LabelSpace, language: Language) -> Verbalizer:
    """Label words in the prompt's language.

    Raises:
        ConfigError: two labels read the same.
    """
    answers = tuple(" ".join(label.word(language).split()) for label in space.labels)
    if len(set(answers)) != len(answers):
        twice = next(a for a in answers if answers.count(a) > 1)
        raise ConfigError(
            f"two labels read {twice!r}", hint="rename one of them, or use --readout codes"
        )
    return Verbalizer("words", answers)


def codes(space: LabelSpace, tokenizer: Tokenizer | None, separator: str, seed: int) -> Verbalizer:
    """Codes that are single tokens after the answer cue under *this* tokenizer, permuted by
    ``seed`` so that a model's liking for "A" does not always favour the same label.

    Raises:
        EngineError: the tokenizer has not enough single-token codes.
    """
    found: list[str] = []
    taken: set[int] = set()
    for candidate in _candidates():
        if len(found) == len(space):
            break
        if tokenizer is None:
            found.append(candidate)
            continue
        ids = tokenizer.encode(separator + candidate)
        if len(ids) == 1 and ids[0] not in taken:
            taken.add(ids[0])
            found.append(candidate)
    if len(found) < len(space):
        raise EngineError(
            f"the tokenizer has only {len(found)} single-token codes for {len(space)} labels",
            hint="use --readout words",
        )
    random.Random(seed).shuffle(found)
    return Verbalizer("codes", tuple(found))


def _candidates() -> Iterator[str]:
    yield from string.ascii_uppercase
    yield from (str(n) for n in range(1, 10))
    for first in string.ascii_uppercase:
        for second in string.ascii_uppercase:
            yield first + second
    for first in string.ascii_uppercase:
        for second in string.ascii_lowercase:
            yield first + second
