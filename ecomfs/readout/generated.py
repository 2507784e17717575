"""Generated text, parsed: the last step, for engines that give nothing better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from ecomfs.engine.protocol import Engine
from ecomfs.errors import EngineError
from ecomfs.readout.parser import LabelParser
from ecomfs.readout.readout import Wording
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.task import LabelSpace
from ecomfs.types import Posterior, Prompt


class TextReadout:
    """Generates a short answer and parses it. The posterior is one-hot: without
    log-probabilities there is no honest confidence to report."""

    needs: ClassVar[str] = "text"
    name = "text"

    def __init__(self, space: LabelSpace, verbalizer: Verbalizer, max_tokens: int = 24) -> None:
        self._space = space
        self._verbalizer = verbalizer
        self._parser = LabelParser(space, verbalizer.answers)
        self._max_tokens = max_tokens

    @staticmethod
    def met(engine: Engine) -> bool:
        """See :class:`ecomfs.readout.Readout`."""
        return engine.capabilities.generates

    @classmethod
    def of(cls, wording: Wording, engine: Engine) -> Self:
        """See :class:`ecomfs.readout.Readout`."""
        return cls(wording.space, wording.verbalizer)

    def suits(self, narrowed: bool) -> bool:
        """Always: there is no other step below it."""
        return True

    def narrowed(self, places: Sequence[int]) -> Self:
        """See :class:`ecomfs.readout.Readout`."""
        return type(self)(
            LabelSpace([self._space.labels[i] for i in places]),
            self._verbalizer.narrowed(places),
            self._max_tokens,
        )

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        """See :class:`ecomfs.readout.Readout`."""
        out: list[Posterior | EngineError] = []
        for generation in await engine.generate(prompts, max_tokens=self._max_tokens, stop=("\n",)):
            if isinstance(generation, EngineError):
                out.append(generation)
                continue
            label = self._parser.parse(generation.text)
            one_hot = tuple(float(i == label) for i in range(len(self._space)))
            out.append(
                Posterior(
                    one_hot if label is not None else (),
                    raw=generation.text,
                    prompt_tokens=generation.prompt_tokens,
                    cached_tokens=generation.cached_tokens,
                )
            )
        return out
