"""The naive loop: OpenAI's client, one row per call, one call at a time."""

from __future__ import annotations

import openai
from score_worker import Job


class System:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._client = openai.OpenAI(base_url=f"{job.url}/v1", api_key="none")

    def score(self, start: int, stop: int) -> list[str | None]:
        said: list[str | None] = []
        for prompt in self._job.prompts[start:stop]:
            answer = self._client.chat.completions.create(
                model=self._job.model,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=4,
            )
            said.append(answer.choices[0].message.content)
        return said
