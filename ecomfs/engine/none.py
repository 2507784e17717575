"""No model: the experts answer every row alone, at once and without a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from ecomfs.core.options import NO_MODEL
from ecomfs.engine.protocol import Capabilities, Engine, Sampling
from ecomfs.errors import ConfigError
from ecomfs.types import Prompt, Question


class NoEngine:
    """The engine ``none``: rows are answered by the experts, and nothing is read.

    >>> engine = NoEngine()
    >>> engine.spec, engine.tokenizer, engine.capabilities.logprobs
    ('none', None, False)
    """

    spec = NO_MODEL
    fingerprint = NO_MODEL
    tokenizer = None
    capabilities = Capabilities(
        logprobs=False, generates=False, prefix_reuse=False, context_tokens=0, batch=256
    )

    async def read(self, prompts: Sequence[Prompt], questions: Sequence[Question]) -> NoReturn:
        """There is nothing to read with.

        Raises:
            ConfigError: always.
        """
        raise _refused("reads prompts")

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> NoReturn:
        """There is nothing to write with.

        Raises:
            ConfigError: always.
        """
        raise _refused("writes text")

    async def aclose(self) -> None:
        """Nothing is open."""


def has_model(engine: Engine) -> bool:
    """Whether rows can be read by a language model; not with the engine ``none``.

    >>> has_model(NoEngine())
    False
    """
    return engine.capabilities.context_tokens > 0


def _refused(what: str) -> ConfigError:
    return ConfigError(f"engine none has no model that {what}", hint="name a model: --engine auto")
