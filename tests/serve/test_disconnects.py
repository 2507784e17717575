"""A caller that disconnects: the rest of its work is cancelled."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI, Response
from scripted import ScriptedEngine, classifier
from serving import ask, serving

from ecomfs.core import event_loop
from ecomfs.errors import EngineError, OverloadedError
from ecomfs.serve import create_app
from ecomfs.serve.problems import install
from ecomfs.types import Prompt, Question, Reading


class Watched(ScriptedEngine):
    """Says when it is asked and when a call was cancelled; texts of prompts are noted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked, self.cancelled = threading.Event(), threading.Event()
        self.texts: list[str] = []

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        self.texts += [p.text for p in prompts]
        self.asked.set()
        try:
            return await super().read(prompts, questions)
        except BaseException:
            self.cancelled.set()
            raise


def send(url: str, texts: Sequence[str]) -> http.client.HTTPConnection:
    """A request whose answer is not read."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    body = json.dumps({"rows": list(texts)})
    connection.request("POST", "/v1/classify", body, {"Content-Type": "application/json"})
    return connection


async def release(engine: ScriptedEngine) -> None:
    engine.release()


def test_rows_of_a_caller_that_disconnected_are_not_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Watched(batch=4, held=True)
    caplog.set_level("INFO", logger="ecomfs.serve.requests")
    with serving(create_app(classifier(engine))) as url:
        leaver = send(url, [f"leaver {i}" for i in range(40)])
        assert engine.asked.wait(60)
        leaver.close()
        assert engine.cancelled.wait(60)
        event_loop.run(release(engine))
        answer = ask(url, "POST", "/v1/classify", {"rows": ["a row of another caller"]})
    assert answer.json["predictions"][0]["status"] == "ok"
    # Of its ten batches one was being read.
    assert sum("leaver" in text.rpartition("Review:")[2] for text in engine.texts) == 4
    told = [json.loads(r.getMessage()) for r in caplog.records if r.name.endswith("requests")]
    assert [entry["status"] for entry in told if entry["route"] == "/v1/classify"] == [499, 200]


def test_a_queued_row_of_a_caller_that_left_never_reaches_the_engine() -> None:
    engine = Watched(batch=1, held=True)
    app = create_app(classifier(engine))
    with serving(app) as url:
        stayers = [send(url, [f"stayer {i}"]) for i in range(2)]  # both slots of the batcher
        assert engine.asked.wait(60)
        wait_for(url, waiting=0)
        leaver = send(url, ["leaver"])
        wait_for(url, waiting=1)
        leaver.close()
        wait_for(url, waiting=0)
        event_loop.run(release(engine))
        statuses = [stayer.getresponse().status for stayer in stayers]
        for stayer in stayers:
            stayer.close()
    assert statuses == [200, 200]
    assert not any("leaver" in text for text in engine.texts)


def wait_for(url: str, waiting: int) -> None:
    """Wait until this many rows are queued; pytest's time-out ends it otherwise."""
    line = f'ecomfs_rows_waiting{{task="review_sentiment"}} {waiting}.0'
    while line.encode() not in ask(url, "GET", "/metrics").body:
        time.sleep(0.01)


def test_rows_of_one_request_in_several_batches_have_one_pool_version() -> None:
    engine = ScriptedEngine(batch=4)
    clf = classifier(engine)
    texts = [f"row {i}" for i in range(10)]
    with serving(create_app(clf)) as url:
        found = ask(url, "POST", "/v1/classify", {"rows": texts}).json["predictions"]
    assert engine.calls == [4, 4, 2]
    assert [p["probabilities"] for p in found] == [
        dict(p.probabilities) for p in clf.classify(texts)
    ]


def test_too_much_work_is_429_with_the_time_to_wait() -> None:
    engine = Watched(batch=1, held=True)  # two batches of one row run
    with serving(create_app(classifier(engine))) as url:
        callers = [send(url, ["running"]), send(url, ["running too"])]
        assert engine.asked.wait(60)
        wait_for(url, waiting=0)
        for i in range(1, 17):
            callers.append(send(url, ["waits"] * 256))
            wait_for(url, waiting=256 * i)
        answer = ask(url, "POST", "/v1/classify", {"rows": ["one more"]})
        for caller in callers:
            caller.close()
        wait_for(url, waiting=0)
    assert answer.status == 429
    assert answer.json["type"] == "urn:ecomfs:error:overloaded"
    assert "4096 rows are waiting already" in answer.json["detail"]
    assert int(answer.headers["retry-after"]) >= 1


def test_the_time_to_wait_is_that_of_the_work_that_waits() -> None:
    async def refuse() -> Response:
        raise OverloadedError("4 rows are waiting already", seconds=41.2)

    app = FastAPI()
    install(app)
    app.get("/")(refuse)
    with serving(app) as url:
        assert ask(url, "GET", "/").headers["retry-after"] == "42"
