"""Coverage-guided fuzzing of request bodies; not part of the test suite.

    pip install atheris
    python eval/bench/fuzz_http.py -runs=1000000

Checks that for any bytes of a body the service answers with a status below 500, that a refusal is a
problem document, and that a plain row gets the same answer before and after, unless a request
changed a label of the pool. No model: the experts answer.
"""

from __future__ import annotations

import asyncio
import functools
import json

import atheris
from fuzzing import as_json, fuzz, odd, watched

with watched("ecomfs.serve", "ecomfs.task", "ecomfs.features"):
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.serve import create_app, service

TEXTS = ["it works", "broke at once", "fits well", "torn", "lovely colour", "never again"]
PATHS = (
    "/v1/classify",
    "/v1/explain",
    "/v1/reviews",
    "/v1/examples/relabel",
    "/v1/examples/retire",
    "/v1/rank",
    "/v1/reviews/r1/decide",
)
RIGHT = (
    {"rows": ["it works", {"text": "很好", "price": 9.5}], "ids": ["a", "b"], "explain": True},
    {"row": "it works", "id": "r7"},
    {"rows": [{"text": 1}], "classify": False},
    {"id": "x", "label": "positive", "note": ""},
    {"ids": ["x"]},
    {"items": [{"id": "1", "row": {"text": "a"}}]},
    {"label": "positive"},
)
SEEDS = [bytes([place]) + as_json(body) for place, body in enumerate(RIGHT)]
SEEDS += [bytes([128 + place]) + bytes(range(8, 60)) for place in range(14)]
PLAIN = b'{"rows": ["it works"]}'


def make_app() -> object:
    clf = FewShotClassifier("review_sentiment", engine="none", embedder="hashed", language="en")
    return create_app(clf.fit(TEXTS, ["positive", "negative"] * 3))


# Nobody else asks: a batch need not wait for a second request.
service.MicroBatcher = functools.partial(service.MicroBatcher, window=0.0)  # type: ignore[misc]
APP = make_app()
LOOP = asyncio.new_event_loop()


async def ask(path: str, body: bytes) -> tuple[int, bytes, dict[bytes, bytes]]:
    """Pass one request to the application without a socket."""
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "server": ("localhost", 80), "client": ("127.0.0.1", 1)}
    sent: list[dict[str, object]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, object]:
        if not waiting:  # the caller waits for the answer, and does not leave
            await asyncio.get_running_loop().create_future()
        return waiting.pop()

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await APP({**scope, "root_path": "", "state": {}}, receive, send)
    content = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], content, dict(sent[0]["headers"])


EXPECTED = LOOP.run_until_complete(ask(PATHS[0], PLAIN))[1]
COUNT = 0


def test_one_input(data: bytes) -> None:
    global APP, COUNT
    if not data:
        return
    place, body = data[0] % len(PATHS), data[1:]
    path = PATHS[place]
    if data[0] >= 128:  # a body that is nearly right
        right = RIGHT[place]
        body = as_json(odd(atheris.FuzzedDataProvider(body), right))
    status, content, headers = LOOP.run_until_complete(ask(path, body))
    if status >= 500:
        raise AssertionError(f"{path}: {status} {content!r}")
    if status >= 400:
        told = json.loads(content)
        if headers[b"content-type"] != b"application/problem+json" or told["status"] != status:
            raise AssertionError(f"{path}: {status} {content!r}")
    COUNT += 1
    if COUNT % 1000 == 0:
        found = LOOP.run_until_complete(ask(PATHS[0], PLAIN))[1]
        (plain,) = json.loads(found)["predictions"]
        if found != EXPECTED and plain["pool_version"] == 1:
            raise AssertionError(f"a plain row: {EXPECTED!r}, now {found!r}")
        APP = make_app()  # its pool and its queue have grown


if __name__ == "__main__":
    fuzz(test_one_input, SEEDS)
