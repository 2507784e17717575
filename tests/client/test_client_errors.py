from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from scripted import ScriptedEngine, classifier
from serving import serving

from ecomfs.client import Client
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InputError,
)
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import create_app
from ecomfs.types import Status


@pytest.fixture(scope="module")
def clf() -> FewShotClassifier:
    return classifier()


@pytest.fixture(scope="module")
def client(clf: FewShotClassifier) -> Iterator[Client]:
    with serving(create_app(clf)) as url, Client(url) as client:
        yield client


def test_errors_of_the_rows_are_the_classifiers(client: Client, clf: FewShotClassifier) -> None:
    for ask in (client.classify, clf.classify):
        with pytest.raises(ColumnError, match="no column 'text'"):
            ask([{"tex": "a"}])
        with pytest.raises(InputError, match="2 rows but 1 ids"):
            ask(["a", "b"], ["1"])
        with pytest.raises(ConfigError, match="one string"):
            ask("one text")


def test_nothing_there_says_how_to_start_it() -> None:
    with pytest.raises(EngineUnavailableError, match="ecomfs serve --task"):
        Client("http://127.0.0.1:9").classify(["a"])


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://a", "http://", ""])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:8080"):
        Client(url)


def test_a_right_key_works_and_a_wrong_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(create_app(classifier(), api_key="right")) as url:
        for wrong in (None, "wrong"):
            with Client(url, wrong) as client, pytest.raises(ConfigError, match="ECOMFS_API_KEY"):
                client.classify(["a"])
        with Client(url, "right") as client:
            assert len(client.classify(["a"])) == 1
            assert "right" not in repr(client)
        monkeypatch.setenv("ECOMFS_API_KEY", "right")
        with Client(url) as client:
            assert len(client.classify(["a"])) == 1


def test_a_service_whose_engine_is_gone() -> None:
    with (
        serving(create_app(classifier(ScriptedEngine(gone=True)))) as url,
        Client(url, retries=0) as client,
        pytest.raises(EngineUnavailableError, match="is not available now"),
    ):
        client.classify(["a"])


def test_a_fault_inside_the_service() -> None:
    engine = ScriptedEngine(breaks_on="dynamite")
    with serving(create_app(classifier(engine))) as url, Client(url) as client:
        with pytest.raises(EngineError, match="internal error of the service") as caught:
            client.classify(["dynamite"])
        assert not isinstance(caught.value, EngineUnavailableError)
        assert client.classify(["fine"])[0].status == Status.OK


HEALTH = {"labels": ["no", "yes"], "max_rows": 256, "max_body_bytes": 100_000}


def answer_to(ids: list[str]) -> dict[str, Any]:
    one = {
        "label": "yes",
        "confidence": 1.0,
        "probabilities": {"no": 0.0, "yes": 1.0},
        "status": "ok",
        "error": "",
        "note": "",
        "label_mass": 1.0,
        "demonstration_ids": [],
        "template": None,
        "engine": "e",
        "pool_version": 1,
        "prompt_tokens": 1,
        "cached_tokens": 0,
    }
    return {"predictions": [{"id": id_, **one} for id_ in ids], "labels": ["no", "yes"]}


Reply = tuple[int, dict[str, str], bytes] | None


