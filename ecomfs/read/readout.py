"""Read-outs: how a posterior over labels is got from an engine. Each class is one step of the
chain (:mod:`ecomfs.read.chain`) and states what it needs of an engine.

LogprobReadout   exact, through a trie of tokens      log-probabilities of named tokens
TopReadout       the likeliest next tokens            a list of them
ChoiceReadout    an answer drawn under a constraint   a constraint to given answers
TextReadout      generated text, parsed               text
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from ecomfs.engine.protocol import Engine, Tokenizer
from ecomfs.errors import ConfigError, EngineError
from ecomfs.read.trie import AnswerTrie
from ecomfs.read.verbalizer import Verbalizer
from ecomfs.task import LabelSpace
from ecomfs.types import Posterior, Prompt, Question

MAX_LOOKS = 16
"""Above this many looks a row, ``readout="auto"`` prefers codes, which need one."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What the prompts ask for.

    Attributes:
        space: the labels.
        verbalizer: their answers.
        cue: last line of the prompts (the tokens of an answer depend on what stands before it).
        separator: what stands between cue and answer.
    """

    space: LabelSpace
    verbalizer: Verbalizer
    cue: str
    separator: str


class Readout(Protocol):
    """Reads prompts into posteriors, one entry a prompt, in order.

    Attributes:
        needs: what an engine must give, in words.
    """

    needs: ClassVar[str]

    @property
    def name(self) -> str: ...

    @staticmethod
    def met(engine: Engine) -> bool:
        """Whether an engine gives what is needed."""
        ...

    @classmethod
    def of(cls, wording: Wording, engine: Engine) -> Self:
        """The read-out of a wording on an engine that gives what is needed."""
        ...

    def suits(self, narrowed: bool) -> bool:
        """Whether it tells these answers apart at a fair price, so that ``auto`` may take it;
        ``narrowed``: only a shortlist of them is asked about."""
        ...

    def narrowed(self, places: Sequence[int]) -> Self:
        """The read-out of some of the answers only."""
        ...

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]: ...


class LogprobReadout:
    """Scores every answer exactly through an :class:`AnswerTrie`.

    Args:
        verbalizer: the answers.
        tokenizer: the served model's tokenizer.
        cue, separator: as of :class:`Wording`.
    """

    needs: ClassVar[str] = "log-probabilities of named tokens"

    def __init__(
        self, verbalizer: Verbalizer, tokenizer: Tokenizer, cue: str, separator: str
    ) -> None:
        self.name = f"logprob-{verbalizer.kind}"
        self._sequences = [
            answer_tokens(tokenizer, cue, separator + answer) for answer in verbalizer.answers
        ]
        self._end = answer_tokens(tokenizer, cue, "\n")[0]
        self._trie = AnswerTrie(self._sequences, self._end)

    @staticmethod
    def met(engine: Engine) -> bool:
        """See :class:`Readout`."""
        return engine.capabilities.logprobs and engine.tokenizer is not None

    @classmethod
    def of(cls, wording: Wording, engine: Engine) -> Self:
        """See :class:`Readout`."""
        if engine.tokenizer is None:
            raise ConfigError(f"engine {engine.spec} shows no tokenizer", hint="--readout auto")
        return cls(wording.verbalizer, engine.tokenizer, wording.cue, wording.separator)

    def suits(self, narrowed: bool) -> bool:
        """A shortlist is short enough for any number of looks."""
        return narrowed or self.looks <= MAX_LOOKS

    def narrowed(self, places: Sequence[int]) -> Self:
        """See :class:`Readout`."""
        few = copy.copy(self)
        few._sequences = [self._sequences[i] for i in places]
        few._trie = AnswerTrie(few._sequences, self._end)
        return few

    @property
    def looks(self) -> int:
        """Looks at the next-token distribution a row costs (one when first tokens differ)."""
        return len(self._trie.questions)

    @property
    def questions(self) -> Sequence[Question]:
        """What the engine is asked about every prompt."""
        return self._trie.questions

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        """See :class:`Readout`."""
        out: list[Posterior | EngineError] = []
        for reading in await engine.read(prompts, self._trie.questions):
            if isinstance(reading, EngineError):
                out.append(reading)
                continue
            probabilities, mass = self._trie.posterior(reading)
            out.append(
                Posterior(
                    probabilities,
                    mass,
                    prompt_tokens=reading.prompt_tokens,
                    cached_tokens=reading.cached_tokens,
                )
            )
        return out


def answer_tokens(tokenizer: Tokenizer, cue: str, answer: str) -> list[int]:
    """Tokens of ``answer`` as they follow ``cue``.

    Encoding both together and taking what follows the cue is right for every tokenizer family
    (some put a space before any text they encode alone). Where the two merge across the border
    the answer is encoded by itself, which is what an engine would be asked to continue with.
    """
    before = tokenizer.encode(cue)
    together = tokenizer.encode(cue + answer)
    if together[: len(before)] == before and len(together) > len(before):
        return together[len(before) :]
    return tokenizer.encode(answer)
