"""autolabel, one row per call. It supports only OpenAI's models, so it reaches our server through
OpenAI's client.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas
from autolabel import AutolabelDataset, LabelingAgent
from score_worker import Job


class System:
    def __init__(self, job: Job) -> None:
        self._job = job
        os.environ["OPENAI_API_BASE"] = f"{job.url}/v1"
        self._config = {
            "task_name": "sentiment",
            "task_type": "classification",
            "dataset": {"label_column": "label", "delimiter": ","},
            "model": {"provider": "openai", "name": job.model, "params": {"max_tokens": 8}},
            "prompt": {
                "task_guidelines": "Is this review positive or negative?",
                "labels": job.labels,
                "example_template": "Review: {text}\nLabel: {label}",
            },
        }

    def score(self, start: int, stop: int) -> list[str | None]:
        os.chdir(Path(self._job.folder))  # it keeps a database where it stands
        rows = pandas.DataFrame({"text": self._job.texts[start:stop]})
        agent = LabelingAgent(self._config, cache=False, create_task=False)
        done = agent.run(AutolabelDataset(rows, config=self._config), skip_eval=True)
        return list(done.df["sentiment_label"])
