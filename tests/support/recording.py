"""A scripted engine that keeps the prompts that it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from scripted import ScriptedEngine

from ecomfs.engine.protocol import Sampling
from ecomfs.errors import EngineError
from ecomfs.types import Generation, Prompt, Question, Reading


class RecordingEngine(ScriptedEngine):
    """Keeps every prompt in :attr:`asked`."""

    def __init__(self, limit: float = float("inf"), *, batch: int = 8) -> None:
        super().__init__(batch=batch)
        self.asked: list[str] = []
        self.limit = limit

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        self.asked += [prompt.text for prompt in prompts]
        self.gone = len(self.asked) > self.limit
        return await super().read(prompts, questions)

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        self.asked += [prompt.text for prompt in prompts]
        return await super().generate(prompts, max_tokens=max_tokens, stop=stop, sampling=sampling)
