"""The protocol of engines, and optional protocols that an engine may support.

An engine answers *questions* about the next token of a prompt. A label of one token needs one
question; labels of several tokens form a trie, with one question per branching node (see
``ecomfs.readout``). Parsing and calibration are done elsewhere.

All calls are asynchronous; :func:`ecomfs.core.event_loop.run` calls them from synchronous code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

from ecomfs.core.event_loop import gather_groups
from ecomfs.errors import ConfigError, EngineError
from ecomfs.types import Generation, Prompt, Question, Reading


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes
    ----------
    logprobs : bool
        It gives the exact log-probability of any given token (:meth:`Engine.read`).
    generates : bool
        It can generate text freely.
    prefix_reuse : bool
        It computes a shared prefix of several prompts only once.
    context_tokens : int
        Longest prompt plus answer, in tokens.
    batch : int
        Prompts per call for full speed.
    codes_per_look : int or None
        Most tokens that can be scored in one pass over a prompt. More need several passes, which
        is exact, since log-probabilities are over the whole vocabulary. ``None``: no limit.
    top_logprobs : int
        Number of likeliest next tokens that it lists (:class:`TopTokens`); 0: none.
    choice : bool
        It can generate one of given answers and nothing else (:class:`SupportsChoice`).

    Examples
    --------
    >>> Capabilities(True, True, True, 512, top_logprobs=20).without({"top_logprobs"})
    Capabilities(logprobs=True, ..., top_logprobs=0, choice=False)
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
        """A copy without some of ``logprobs``, ``top_logprobs`` and ``choice``."""
        return replace(self, **{name: type(getattr(self, name))() for name in lacking})


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of sampling; without them, generation is greedy.

    Attributes
    ----------
    temperature : float
        Above 0, at most 5. 1 samples from the model's distribution; less prefers likely tokens.
    seed : int
        32-bit. The same prompts and seed give the same texts, as far as the engine is
        deterministic. A prompt given twice in one call may get the same text twice.

    Raises
    ------
    ConfigError
        Temperature or seed is out of range.

    Examples
    --------
    >>> Sampling(temperature=0.8, seed=7)
    Sampling(temperature=0.8, seed=7)
    """

    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.temperature <= 5:
            raise ConfigError(
                f"temperature {self.temperature}", hint="use a number above 0 and at most 5"
            )
        if not 0 <= self.seed < 2**32 - 1:  # llama.cpp reads the last one as "any"
            raise ConfigError(f"seed {self.seed}", hint="use a number from 0 to 4294967294")


def sampling_options(sampling: Sampling | None) -> dict[str, Any]:
    """Temperature and seed as options of a runtime; greedy without ``sampling``."""
    return {"temperature": 0.0} if sampling is None else asdict(sampling)


@runtime_checkable
class Tokenizer(Protocol):
    """Converts between text and token ids of the engine's model.

    Examples
    --------
    >>> class Bytes:
    ...     def encode(self, text, *, bos=False):
    ...         return list(text.encode())
    ...     def decode(self, ids):
    ...         return bytes(ids).decode()
    >>> isinstance(Bytes(), Tokenizer)
    True
    """

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids of a text. Text that looks like a control token is ordinary text.

        ``bos`` puts the beginning-of-sequence token first *if the model was trained with one*.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        ...


def encode_all(tokenizer: Tokenizer, texts: Sequence[str], *, bos: bool = False) -> list[list[int]]:
    """Token ids of many texts, in one batch if the tokenizer has a method ``encode_all``."""
    together: Callable[..., list[list[int]]] | None = getattr(tokenizer, "encode_all", None)
    if together is not None:
        return together(texts, bos=bos)
    return [tokenizer.encode(text, bos=bos) for text in texts]


@runtime_checkable
class Engine(Protocol):
    """A language model that gives log-probabilities or text.

    Examples
    --------
    >>> from ecomfs.engine import open_engine
    >>> isinstance("gguf:smollm2", Engine)
    False
    >>> engine = open_engine("gguf:smollm2")                             # doctest: +SKIP
    >>> isinstance(engine, Engine), engine.capabilities.logprobs         # doctest: +SKIP
    (True, True)
    """

    @property
    def spec(self) -> str:
        """The string that names it, such as ``gguf:model.gguf``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Short text that changes whenever a reading could change: engine kind, content of the
        model, precision and settings. Printable, and equal in all processes."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def tokenizer(self) -> Tokenizer | None:
        """``None`` for hosted models, whose tokenizer is not available."""
        ...

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        """Answer every question about every prompt.

        Returns one entry per prompt, in order: a :class:`Reading`, or the error of that prompt. It
        raises only if nothing can be read at all (engine unreachable or closed).
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
        """Generate text after every prompt, greedy without ``sampling``; results and errors are as
        for :meth:`read`."""
        ...

    async def aclose(self) -> None:
        """Free the model or close the connections; a second call does nothing."""
        ...


