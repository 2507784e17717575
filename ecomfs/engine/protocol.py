"""The one protocol behind which every model stands.

An engine answers *questions* about the next token of a prompt. Single-token codes need one
question; labels of several tokens are a trie, one question a branching node (see
``ecomfs.read``). Everything else (parsing, calibration, labels) is not the engine's business.

The core is asynchronous; :func:`ecomfs.aio.run` is the synchronous facade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ecomfs.errors import ConfigError, EngineError
from ecomfs.types import Generation, Prompt, Question, Reading


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        logprobs: it gives the exact log-probability of any named token.
        generates: it can generate text freely.
        prefix_reuse: it does not compute a shared prompt prefix twice.
        context_tokens: longest prompt plus answer, in tokens.
        batch: how many prompts a call should carry to keep it busy.
    """

    logprobs: bool
    generates: bool
    prefix_reuse: bool
    context_tokens: int
    batch: int = 8


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
class Constrained(Protocol):
    """An engine that asks another program to sample under a constraint, and so has to prove that
    the constraint bites."""

    async def pick(self, prompt: Prompt, allowed: Sequence[int]) -> int:
        """The token that is sampled when only ``allowed`` ones may be."""
        ...
