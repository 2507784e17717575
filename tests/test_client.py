from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine, classifier
from serving import serving

from ecomfs import Client, FewShotClassifier, Prediction, Status
from ecomfs.client import wire
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
    InputError,
)
from ecomfs.serve import create_app

SAMPLES = Path(__file__).parents[1] / "samples" / "review_sentiment"
TEXTS = [f"thing number {i}" for i in range(10)]


@pytest.fixture(scope="module")
def clf() -> FewShotClassifier:
    return classifier()


@pytest.fixture(scope="module")
def url(clf: FewShotClassifier) -> Iterator[str]:
    with serving(create_app(clf)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


# -- the same verbs, the same answers ----------------------------------------------------------


def test_classify_is_the_classifiers(client: Client, clf: FewShotClassifier) -> None:
    assert client.classify(TEXTS) == clf.classify(TEXTS)
    ids = [f"r{i}" for i in range(10)]
    assert client.classify(TEXTS, ids) == clf.classify(TEXTS, ids)


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"id": [1, 2, 3], "Review": ["good", None, "bad"]}),
        pd.DataFrame({"text": ["a", "b"], "text ": ["c", "d"]}),
        pd.Series(["good", np.nan, "bad"]),
        [{"text": "good"}, {"review": "bad"}, {"text": 5}, {"text": float("inf")}],
        [{"text": np.float64(2.5)}, {"text": pd.Timestamp("2024-05-01")}, {"text": ["a", None]}],
        ["好评，物流很快", 7, None, ""],
        [],
    ],
)
def test_whatever_holds_the_rows(client: Client, clf: FewShotClassifier, rows: Any) -> None:
    assert client.classify(rows) == clf.classify(rows)


def test_predict_and_predict_proba_have_the_classifiers_shape(
    client: Client, clf: FewShotClassifier
) -> None:
    rows = [*TEXTS, ""]
    assert client.classes_.tolist() == clf.classes_.tolist() == ["negative", "positive"]
    assert client.predict(rows).tolist() == clf.predict(rows).tolist()
    assert client.predict(rows)[-1] is None
    np.testing.assert_array_equal(client.predict_proba(rows), clf.predict_proba(rows))
    assert client.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("row", ["it works", {"text": "it works"}, ""])
def test_explain_is_the_classifiers(client: Client, clf: FewShotClassifier, row: Any) -> None:
    near, far = clf.explain(row), client.explain(row)
    assert far.to_dict() == near.to_dict()
    assert str(far) == str(near)
    assert far.posterior == near.posterior
    assert far.labels == near.labels
    assert [d.example for d in far.case.demonstrations] == [
        d.example for d in near.case.demonstrations
    ]


def test_it_works_inside_any_event_loop(url: str, clf: FewShotClassifier) -> None:
    async def main() -> list[list[Prediction]]:
        async with Client(url) as client:
            return await asyncio.gather(*(client.aclassify([text]) for text in TEXTS))

    found = [p for answer in asyncio.run(main()) for p in answer]
    assert [p.probabilities for p in found] == [p.probabilities for p in clf.classify(TEXTS)]


def test_more_rows_than_a_request_takes_come_back_in_order(
    client: Client, clf: FewShotClassifier
) -> None:
    rows = [f"row {i % 40}" for i in range(300)]
    found = client.classify(rows)
    assert [p.id for p in found] == [str(i) for i in range(300)]
    alone = {f"row {p.id}": p.probabilities for p in clf.classify(rows[:40])}
    assert all(p.probabilities == alone[row] for p, row in zip(found, rows, strict=True))


def test_rows_too_large_together_are_split_and_too_large_alone_fail() -> None:
    with serving(create_app(classifier(), max_body_bytes=1000)) as url, Client(url) as client:
        found = client.classify(["x" * 400, "y" * 400, "z" * 2000, "short"])
    assert [p.status for p in found] == [Status.OK, Status.OK, Status.FAILED, Status.OK]
    assert "1,000" in found[2].error


def test_a_pool_that_changes_changes_the_classes() -> None:
    clf = classifier()
    with serving(create_app(clf)) as url, Client(url) as client:
        assert client.classes_.tolist() == ["negative", "positive"]
        clf.fit(["so so", "great", "awful"], ["neutral", "positive", "negative"])
        assert client.predict_proba(["fine"]).shape == (1, 3)
        assert client.classes_.tolist() == ["negative", "neutral", "positive"]


def test_health_tells_what_is_served(client: Client) -> None:
    assert client.health()["task"] == "review_sentiment"
    assert client.health()["pool"] == {"size": 12, "version": 1}


def test_a_closed_client_opens_again(client: Client) -> None:
    client.classify(TEXTS[:1])
    client.close()
    client.close()
    assert len(client.classify(TEXTS[:1])) == 1