def has_model(engine: Engine) -> bool:
    """Whether the engine has a language model; false for ``none``."""
    return engine.capabilities.context_tokens > 0


@runtime_checkable
class SupportsBatchedQuestions(Protocol):
    """An engine that reads prompts with different questions faster in one batch."""

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """As :meth:`Engine.read`, with the questions of each prompt."""
        ...


async def read_each(
    engine: Engine, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
) -> list[Reading | EngineError]:
    """Answer different questions for each prompt, in one batch if the engine supports it."""
    if isinstance(engine, SupportsBatchedQuestions):
        return await engine.read_each(prompts, questions)

    async def ask(
        asked: tuple[Question, ...], places: list[int]
    ) -> Sequence[Reading | EngineError]:
        return await engine.read([prompts[i] for i in places], asked)

    return await gather_groups([tuple(asked) for asked in questions], ask)


@runtime_checkable
class SupportsTokenConstraint(Protocol):
    """An engine whose constrained decoding runs in another program, so that a check must prove that
    it is enforced."""

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """Sample a token among ``allowed``."""
        ...


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The likeliest tokens after a prompt, as text.

    Attributes:
        logprobs: token text → natural-log probability, likeliest first. All other tokens are less
            likely; tokens with equal text are summed.
        prompt_tokens: tokens of the prompt.
        cached_tokens: number of them from the engine's cache.
    """

    logprobs: Mapping[str, float]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@runtime_checkable
class SupportsTopTokens(Protocol):
    """An engine with ``capabilities.top_logprobs``: it lists the likeliest tokens."""

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """The likeliest next tokens of every prompt; errors are as for :meth:`Engine.read`."""
        ...


@dataclass(frozen=True, slots=True)
class ChosenAnswer:
    """One of several given answers.

    Attributes:
        text: the answer; another text if constrained decoding was not enforced.
        steps: for each token of the answer, its text and the likeliest tokens at its position (text
            → natural-log probability); empty if the engine does not list them. Depending on the
            engine, they are taken before or after the constraint.
        prompt_tokens: tokens of the prompt.
        cached_tokens: number of them from the engine's cache.
    """

    text: str
    steps: tuple[tuple[str, Mapping[str, float]], ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0


@runtime_checkable
class SupportsChoice(Protocol):
    """An engine with ``capabilities.choice``: it can be limited to given answers."""

    async def choose(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[ChosenAnswer | EngineError]:
        """One of ``answers`` per prompt, decoded greedily; errors are as for
        :meth:`Engine.read`."""
        ...


@runtime_checkable
class SupportsDowngrade(Protocol):
    """An engine that uses another program, which may lack some capabilities."""

    def drop_capabilities(self, lacking: Collection[str]) -> None:
        """Remove these capabilities (see :meth:`Capabilities.without`)."""
        ...


@runtime_checkable
class SupportsPerServer(Protocol):
    """An engine on several equal servers."""

    def per_server(self) -> Sequence[Engine]:
        """One engine per server, to be closed by the caller."""
        ...


@runtime_checkable
class SupportsProbe(Protocol):
    """An engine whose weights may change while it is open.

    Attributes:
        confirmed: number of checks that found the weights unchanged.
        swapped: whether a check found other weights.
    """

    confirmed: int
    swapped: bool

    async def remember(self) -> None:
        """Probe the servers and add the result to the fingerprint.

        Raises:
            EngineError: nothing can be read, or the servers have different weights.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spending:
    """Use of a paid engine so far.

    Attributes:
        calls: number of answered calls.
        prompt_tokens, answer_tokens: tokens as counted by the provider.
        usd: cost of the calls with a known price, in US dollars.
        unpriced: number of calls without a known price, not included in ``usd``.

    >>> Spending(2, 20, 2, 0.5, 1) - Spending(1, 10, 1, 0.25, 0)
    Spending(calls=1, prompt_tokens=10, answer_tokens=1, usd=0.25, unpriced=1)
    """

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0

    def __sub__(self, earlier: Spending) -> Spending:
        """Use since ``earlier``."""
        before = asdict(earlier)
        return Spending(**{name: value - before[name] for name, value in asdict(self).items()})


@runtime_checkable
class SupportsPricing(Protocol):
    """An engine whose calls cost money."""

    @property
    def spending(self) -> Spending:
        """Use so far; for one run, subtract the value from before it."""
        ...

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """Cost of these tokens in US dollars; ``None`` if no price is known."""
        ...
