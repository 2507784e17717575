"""The one protocol behind which every model stands.

An engine answers *questions* about the next token of a prompt. Single-token codes need one
question; labels of several tokens are a trie, one question a branching node (see
``ecomfs.read``). Everything else (parsing, calibration, labels) is not the engine's business.

The core is asynchronous; :func:`ecomfs.core.event_loop.run` is the synchronous facade.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from ecomfs.core.event_loop import gather_groups
from ecomfs.errors import ConfigError, EngineError
from ecomfs.types import Generation, Prompt, Question, Reading


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        logprobs: it gives the exact log-probability of any named token (:meth:`Engine.read`).
        generates: it can generate text freely.
        prefix_reuse: it does not compute a shared prompt prefix twice.
        context_tokens: longest prompt plus answer, in tokens.
        batch: how many prompts a call should carry to keep it busy.
        codes_per_look: so many tokens are asked about in one pass over a prompt; more are asked in
            parts and put together, which is exact, because log-probabilities are those of the
            whole vocabulary, and costs a pass each. ``None``: no limit.
        top_logprobs: so many of the likeliest next tokens it lists (:class:`TopTokens`); 0: none.
        choice: it can generate one of given answers and nothing else (:class:`Choosing`).
    """

    logprobs: bool
    generates: bool
    prefix_reuse: bool
    context_tokens: int
    batch: int = 8
    codes_per_look: int | None = None
    top_logprobs: int = 0
    choice: bool = False

    def without(self, lacking: Collection[str]) -> Capabilities:
        """These without some of ``logprobs``, ``top_logprobs`` and ``choice``.

        >>> Capabilities(True, True, True, 512, top_logprobs=20).without({"top_logprobs"})
        Capabilities(logprobs=True, ..., top_logprobs=0, choice=False)
        """
        return replace(self, **{name: type(getattr(self, name))() for name in lacking})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a text is drawn; without it, generation is greedy.

    Attributes:
        temperature: above 0; 1 draws as the model says, less keeps to what is likely.
        seed: the same prompts with the same seed give the same texts, as far as the engine can
            repeat itself. A prompt asked twice in one call may get the same text twice.

    Raises:
        ConfigError: a temperature that is not above 0, or a seed that is not a 32-bit number.
    """

    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.temperature <= 5:
            raise ConfigError(f"temperature {self.temperature}", hint="above 0, at most 5")
        if not 0 <= self.seed < 2**32 - 1:  # llama.cpp takes the last one for "any"
            raise ConfigError(f"seed {self.seed}", hint="0 to 4294967294")


@runtime_checkable
class Tokenizer(Protocol):
    """The served model's own tokenizer.

    Text is always plain text: a string that looks like a control token of the model
    (``<|im_start|>``) is encoded as ordinary characters, so that a row cannot forge a turn.
    """

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids of ``text``; ``bos`` puts the beginning-of-sequence token first *if the
        model wants one*."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A tokenizer that takes less time for many texts together than for one after another."""

    def encode_all(self, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
        """As :meth:`Tokenizer.encode`, one list a text, in order."""
        ...


def encode_all(tokenizer: Tokenizer, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
    """Token ids of many texts, together where the tokenizer can (:class:`Batching`)."""
    if isinstance(tokenizer, Batching):
        return tokenizer.encode_all(texts, bos=bos)
    return [tokenizer.encode(text, bos=bos) for text in texts]


@runtime_checkable
class Engine(Protocol):
    """A language model that can be read."""

    @property
    def spec(self) -> str:
        """The string that names it, such as ``gguf:model.gguf``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever a reading could change: engine kind, model content, precision and
        settings. Short, printable, stable between processes."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def tokenizer(self) -> Tokenizer | None:
        """``None`` for remote providers that do not show theirs."""
        ...

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """Ask every question about every prompt.

        Returns one entry a prompt, in order: a :class:`Reading`, or the error of that prompt
        alone. Raises only when nothing can be read at all (engine gone, closed).
        """
        ...

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        """Generate after every prompt, greedily unless ``sampling`` says otherwise; same rules
        as :meth:`read`."""
        ...

    async def aclose(self) -> None:
        """Release the model or the connections; closing twice is fine."""
        ...


@runtime_checkable
class Discerning(Protocol):
    """An engine that takes less time for prompts with questions of their own together than for
    one after another."""

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """As :meth:`Engine.read`, with the questions of each prompt."""
        ...


async def read_each(
    engine: Engine, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
) -> list[Reading | EngineError]:
    """Ask each prompt its own questions, together where the engine can (:class:`Discerning`)."""
    if isinstance(engine, Discerning):
        return await engine.read_each(prompts, questions)

    async def ask(
        asked: tuple[Question, ...], places: list[int]
    ) -> Sequence[Reading | EngineError]:
        return await engine.read([prompts[i] for i in places], asked)

    return await gather_groups([tuple(asked) for asked in questions], ask)


@runtime_checkable
class Constrained(Protocol):
    """An engine that asks another program to sample under a constraint, and so has to prove that
    the constraint bites."""

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """The token that is sampled when only ``allowed`` ones may be."""
        ...


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The likeliest tokens after a prompt, as text.

    Attributes:
        logprobs: token text → natural-log probability, likeliest first. Whatever is not in it is
            less likely than all of it; tokens of one text are put together.
        prompt_tokens: tokens of the prompt.
        cached_tokens: of these, how many the engine did not compute again.
    """

    logprobs: Mapping[str, float]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@runtime_checkable
class Listing(Protocol):
    """An engine with ``capabilities.top_logprobs``: it cannot be asked about named tokens, but
    lists the likeliest ones."""

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """The likeliest next tokens of every prompt; same rules as :meth:`Engine.read`."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """One of given answers.

    Attributes:
        text: the answer; anything else if the constraint did not bite.
        steps: for every token of the answer its text and the likeliest tokens in its place, text
            → natural-log probability; empty where the engine does not list them. Whether they are
            those before or after the constraint differs between engines.
        prompt_tokens: tokens of the prompt.
        cached_tokens: of these, how many the engine did not compute again.
    """

    text: str
    steps: tuple[tuple[str, Mapping[str, float]], ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0


@runtime_checkable
class Choosing(Protocol):
    """An engine with ``capabilities.choice``: its answer can be kept to given ones."""

    async def choose(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[Chosen | EngineError]:
        """One of ``answers`` for every prompt, drawn greedily token by token; same rules as
        :meth:`Engine.read`."""
        ...


@runtime_checkable
class Conceding(Protocol):
    """An engine on another program, which may lack what its kind can do."""

    def concede(self, lacking: Collection[str]) -> None:
        """From now on state these capabilities no longer (see :meth:`Capabilities.without`)."""
        ...


@runtime_checkable
class Several(Protocol):
    """An engine that stands for several equal servers."""

    def each(self) -> Sequence[Engine]:
        """An engine for each of them alone, to be closed by the caller."""
        ...


@dataclass(frozen=True, slots=True)
class Spending:
    """What a paid engine was used for so far.

    Attributes:
        calls: answered calls.
        prompt_tokens, answer_tokens: as the provider counts them.
        usd: what the priced calls cost, in US dollars.
        unpriced: calls of which no price is known; ``usd`` lacks them.

    >>> Spending(2, 20, 2, 0.5, 1) - Spending(1, 10, 1, 0.25, 0)
    Spending(calls=1, prompt_tokens=10, answer_tokens=1, usd=0.25, unpriced=1)
    """

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0

    def __sub__(self, earlier: Spending) -> Spending:
        """What was spent since ``earlier``."""
        return Spending(
            self.calls - earlier.calls,
            self.prompt_tokens - earlier.prompt_tokens,
            self.answer_tokens - earlier.answer_tokens,
            self.usd - earlier.usd,
            self.unpriced - earlier.unpriced,
        )


@runtime_checkable
class Paid(Protocol):
    """An engine whose calls cost money."""

    @property
    def spending(self) -> Spending:
        """So far; take it before and after a run and subtract."""
        ...

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """What so many tokens would cost, in US dollars; ``None`` when no price is known."""
        ...