@contextmanager
def scripted_service(reply: Callable[[int, Any], Reply]) -> Iterator[tuple[str, list[str]]]:
    """A service that gives its n-th POST the n-th answer; ``None`` cuts the connection."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer((200, {}, json.dumps(HEALTH).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(self.path)
            self.answer(reply(len(seen), body))

        def answer(self, what: Reply) -> None:
            self.close_connection = True
            if what is None:
                return
            status, headers, body = what
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [503, 502, 429, None])
def test_temporary_errors_are_retried(status: int | None) -> None:
    def reply(n: int, body: Any) -> Reply:
        if n <= 2:
            return None if status is None else (status, {"Retry-After": "0"}, b"{}")
        return 200, {}, json.dumps(answer_to(body["ids"])).encode()

    with scripted_service(reply) as (url, seen), Client(url) as client:
        assert client.predict(["a", "b"]).tolist() == ["yes", "yes"]
        assert len(seen) == 3


def test_errors_that_persist_are_raised_after_the_last_try() -> None:
    def reply(n: int, body: Any) -> Reply:
        return 503, {"Retry-After": "0"}, b'{"detail": "still loading"}'

    with scripted_service(reply) as (url, seen), Client(url, retries=2) as client:
        with pytest.raises(EngineUnavailableError, match="still loading"):
            client.classify(["a"])
        assert len(seen) == 3


def test_a_mistake_is_not_tried_again() -> None:
    problem = {"type": "urn:ecomfs:error:column", "detail": "no column", "hint": "name it"}

    def reply(n: int, body: Any) -> Reply:
        return 422, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode()

    with scripted_service(reply) as (url, seen), Client(url) as client:
        with pytest.raises(ColumnError) as caught:
            client.classify(["a"])
        assert (caught.value.message, caught.value.hint) == ("no column", "name it")
        assert len(seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"predictions": [{}], "labels": []}',
        b'{"predictions": null, "labels": []}',
        json.dumps(answer_to([])).encode(),
        json.dumps(answer_to(["0", "1"])).encode(),
        json.dumps(answer_to(["7"])).encode(),
    ],
)
def test_an_answer_of_another_shape_is_an_error(body: bytes) -> None:
    with (
        scripted_service(lambda n, asked: (200, {}, body)) as (url, _),
        Client(url) as client,
        pytest.raises(EngineResponseError),
    ):
        client.classify(["a"])


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")], ids=str)
def test_a_row_without_numbers_fails_and_the_others_are_answered(bad: float | None) -> None:
    answer = answer_to(["0", "1", "2"])
    answer["predictions"][1] |= {
        "confidence": bad,
        "probabilities": {"no": bad, "yes": bad},
        "stages": {"read": [bad, bad]},
    }
    body = json.dumps(answer).encode()
    with scripted_service(lambda n, asked: (200, {}, body)) as (url, _), Client(url) as client:
        found = client.classify(["a", "b", "c"])
    assert [p.status for p in found] == [Status.OK, Status.FAILED, Status.OK]
    assert (found[1].label, found[1].confidence, found[1].stages) == (None, None, {})
    assert "no probability of 'no'" in found[1].error


@pytest.mark.parametrize("status", ["failed", "invalid", "abstained"])
def test_a_row_without_confidence_is_a_row(status: str) -> None:
    answer = answer_to(["0"])
    answer["predictions"][0] |= {
        "label": None,
        "confidence": None,
        "probabilities": {},
        "status": status,
        "error": "why",
    }
    body = json.dumps(answer).encode()
    with scripted_service(lambda n, asked: (200, {}, body)) as (url, _), Client(url) as client:
        [found] = client.classify(["a"])
    assert (found.status, found.error, found.confidence) == (Status(status), "why", None)


def test_another_program_at_the_address_is_reported() -> None:
    def page(n: int, body: Any) -> Reply:
        return 404, {"Content-Type": "text/html"}, b"<h1>not here</h1>"

    with (
        scripted_service(page) as (url, _),
        Client(url) as client,
        pytest.raises(EngineResponseError, match="ecomfs serve"),
    ):
        client.classify(["a"])


def test_no_answer_in_time_is_reported() -> None:
    done = threading.Event()

    def late(n: int, body: Any) -> Reply:
        done.wait(timeout=60)
        return None

    with scripted_service(late) as (url, seen):
        with (
            Client(url, timeout=0.2) as client,
            pytest.raises(EngineTimeoutError, match=r"0\.2 s.*timeout="),
        ):
            client.classify(["a"])
        done.set()
        assert len(seen) == 1
