"""Load generators: plain aiohttp that keeps the server busy and does nothing else."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import aiohttp
from score_worker import Job

PER_REQUEST = 16


class Generator(ABC):
    """Args:
    job: what is asked.
    each: prompts in one request.
    """

    path = ""

    def __init__(self, job: Job, each: int) -> None:
        self._job = job
        self._each = each

    @abstractmethod
    def body(self, prompts: list[str]) -> dict[str, Any]:
        """One request."""

    @abstractmethod
    def read(self, answer: dict[str, Any]) -> list[str]:
        """What was answered."""

    def score(self, start: int, stop: int) -> list[str | None]:
        return asyncio.run(self._all(self._job.prompts[start:stop]))

    async def _all(self, prompts: list[str]) -> list[str | None]:
        parts = [prompts[n : n + self._each] for n in range(0, len(prompts), self._each)]
        todo = iter(enumerate(parts))
        said: list[list[str]] = [[] for _ in parts]

        async def sender(session: aiohttp.ClientSession) -> None:
            for number, part in todo:
                async with session.post(
                    f"{self._job.url}{self.path}", json=self.body(part)
                ) as response:
                    said[number] = self.read(await response.json())

        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0)
        ) as session:
            senders = max(1, self._job.in_flight // self._each)
            await asyncio.gather(*(sender(session) for _ in range(senders)))
        return [one for part in said for one in part]


class Chat(Generator):
    path = "/v1/chat/completions"

    def __init__(self, job: Job) -> None:
        super().__init__(job, 1)

    def body(self, prompts: list[str]) -> dict[str, Any]:
        message = {"role": "user", "content": prompts[0]}
        return {
            "model": self._job.model,
            "messages": [message],
            "temperature": 0,
            "max_tokens": 4,
        }

    def read(self, answer: dict[str, Any]) -> list[str]:
        return [answer["choices"][0]["message"]["content"]]


class Completions(Generator):
    path = "/v1/completions"

    def __init__(self, job: Job) -> None:
        super().__init__(job, PER_REQUEST)

    def body(self, prompts: list[str]) -> dict[str, Any]:
        return {"model": self._job.model, "prompt": prompts, "temperature": 0, "max_tokens": 1}

    def read(self, answer: dict[str, Any]) -> list[str]:
        return [c["text"] for c in sorted(answer["choices"], key=lambda c: c["index"])]
