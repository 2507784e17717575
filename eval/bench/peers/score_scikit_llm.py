"""scikit-llm's zero-shot classifier, with threads."""

from __future__ import annotations

from score_worker import Job
from skllm.config import SKLLMConfig
from skllm.models.gpt.classification.zero_shot import ZeroShotGPTClassifier


class System:
    def __init__(self, job: Job) -> None:
        self._job = job
        SKLLMConfig.set_openai_key("none")
        SKLLMConfig.set_gpt_url(f"{job.url}/v1/")
        # An answer that is no label is to be seen, not replaced by a label drawn at random.
        self._model = ZeroShotGPTClassifier(
            model=f"custom_url::{job.model}", default_label="no label"
        )
        self._model.fit(None, job.labels)

    def score(self, start: int, stop: int) -> list[str | None]:
        texts = self._job.texts[start:stop]
        return list(self._model.predict(texts, num_workers=self._job.in_flight))
