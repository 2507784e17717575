"""An engine for tests of what surrounds a model: protocol, order, errors, concurrency.

It is no model and says nothing about quality: its distribution is a hash of the prompt.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

from ecomfs.engine.protocol import Capabilities, Sampling
from ecomfs.errors import EngineError, EngineResponseError, EngineUnavailableError
from ecomfs.types import Generation, Prompt, Question, Reading

_PIECE = re.compile(r" ?[A-Za-z]+| ?\d+|\s|[^\sA-Za-z\d]")
LABEL_MASS = 0.9


class ScriptedTokenizer:
    """Words with their leading space, digits, single characters; the vocabulary grows by use."""

    def __init__(self) -> None:
        self._pieces: list[str] = ["<bos>"]
        self._ids: dict[str, int] = {}

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        out = [0] if bos else []
        for piece in _PIECE.findall(text):
            if piece not in self._ids:
                self._ids[piece] = len(self._pieces)
                self._pieces.append(piece)
            out.append(self._ids[piece])
        return out

    def encode_control(self, text: str) -> list[int]:
        """As a frame: <|…|> is one token of its own."""
        out = []
        for part in filter(None, re.split(r"(<\|\w+\|>)", text)):
            if not part.startswith("<|"):
                out += self.encode(part)
                continue
            if f"control {part}" not in self._ids:
                self._ids[f"control {part}"] = len(self._pieces)
                self._pieces.append(part)
            out.append(self._ids[f"control {part}"])
        return out

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._pieces[i] for i in ids if i)


class ScriptedEngine:
    """Reads prompts deterministically: the same prompt has the same distribution in every process.

    Args:
        batch: as in its capabilities.
        logprobs: without them it shows no tokenizer and generates ``answer``.
        fails_on: a prompt that contains it gets an error of its own.
        breaks_on: a prompt that contains it breaks the whole call, as a fault in the code would.
        gone: nothing can be read at all.
        held: calls wait until :meth:`release`.

    Attributes:
        calls: number of prompts of each ``read``, in order.
        most_at_once: most calls that ran at the same time.
    """

    spec = "scripted"
    fingerprint = "scripted-1"

    def __init__(
        self,
        *,
        batch: int = 8,
        logprobs: bool = True,
        answer: str = "",
        fails_on: str | None = None,
        breaks_on: str | None = None,
        gone: bool = False,
        held: bool = False,
    ) -> None:
        self.capabilities = Capabilities(
            logprobs=logprobs,
            generates=True,
            prefix_reuse=False,
            context_tokens=4096,
            batch=batch,
        )
        self.tokenizer = ScriptedTokenizer() if logprobs else None
        self.answer = answer
        self.fails_on = fails_on
        self.breaks_on = breaks_on
        self.gone = gone
        self.calls: list[int] = []
        self.most_at_once = 0
        self.closed = False
        self._running = 0
        self._open = asyncio.Event()
        if not held:
            self._open.set()

    def release(self) -> None:
        """Let held calls continue; call it on the engine's loop."""
        self._open.set()

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        await self._enter(prompts)
        return [self._failure(p) or self._reading(p, questions) for p in prompts]

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        await self._enter(prompts)
        return [self._failure(p) or Generation(self.answer, len(p.text)) for p in prompts]

    async def aclose(self) -> None:
        self.closed = True

    async def _enter(self, prompts: Sequence[Prompt]) -> None:
        self.calls.append(len(prompts))
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            await self._open.wait()
        finally:
            self._running -= 1
        if self.gone:
            raise EngineUnavailableError("http://10.1.2.3:8000 does not answer", hint="start it")
        if self.breaks_on is not None and any(self.breaks_on in p.text for p in prompts):
            raise ZeroDivisionError("secret detail")

    def _failure(self, prompt: Prompt) -> EngineError | None:
        if self.fails_on is not None and self.fails_on in prompt.text:
            return EngineResponseError("no answer for this prompt")
        return None

    def _reading(self, prompt: Prompt, questions: Sequence[Question]) -> Reading:
        logprobs = []
        for question in questions:
            weights = [self._weight(prompt, question, code) for code in question.codes]
            total = sum(weights)
            logprobs.append(tuple(math.log(LABEL_MASS * w / total) for w in weights))
        return Reading(tuple(logprobs), prompt_tokens=len(prompt.token_ids))

    def _weight(self, prompt: Prompt, question: Question, code: int) -> float:
        pieces = [prompt.text, self._text(question.suffix), self._text([code])]
        digest = hashlib.sha256("\0".join(pieces).encode()).digest()
        return math.exp(4 * digest[0] / 255)

    def _text(self, ids: Sequence[int]) -> str:
        # By text, not by id: ids depend on what was encoded before.
        return self.tokenizer.decode(ids) if self.tokenizer else ""


def examples(n: int = 12) -> tuple[list[str], list[str]]:
    """Texts and sentiment labels for a pool."""
    texts = [f"review {i}: it {'broke at once' if i % 2 else 'works very well'}" for i in range(n)]
    return texts, ["negative" if i % 2 else "positive" for i in range(n)]


def classifier(engine: Any = None, **options: Any) -> Any:
    """A fitted sentiment classifier on a scripted engine."""
    from ecomfs.estimators import FewShotClassifier

    options = {"k": 4, "embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    return FewShotClassifier("review_sentiment", engine or ScriptedEngine(), **options).fit(
        *examples()
    )
