"""Read-outs: how a posterior over labels is got from an engine.

LogprobReadout   one forward pass, exact distribution; needs log-probabilities
TextReadout      generated text, parsed; for engines that give no log-probabilities
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

from ecomfs.engine.protocol import Engine, Tokenizer
from ecomfs.errors import EngineError
from ecomfs.read.parser import LabelParser
from ecomfs.read.trie import AnswerTrie
from ecomfs.read.verbalizer import Verbalizer
from ecomfs.task import LabelSpace
from ecomfs.types import Posterior, Prompt, Question


class Readout(Protocol):
    """Reads prompts into posteriors, one entry a prompt, in order."""

    @property
    def name(self) -> str: ...

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]: ...


class LogprobReadout:
    """Scores every answer exactly through an :class:`AnswerTrie`.

    Args:
        verbalizer: the answers.
        tokenizer: the served model's tokenizer.
        cue: last line of the prompts (the tokens of an answer depend on what stands before it).
        separator: what stands between cue and answer.
    """

    def __init__(
        self, verbalizer: Verbalizer, tokenizer: Tokenizer, cue: str, separator: str
    ) -> None:
        self.name = f"logprob-{verbalizer.kind}"
        self._sequences = [
            answer_tokens(tokenizer, cue, separator + answer) for answer in verbalizer.answers
        ]
        self._end = answer_tokens(tokenizer, cue, "\n")[0]
        self._trie = AnswerTrie(self._sequences, self._end)

    def narrowed(self, places: Sequence[int]) -> LogprobReadout:
        """The read-out of some of the answers only."""
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


class TextReadout:
    """Generates a short answer and parses it. The posterior is one-hot: without
    log-probabilities there is no honest confidence to report."""

    name = "text"

    def __init__(self, space: LabelSpace, verbalizer: Verbalizer, max_tokens: int = 24) -> None:
        self._parser = LabelParser(space, verbalizer.answers)
        self._size = len(space)
        self._max_tokens = max_tokens

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        out: list[Posterior | EngineError] = []
        for generation in await engine.generate(prompts, max_tokens=self._max_tokens, stop=("\n",)):
            if isinstance(generation, EngineError):
                out.append(generation)
                continue
            label = self._parser.parse(generation.text)
            one_hot = tuple(float(i == label) for i in range(self._size))
            out.append(
                Posterior(
                    one_hot if label is not None else (),
                    raw=generation.text,
                    prompt_tokens=generation.prompt_tokens,
                    cached_tokens=generation.cached_tokens,
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
