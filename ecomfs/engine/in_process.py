"""Base of engines with the model in this process: blocking work in one thread, in batches."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ecomfs.engine.protocol import Tokenizer
from ecomfs.errors import (
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineUnavailableError,
)
from ecomfs.types import Prompt, Question

T = TypeVar("T")
Tokens = tuple[int, ...]
Batches = Callable[[list[Tokens]], list[list[int]]]
"""Token ids of prompts → positions of the prompts, by batch."""
Work = Callable[[list[Tokens], list[int]], Sequence[T | EngineError]]
"""Token ids of a batch, and positions of its prompts in the call → one answer per prompt."""


def check_not_forked(owner: int, name: str) -> None:
    """Refuse a model that another process (``owner``) loaded: a fork does not copy threads, so
    calls would never return."""
    if os.getpid() != owner:
        raise EngineUnavailableError(
            f"{name}: the model was loaded before this process was forked, and cannot be used here",
            hint="open the engine in this process, or start processes with 'spawn'",
        )


class Worker:
    """Runs the jobs of an engine one at a time in a thread. A job must check its event between
    steps: it is set when the caller was cancelled, since a thread cannot be stopped from
    outside."""

    def __init__(self, name: str, engine: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._engine = engine
        self._owner = os.getpid()

    async def run(self, job: Callable[[threading.Event], T]) -> T:
        """Run a job and return its result; its exceptions are raised here."""
        check_not_forked(self._owner, self._engine)
        given_up = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one with the thread, so that the worker cannot be
        used and need not be closed."""
        return os.getpid() != self._owner

    def close(self) -> None:
        """Accept no more jobs."""
        if not self.forked:
            self._pool.shutdown(wait=False)


class InProcessEngine:
    """Base class of engines with the model in this process; subclasses set the attributes.

    Attributes:
        spec: the engine's name.
        tokenizer: encodes prompts without token ids.
    """

    spec: str
    tokenizer: Tokenizer
    _worker: Worker
    _context: int
    _vocabulary: int

    def _check_codes(self, questions: Sequence[Sequence[Question]]) -> None:
        codes = {code for asked in questions for q in asked for code in q.codes}
        if bad := [code for code in codes if not 0 <= code < self._vocabulary]:
            raise EngineResponseError(f"{self.spec}: no token {bad[0]} in the vocabulary")

    def _encoded(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        encode = self.tokenizer.encode
        return [p.token_ids or tuple(encode(p.text, bos=True)) for p in prompts]

    async def _each(
        self, prompts: Sequence[Prompt], work: Work[T], batches: Batches, *, room: int
    ) -> list[T | EngineError]:
        """Run ``work`` for all prompts that fit the context, batch by batch in the engine's thread.
        Answers are in input order.

        Args:
            room: most tokens of an answer.
        """

        def job(given_up: threading.Event) -> list[T | EngineError]:
            ids = self._encoded(prompts)
            answers: dict[int, T | EngineError] = {}
            for i, row in enumerate(ids):
                if (error := self._misfit(row, room)) is not None:
                    answers[i] = error
            fitting = [i for i in range(len(ids)) if i not in answers]
            for batch in batches([ids[i] for i in fitting]):
                if given_up.is_set():
                    break
                places = [fitting[n] for n in batch]
                answers.update(zip(places, work([ids[i] for i in places], places), strict=True))
            return [answers[i] for i in sorted(answers)]

        return await self._worker.run(job)

    def _misfit(self, ids: Tokens, room: int) -> EngineError | None:
        """The error of a prompt that cannot be read; ``None`` if it can."""
        if not ids:
            return EngineResponseError(f"{self.spec}: an empty prompt cannot be read")
        if len(ids) + room > self._context:
            return ContextOverflowError(
                f"{self.spec}: a prompt of {len(ids)} tokens and {room} to answer do not fit the "
                f"context of {self._context}",
                hint="fewer demonstrations (--k), shorter texts, or a larger context",
            )
        return None


def in_order(rows: list[Tokens], size: int) -> list[list[int]]:
    """Batches of ``size`` prompts sorted by tokens, so that prompts with shared prefixes are
    adjacent."""
    order = sorted(range(len(rows)), key=rows.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]