def test_a_dropped_client_leaves_no_connection_behind(url: str) -> None:
    client = Client(url)
    client.classify(TEXTS[:1])
    del client
    gc.collect()  # an open session would warn here, and warnings are errors


# -- errors ------------------------------------------------------------------------------------


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


def test_the_key_opens_and_a_wrong_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
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
        pytest.raises(EngineUnavailableError, match="cannot be read now"),
    ):
        client.classify(["a"])


def test_a_fault_inside_the_service() -> None:
    engine = ScriptedEngine(breaks_on="dynamite")
    with serving(create_app(classifier(engine))) as url, Client(url) as client:
        with pytest.raises(EngineError, match="inside the service") as caught:
            client.classify(["dynamite"])
        assert not isinstance(caught.value, EngineUnavailableError)
        assert client.classify(["fine"])[0].status == Status.OK


HEALTH = {"labels": ["no", "yes"], "max_rows": 256, "max_body_bytes": 100_000}


def answer_to(ids: list[str]) -> dict[str, Any]:
    one = {
        "label": "yes", "confidence": 1.0, "probabilities": {"no": 0.0, "yes": 1.0},
        "status": "ok", "error": "", "note": "", "label_mass": 1.0, "demonstration_ids": [],
        "template": None, "engine": "e", "pool_version": 1, "prompt_tokens": 1,
        "cached_tokens": 0,
    }  # fmt: skip
    return {"predictions": [{"id": id_, **one} for id_ in ids], "labels": ["no", "yes"]}


Reply = tuple[int, dict[str, str], bytes] | None


@contextmanager
def scripted_service(reply: Callable[[int, Any], Reply]) -> Iterator[tuple[str, list[str]]]:
    """A service that answers its n-th POST as told; ``None`` cuts the connection."""
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
def test_what_passes_is_tried_again(status: int | None) -> None:
    def reply(n: int, body: Any) -> Reply:
        if n <= 2:
            return None if status is None else (status, {"Retry-After": "0"}, b"{}")
        return 200, {}, json.dumps(answer_to(body["ids"])).encode()

    with scripted_service(reply) as (url, seen), Client(url) as client:
        assert client.predict(["a", "b"]).tolist() == ["yes", "yes"]
        assert len(seen) == 3


def test_what_does_not_pass_is_told_after_the_last_try() -> None:
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


def test_another_program_at_the_address_is_told() -> None:
    def page(n: int, body: Any) -> Reply:
        return 404, {"Content-Type": "text/html"}, b"<h1>not here</h1>"

    with (
        scripted_service(page) as (url, _),
        Client(url) as client,
        pytest.raises(EngineResponseError, match="ecomfs serve"),
    ):
        client.classify(["a"])


def test_no_answer_in_time_is_told() -> None:
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


# -- splitting ---------------------------------------------------------------------------------


@given(
    rows=st.lists(st.text(max_size=60), max_size=30),
    most_rows=st.integers(1, 8),
    most_bytes=st.integers(80, 400),
)
def test_requests_keep_every_row_within_the_limits(
    rows: list[str], most_rows: int, most_bytes: int
) -> None:
    ids = [str(i) for i in range(len(rows))]
    encoded = wire.encode_rows(rows)
    split = wire.requests(encoded, ids, most_rows=most_rows, most_bytes=most_bytes)
    seen: list[str] = []
    for request in split:
        if isinstance(request, Prediction):
            assert request.status == Status.FAILED
            seen.append(request.id)
            continue
        assert len(request.body) <= most_bytes
        body = json.loads(request.body)
        assert body["ids"] == list(request.ids)
        assert body["rows"] == [rows[int(i)] for i in request.ids]
        assert 1 <= len(body["rows"]) <= most_rows
        seen += request.ids
    assert seen == ids


# -- with a real model -------------------------------------------------------------------------


@pytest.mark.model
def test_ten_sample_rows_served_equal_the_local_answers() -> None:
    pool = pd.read_csv(SAMPLES / "pool.csv", dtype=str, keep_default_na=False)
    test = pd.read_csv(SAMPLES / "test.csv", dtype=str, keep_default_na=False)
    clf = FewShotClassifier("review_sentiment", "gguf:demo", k=2, embedder="hashed").fit(pool)
    rows = test.head(10)
    near = clf.classify(rows, list(rows["id"]))
    with serving(create_app(clf)) as url, Client(url) as client:
        far = client.classify(rows, list(rows["id"]))
    assert [p.label for p in far] == [p.label for p in near]
    assert all(p.status == Status.OK for p in far)
    for one, other in zip(far, near, strict=True):
        assert one.id == other.id
        assert one.demonstration_ids == other.demonstration_ids
        assert one.template == other.template
        # A prefix that is cached by now is not computed again; sums come in another order.
        assert one.probabilities == pytest.approx(dict(other.probabilities), abs=1e-3)
