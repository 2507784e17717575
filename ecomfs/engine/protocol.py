"""The protocol of engines, and what an engine may support beyond it.

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
        It gives the exact log-probability of any named token (:meth:`Engine.read`).
    generates : bool
        It can generate text freely.
    prefix_reuse : bool
        It computes a prompt prefix that several prompts share only once.
    context_tokens : int
        Longest prompt plus answer, in tokens.
    batch : int
        Prompts per call that keep it busy.
    codes_per_look : int or None
        Tokens that one pass over a prompt can be asked about. More are asked in several passes,
        which is exact: log-probabilities are those of the whole vocabulary. ``None``: no limit.
    top_logprobs : int
        How many of the likeliest next tokens it lists (:class:`TopTokens`); 0: none.
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
        """The same without some of ``logprobs``, ``top_logprobs`` and ``choice``."""
        return replace(self, **{name: type(getattr(self, name))() for name in lacking})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is sampled; without it, generation is greedy.

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
            raise ConfigError(f"temperature {self.temperature}", hint="above 0, at most 5")
        if not 0 <= self.seed < 2**32 - 1:  # llama.cpp reads the last one as "any"
            raise ConfigError(f"seed {self.seed}", hint="0 to 4294967294")


def sampling_options(sampling: Sampling | None) -> dict[str, Any]:
    """Temperature and seed as most runtimes take them; greedy without ``sampling``."""
    return {"temperature": 0.0} if sampling is None else asdict(sampling)


@runtime_checkable
class Tokenizer(Protocol):
    """Converts between text and token ids, as the engine's model does.

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
    """Token ids of many texts; in one batch where the tokenizer has a method ``encode_all``."""
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
        """Changes whenever a reading could change: engine kind, model content, precision and
        settings. Short, printable, stable between processes."""
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
        """Ask every question about every prompt.

        Returns one entry per prompt, in order: a :class:`Reading`, or the error of that prompt
        alone. Raises only when nothing can be read at all (engine unreachable or closed).
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
        """Generate text after every prompt, greedily without ``sampling``; returns and raises as
        :meth:`read`."""
        ...

    async def aclose(self) -> None:
        """Free the model or close the connections; a second call does nothing."""
        ...


def has_model(engine: Engine) -> bool:
    """Whether rows can be read by a language model; not with the engine ``none``."""
    return engine.capabilities.context_tokens > 0


@runtime_checkable
class SupportsBatchedQuestions(Protocol):
    """An engine that reads prompts with different questions faster together."""

    async def read_each(
        self, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
    ) -> list[Reading | EngineError]:
        """As :meth:`Engine.read`, with the questions of each prompt."""
        ...


async def read_each(
    engine: Engine, prompts: Sequence[Prompt], questions: Sequence[Sequence[Question]]
) -> list[Reading | EngineError]:
    """Ask each prompt its own questions, in one batch where the engine supports it."""
    if isinstance(engine, SupportsBatchedQuestions):
        return await engine.read_each(prompts, questions)

    async def ask(
        asked: tuple[Question, ...], places: list[int]
    ) -> Sequence[Reading | EngineError]:
        return await engine.read([prompts[i] for i in places], asked)

    return await gather_groups([tuple(asked) for asked in questions], ask)


@runtime_checkable
class SupportsTokenConstraint(Protocol):
    """An engine that samples under a constraint in another program, so that a check must prove
    that constrained decoding is enforced."""

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """The token that is sampled when only ``allowed`` ones may be."""
        ...


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The likeliest tokens after a prompt, as text.

    Attributes:
        logprobs: token text → natural-log probability, likeliest first. Every other token is
            less likely than all of these; tokens with equal text are summed.
        prompt_tokens: tokens of the prompt.
        cached_tokens: of these, how many the engine took from its cache.
    """

    logprobs: Mapping[str, float]
    prompt_tokens: int = 0
    cached_tokens: int = 0


@runtime_checkable
class SupportsTopTokens(Protocol):
    """An engine with ``capabilities.top_logprobs``: it lists the likeliest tokens."""

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        """The likeliest next tokens of every prompt; returns and raises as :meth:`Engine.read`."""
        ...


@dataclass(frozen=True, slots=True)
class ChosenAnswer:
    """One of several given answers.

    Attributes:
        text: the answer; any other text if constrained decoding was not enforced.
        steps: per token of the answer, its text and the likeliest tokens in its place (text →
            natural-log probability); empty where the engine does not list them. Engines differ
            in whether these are taken before or after the constraint.
        prompt_tokens: tokens of the prompt.
        cached_tokens: of these, how many the engine took from its cache.
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
        """One of ``answers`` per prompt, decoded greedily; returns and raises as
        :meth:`Engine.read`."""
        ...


@runtime_checkable
class SupportsDowngrade(Protocol):
    """An engine in front of another program, which may lack some capabilities."""

    def drop_capabilities(self, lacking: Collection[str]) -> None:
        """Stop stating these capabilities (see :meth:`Capabilities.without`)."""
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
        confirmed: how often its servers were found to be what they were.
        swapped: whether one was found to be another.
    """

    confirmed: int
    swapped: bool

    async def remember(self) -> None:
        """Probe the servers, and take that into the fingerprint.

        Raises:
            EngineError: nothing can be read, or the servers have different weights.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spending:
    """Use of a paid engine so far.

    Attributes:
        calls: answered calls.
        prompt_tokens, answer_tokens: as the provider counts them.
        usd: cost of the calls with a known price, in US dollars.
        unpriced: calls without a known price, which ``usd`` leaves out.

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
        """So far; subtract the value from before a run."""
        ...

    def price(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """Cost of so many tokens, in US dollars; ``None`` when no price is known."""
        ...
