"""DSPy: ``Predict`` with a label type, in threads, without its caches."""

from __future__ import annotations

from typing import Literal

import dspy
from score_worker import Job


class System:
    def __init__(self, job: Job) -> None:
        self._job = job
        model = dspy.LM(
            f"openai/{job.model}",
            api_base=f"{job.url}/v1",
            api_key="none",
            temperature=0,
            max_tokens=64,
            cache=False,
            num_retries=0,
        )
        dspy.configure(lm=model)
        label = Literal[tuple(job.labels)]  # type: ignore[valid-type]
        signature = dspy.Signature(
            {"text": (str, dspy.InputField()), "label": (label, dspy.OutputField())},
            "Is this review positive or negative?",
        )
        self._predict = dspy.Predict(signature)

    def score(self, start: int, stop: int) -> list[str | None]:
        rows = [dspy.Example(text=t).with_inputs("text") for t in self._job.texts[start:stop]]
        found = self._predict.batch(
            rows,
            num_threads=self._job.in_flight,
            max_errors=len(rows) + 1,
            disable_progress_bar=True,
        )
        return [None if one is None else one.label for one in found]
