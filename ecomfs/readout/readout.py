"""Read-outs: how a posterior over labels is got from an engine. Each class is one step of the
chain (:mod:`ecomfs.readout.chain`) and states what it needs of an engine.

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

from ecomfs.core.event_loop import gather_groups
from ecomfs.engine import logprobs
from ecomfs.engine.protocol import Engine, Tokenizer
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.trie import AnswerTrie
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.task import LabelSpace
from ecomfs.types import Posterior, Prompt, Question, Reading

MAX_LOOKS = 16
"""Above this many looks a row, ``readout="auto"`` prefers codes, which need one."""

NO_MASS = 1e-6
"""Below this label mass, labels that are all equally likely were not chosen among: the answer is
invalid."""


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
        few._trie = self._trie_of(places)
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
        readings = await logprobs.read(engine, prompts, self._trie.questions)
        return [_posterior(self._trie, reading) for reading in readings]

    def asked(self, shortlist: Sequence[int] = ()) -> Sequence[Question]:
        """What the engine is asked about a prompt with this shortlist; empty: of all answers."""
        return self._trie_of(shortlist).questions

    def _trie_of(self, shortlist: Sequence[int]) -> AnswerTrie:
        if not shortlist:
            return self._trie
        return AnswerTrie([self._sequences[i] for i in shortlist], self._end)

    async def read_each(
        self, engine: Engine, prompts: Sequence[Prompt], shortlists: Sequence[Sequence[int]]
    ) -> list[Posterior | EngineError]:
        """As :meth:`read`, over the answers of each prompt's own shortlist."""
        tries = [self._trie_of(shortlist) for shortlist in shortlists]
        readings = await logprobs.read_each(engine, prompts, [trie.questions for trie in tries])
        return [_posterior(trie, reading) for trie, reading in zip(tries, readings, strict=True)]


def _posterior(trie: AnswerTrie, reading: Reading | EngineError) -> Posterior | EngineError:
    if isinstance(reading, EngineError):
        return reading
    probabilities, mass = trie.posterior(reading)
    return Posterior(
        () if mass < NO_MASS and _tied(reading) else probabilities,
        mass,
        prompt_tokens=reading.prompt_tokens,
        cached_tokens=reading.cached_tokens,
    )


def _tied(reading: Reading) -> bool:
    """Whether nothing tells the answers apart, at their first tokens or, where they share that, at
    all later ones. (vLLM says -9999 where it means -inf, so that labels which are all impossible
    look like a tie.)"""
    first = reading.logprobs[:1]
    asked = first if len(first[0]) > 1 else reading.logprobs
    choices = [values for values in asked if len(values) > 1]
    return bool(choices) and all(max(values) - min(values) < 1e-6 for values in choices)


async def read_shortlists(
    readout: Readout,
    engine: Engine,
    prompts: Sequence[Prompt],
    shortlists: Sequence[tuple[int, ...]],
) -> list[Posterior | EngineError]:
    """Read prompts that each name some of the answers only.

    Args:
        shortlists: positions of the answers, one list a prompt.

    Returns:
        Posteriors over the shortlists, one a prompt.
    """
    if isinstance(readout, LogprobReadout):
        return await readout.read_each(engine, prompts, shortlists)

    async def ask(
        shortlist: tuple[int, ...], places: list[int]
    ) -> Sequence[Posterior | EngineError]:
        few = readout.narrowed(shortlist)
        return await few.read(engine, [prompts[i] for i in places])

    return await gather_groups(shortlists, ask)


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
