"""Ray Data's HTTP stage: ``HttpRequestProcessor`` of ``ray.data.llm``."""

from __future__ import annotations

import logging
from typing import Any

import ray
from ray.data.llm import HttpRequestProcessorConfig, build_processor
from score_worker import Job


class System:
    def __init__(self, job: Job) -> None:
        self._job = job
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=128 << 20,
            _node_ip_address="127.0.0.1",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        config = HttpRequestProcessorConfig(
            url=f"{job.url}/v1/chat/completions",
            headers={"Authorization": "Bearer none"},
            batch_size=job.in_flight,
            concurrency=1,
        )

        model = job.model  # workers cannot import what a job is made of

        def ask(row: dict[str, Any]) -> dict[str, Any]:
            message = {"role": "user", "content": row["prompt"]}
            body = {"model": model, "messages": [message], "temperature": 0, "max_tokens": 4}
            return {"payload": body}

        def read(row: dict[str, Any]) -> dict[str, Any]:
            answer = row["http_response"]["choices"][0]["message"]["content"]
            return {"number": row["number"], "said": answer}

        self._processor = build_processor(config, preprocess=ask, postprocess=read)

    def score(self, start: int, stop: int) -> list[str | None]:
        rows = [
            {"number": n, "prompt": p}
            for n, p in enumerate(self._job.prompts[start:stop], start=start)
        ]
        found = self._processor(ray.data.from_items(rows)).take_all()
        said = {row["number"]: row["said"] for row in found}
        return [said.get(n) for n in range(start, stop)]
