"""The base class of read-outs, and the read-out of exact log-probabilities.

A read-out converts an engine's answers to posteriors over labels. Each class states what it needs
from an engine; :mod:`ecomfs.readout.chain` lists them in order of preference.

class            method                           needs
LogprobReadout   exact, with a trie of tokens     log-probabilities of given tokens
TopReadout       the likeliest next tokens        a list of top tokens
ChoiceReadout    constrained decoding             a constraint to given answers
TextReadout      generated text, parsed           text
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from ecomfs.core.event_loop import gather_groups
from ecomfs.engine import logprobs
from ecomfs.engine.protocol import Engine, Tokenizer
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.task import LabelSpace
from ecomfs.types import Posterior, Prompt, Question, Reading

MAX_READS = 16
"""With more next-token distributions per row, ``readout="auto"`` prefers codes, which need one."""

NO_MASS = 1e-6
"""With a smaller label mass, an answer with equal probabilities for all labels is invalid."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The answers in prompts and the text before them.

    Attributes:
        space: the labels.
        verbalizer: their answers.
        cue: last line of the prompts; the tokens of an answer depend on it.
        separator: the text between cue and answer.
        end: the token that ends an answer; ``None``: the line break.

    >>> from ecomfs.task import Label
    >>> space = LabelSpace([Label("good"), Label("bad")])
    >>> words = Verbalizer("words", ("good", "bad"))
    >>> AnswerFormat(space, words, "Sentiment:", " ").verbalizer.answers
    ('good', 'bad')
    """

    space: LabelSpace
    verbalizer: Verbalizer
    cue: str
    separator: str
    end: int | None = None


class Readout(ABC):
    """Base class: computes posteriors for prompts.

    Attributes:
        needs: what an engine must provide, for error messages.
        name: name of the read-out in predictions and run logs.

    >>> LogprobReadout.needs
    'log-probabilities of named tokens'
    """

    needs: ClassVar[str]
    name: str

    @staticmethod
    @abstractmethod
    def supported(engine: Engine) -> bool:
        """Whether an engine provides what the read-out needs."""

    @classmethod
    @abstractmethod
    def of(cls, wording: AnswerFormat, engine: Engine) -> Self:
        """Make the read-out for some answers and an engine that supports it."""

    def suits(self, shortlisted: bool) -> bool:
        """Whether it separates these answers at a reasonable cost, so that ``auto`` may use it.

        Parameters
        ----------
        shortlisted
            Whether prompts list only a shortlist of the answers.
        """
        return True

    @abstractmethod
    def subset(self, places: Sequence[int]) -> Self:
        """The read-out for some of the answers, by position."""

    @abstractmethod
    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        """One posterior per prompt, in order; for a prompt that failed, its error."""

    async def read_each(
        self, engine: Engine, prompts: Sequence[Prompt], shortlists: Sequence[tuple[int, ...]]
    ) -> list[Posterior | EngineError]:
        """As :meth:`read`, for prompts that each list only some of the answers.

        Parameters
        ----------
        shortlists
            Positions of the answers, one tuple per prompt.

        Returns
        -------
        list of Posterior or EngineError
            Posteriors over the shortlists, one per prompt.
        """

        async def ask(
            shortlist: tuple[int, ...], places: list[int]
        ) -> Sequence[Posterior | EngineError]:
            return await self.subset(shortlist).read(engine, [prompts[i] for i in places])

        return await gather_groups(shortlists, ask)


class LogprobReadout(Readout):
    """Scores every answer exactly with an :class:`AnswerTrie`.

    Parameters
    ----------
    verbalizer
        The answers.
    tokenizer
        The served model's tokenizer.
    cue, separator, end
        See :class:`AnswerFormat`.

    Examples
    --------
    >>> class Characters:
    ...     def encode(self, text, *, bos=False):
    ...         return [ord(character) for character in text]
    >>> words = Verbalizer("words", ("good", "grand"))
    >>> readout = LogprobReadout(words, Characters(), "Quality:", " ")
    >>> [(q.suffix, q.codes) for q in readout.questions]  # " ", then "o" or "r" after " g"
    [((), (32,)), ((32, 103), (111, 114))]
    """

    needs = "log-probabilities of named tokens"

    def __init__(
        self,
        verbalizer: Verbalizer,
        tokenizer: Tokenizer,
        cue: str,
        separator: str,
        end: int | None = None,
    ) -> None:
        self.name = f"logprob-{verbalizer.kind}"
        self._sequences = [
            answer_tokens(tokenizer, cue, separator + answer) for answer in verbalizer.answers
        ]
        self._end = answer_tokens(tokenizer, cue, "\n")[0] if end is None else end
        self._trie = AnswerTrie(self._sequences, self._end)

    @staticmethod
    def supported(engine: Engine) -> bool:
        return engine.capabilities.logprobs and engine.tokenizer is not None

    @classmethod
    def of(cls, wording: AnswerFormat, engine: Engine) -> Self:
        if engine.tokenizer is None:
            raise ConfigError(f"engine {engine.spec} has no tokenizer", hint="use --readout auto")
        return cls(
            wording.verbalizer, engine.tokenizer, wording.cue, wording.separator, wording.end
        )

    def suits(self, shortlisted: bool) -> bool:
        """True for a shortlist, or if few next-token distributions per row are enough."""
        return shortlisted or self.reads_per_row <= MAX_READS

    def subset(self, places: Sequence[int]) -> Self:
        few = copy.copy(self)
        few._sequences = [self._sequences[i] for i in places]
        few._trie = self._trie_of(places)
        return few

    @property
    def reads_per_row(self) -> int:
        """Next-token distributions per row: one if the first tokens of all answers differ."""
        return len(self._trie.questions)

    @property
    def questions(self) -> Sequence[Question]:
        """The questions to the engine for every prompt."""
        return self._trie.questions

    def questions_of(self, shortlist: Sequence[int]) -> Sequence[Question]:
        """The questions to the engine for a prompt with a shortlist; empty: all answers."""
        return self._trie_of(shortlist).questions

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        readings = await logprobs.read(engine, prompts, self._trie.questions)
        return [_posterior(self._trie, reading) for reading in readings]

    async def read_each(
        self, engine: Engine, prompts: Sequence[Prompt], shortlists: Sequence[tuple[int, ...]]
    ) -> list[Posterior | EngineError]:
        tries = [self._trie_of(shortlist) for shortlist in shortlists]
        readings = await logprobs.read_each(engine, prompts, [trie.questions for trie in tries])
        return [_posterior(trie, reading) for trie, reading in zip(tries, readings, strict=True)]

    def _trie_of(self, shortlist: Sequence[int]) -> AnswerTrie:
        if not shortlist:
            return self._trie
        return AnswerTrie([self._sequences[i] for i in shortlist], self._end)


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
    """Whether all answers are equally likely, at their first tokens or, if these are equal, at all
    later ones. (vLLM returns -9999 for -inf: then all labels are tied.)"""
    first = reading.logprobs[:1]
    asked = first if len(first[0]) > 1 else reading.logprobs
    choices = [values for values in asked if len(values) > 1]
    return bool(choices) and all(max(values) - min(values) < 1e-6 for values in choices)


def answer_tokens(tokenizer: Tokenizer, cue: str, answer: str) -> list[int]:
    """Tokens of ``answer`` after ``cue``.

    Both are encoded together, since some tokenizers put a space before a text that they encode
    alone. If a token spans the border of the two, the answer is encoded alone.
    """
    before = tokenizer.encode(cue)
    together = tokenizer.encode(cue + answer)
    if together[: len(before)] == before and len(together) > len(before):
        return together[len(before) :]
    return tokenizer.encode(answer)


class AnswerTrie:
    """Exact scoring of answers of any length, by a trie over their tokens.

    Answers with different first tokens need one next-token distribution. If answers share tokens
    ("Fridges" / "Fridge Freezers"), the model is read again after the shared part, with the
    key-value cache of the prompt. The probability of an answer is the product, over the branching
    nodes on its path, of the child's share among the children of the node. This is exactly the
    distribution from which constrained decoding samples.

    Parameters
    ----------
    sequences
        Token ids of each answer after the prompt.
    end
        Token that ends an answer (a line break), for answers that are a prefix of another.

    Raises
    ------
    ConfigError
        Two answers have the same tokens, or one has none.

    Examples
    --------
    >>> trie = AnswerTrie([(5,), (7, 1), (7, 2)], end=0)
    >>> [(q.suffix, q.codes) for q in trie.questions]
    [((), (5, 7)), ((7,), (1, 2))]
    >>> half = math.log(0.5)
    >>> probabilities, mass = trie.posterior(Reading(((half - 1, half - 1), (half, half - 1e9))))
    >>> [round(p, 3) for p in probabilities], round(mass, 3)
    ([0.5, 0.5, 0.0], 0.368)
    """

    def __init__(self, sequences: Sequence[Sequence[int]], end: int) -> None:
        if len({tuple(s) for s in sequences}) != len(sequences) or not all(sequences):
            raise ConfigError(
                "two labels have the same tokens under this model's tokenizer",
                hint="rename one of them, or use --readout codes",
            )
        children: dict[tuple[int, ...], dict[int, None]] = {(): {}}  # dict as an ordered set
        for sequence in sequences:
            for depth, token in enumerate(sequence):
                children.setdefault(tuple(sequence[:depth]), {})[token] = None
        for sequence in sequences:  # an answer that is a prefix of another must end here
            inner = children.get(tuple(sequence))
            if inner is not None:
                inner[end] = None
        # The root is always read: its sum is the label mass. Elsewhere an only child is certain.
        asked = [path for path in children if not path or len(children[path]) > 1]
        self.questions = tuple(Question(tuple(children[path]), path) for path in asked)
        position = {path: i for i, path in enumerate(asked)}
        self._paths: list[list[tuple[int, int]]] = []
        for sequence in sequences:
            steps: list[tuple[int, int]] = []
            full = (*sequence, end) if tuple(sequence) in children else tuple(sequence)
            for depth, token in enumerate(full):
                node = position.get(full[:depth])
                if node is not None:
                    steps.append((node, self.questions[node].codes.index(token)))
            self._paths.append(steps)
        # The usual case: one distribution with one token per answer.
        self._flat: tuple[int, ...] | None = None
        if len(self.questions) == 1 and all(len(steps) == 1 for steps in self._paths):
            self._flat = tuple(child for ((_, child),) in self._paths)

    def posterior(self, reading: Reading) -> tuple[tuple[float, ...], float]:
        """Probabilities of the answers (their sum is one), and the label mass."""
        if self._flat is not None:
            return _flat_posterior(reading.logprobs[0], self._flat)
        shares = [_log_softmax(logprobs) for logprobs in reading.logprobs]
        scores = [math.fsum(shares[node][child] for node, child in path) for path in self._paths]
        top = max(scores)
        weights = [math.exp(score - top) for score in scores]
        total = math.fsum(weights)
        mass = math.fsum(math.exp(p) for p in reading.logprobs[0])
        return tuple(w / total for w in weights), min(mass, 1.0)


def _flat_posterior(
    logprobs: Sequence[float], children: Sequence[int]
) -> tuple[tuple[float, ...], float]:
    top = max(logprobs)
    weights = [math.exp(logprobs[child] - top) for child in children]
    total = math.fsum(weights)
    mass = math.fsum(map(math.exp, logprobs))
    return tuple(w / total for w in weights), min(mass, 1.0)


def _log_softmax(logprobs: Sequence[float]) -> list[float]:
    top = max(logprobs)
    total = top + math.log(math.fsum(math.exp(p - top) for p in logprobs))
    return [p - total for p in logprobs]
