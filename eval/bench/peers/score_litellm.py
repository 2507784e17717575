"""LiteLLM's ``batch_completion``, with threads."""

from __future__ import annotations

import litellm
from score_worker import Job

litellm.telemetry = False


class System:
    def __init__(self, job: Job) -> None:
        self._job = job

    def score(self, start: int, stop: int) -> list[str | None]:
        answers = litellm.batch_completion(
            model=f"openai/{self._job.model}",
            api_base=f"{self._job.url}/v1",
            api_key="none",
            messages=[[{"role": "user", "content": p}] for p in self._job.prompts[start:stop]],
            temperature=0,
            max_tokens=4,
            max_workers=self._job.in_flight,
        )
        return [
            None if isinstance(answer, Exception) else answer.choices[0].message.content
            for answer in answers
        ]
