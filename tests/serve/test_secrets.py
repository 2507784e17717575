"""Row text reaches no log; data of another tenant is not found; paths cannot leave the folder."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from scripted import ScriptedEngine, classifier
from serving import ask, serving

from ecomfs.errors import EngineError, EngineUnavailableError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.serve.keys import ApiKey, new_key
from ecomfs.types import Example, Prompt, Question, Reading

CANARY = "canary-7d20 ordered by Ana, 4111 1111"
FINAL = ("done", "failed", "cancelled")


class Quoting(ScriptedEngine):
    """Fails with messages that quote the prompt, as libraries do."""

    kind: type[Exception] = ValueError

    async def read(
        self, prompts: Sequence[Prompt], questions: Sequence[Question]
    ) -> list[Reading | EngineError]:
        if any("canary" in p.text for p in prompts):
            raise self.kind(f"cannot read: {prompts[-1].text}")
        return await super().read(prompts, questions)


@pytest.mark.parametrize("kind", [ValueError, EngineError])
def test_a_fault_that_quotes_a_row_is_logged_without_it(
    kind: type[Exception], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    engine = Quoting()
    engine.kind = kind
    with serving(create_app(classifier(engine))) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": [CANARY]})
        assert answer.status == 500
        assert b"canary" not in answer.body
        table = {"Content-Type": "application/octet-stream"}
        file = f"text\n{CANARY}\n".encode()
        run = ask(url, "POST", "/v1/runs?name=rows.csv", file, table).json
        while run["state"] not in FINAL:
            run = ask(url, "GET", f"/v1/runs/{run['id']}").json
        assert ask(url, "POST", "/v1/classify", {"rows": ["fine"]}).status == 200
    told = caplog.text + "".join(capfd.readouterr())
    assert "canary" not in told
    assert "4111 1111" not in told
    assert kind.__name__ in told  # the fault itself is in the log, with its place
    assert "test_secrets.py" in told


def test_an_example_that_cannot_be_used_is_logged_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class QuotedError(Exception):
        pass

    with Pool.in_memory(
        [Example("a", {"text": "fits"}, "positive"), Example("b", {"text": "torn"}, "negative")]
    ) as pool:
        options: dict[str, Any] = {"k": 1, "embedder": "hashed", "calibration_size": 0}
        clf = FewShotClassifier("review_sentiment", ScriptedEngine(), **options).fit(pool)

        def broken(*_: Any, **__: Any) -> Any:
            raise QuotedError(f"cannot use {CANARY}")

        with serving(create_app(clf)) as url, pytest.MonkeyPatch.context() as patched:
            patched.setattr("ecomfs.estimators.few_shot.refreshed", broken)
            pool.add([Example("c", {"text": CANARY}, "positive")])
            assert ask(url, "POST", "/v1/classify", {"rows": ["fine"]}).status == 200
            assert ask(url, "GET", "/healthz").json["status"] == "stale"
    assert "canary" not in caplog.text
    assert "QuotedError" in caplog.text


def test_an_unavailable_engine_does_not_quote_either(caplog: pytest.LogCaptureFixture) -> None:
    engine = Quoting()
    engine.kind = EngineUnavailableError
    with serving(create_app(classifier(engine))) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": [CANARY]})
    assert answer.status == 503
    assert "canary" not in caplog.text
    assert b"canary" not in answer.body


# -- other tenants and paths -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tenants() -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """Two tenants with a task each; what the second has: a review, an example, a run."""
    made = {name: new_key() for name in ("one", "two")}
    keys = [
        ApiKey(name, digest, frozenset(["label"]), frozenset([name]))
        for name, (_, digest) in made.items()
    ]
    with serving(create_app({"one": classifier(), "two": classifier()}, keys=keys)) as url:
        headers = {name: {"Authorization": f"Bearer {key}"} for name, (key, _) in made.items()}
        mine = headers["two"]
        review = ask(url, "POST", "/v1/reviews", {"rows": ["so so"]}, mine).json["reviews"][0]
        example = {"examples": [{"row": "of two", "label": "positive", "id": "theirs"}]}
        assert ask(url, "POST", "/v1/examples", example, mine).status == 200
        table = {"Content-Type": "application/octet-stream", **mine}
        run = ask(url, "POST", "/v1/runs?name=a.csv", b"text\nfits\n", table)
        yield url, headers["one"], {"review": review["id"], "run": run.json["id"]}


def test_ids_of_another_tenant_are_not_found(
    tenants: tuple[str, dict[str, str], dict[str, str]],
) -> None:
    url, key, theirs = tenants
    review, run = theirs["review"], theirs["run"]
    asked: list[tuple[str, str, Any]] = [
        ("GET", f"/v1/reviews/{review}", None),
        ("GET", f"/v1/reviews/{review}?task=two", None),
        ("POST", f"/v1/reviews/{review}/decide", {"label": "positive"}),
        ("POST", f"/v1/reviews/{review}/decide", {"label": "positive", "task": "two"}),
        ("POST", f"/v1/reviews/{review}/undo", {}),
        ("POST", f"/v1/reviews/{review}/skip", {"task": "two"}),
        ("GET", "/v1/examples/history?id=theirs", None),
        ("GET", "/v1/examples?task=two", None),
        ("GET", f"/v1/runs/{run}", None),
        ("GET", f"/v1/runs/{run}/result", None),
        ("GET", f"/v1/runs/{run}/events", None),
        ("POST", f"/v1/runs/{run}/cancel", {}),
        ("GET", "/healthz?task=two", None),
        ("POST", "/v1/classify", {"rows": ["x"], "task": "two"}),
        ("POST", "/v1/explain", {"row": "x", "task": "two"}),
        ("GET", "/v1/ab?task=two", None),
    ]
    statuses = {(m, p): ask(url, m, p, body, key).status for m, p, body in asked}
    assert set(statuses.values()) == {404}, statuses
    for path, body in (
        ("/v1/examples/relabel", {"id": "theirs", "label": "negative"}),
        ("/v1/examples/retire", {"ids": ["theirs"]}),
    ):
        assert ask(url, "POST", path, body, key).status in (404, 422)
        assert ask(url, "POST", path, body | {"task": "two"}, key).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/views.py",
        "/static/..%2f..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/v1/runs/..%2f..%2fetc%2fpasswd",
        "/v1/runs/../../etc/passwd/result",
        "/v1/reviews/..%2f..%2f",
        "//etc/passwd",
        "/..;/metrics",
    ],
)
def test_paths_lead_nowhere(tenants: tuple[str, dict[str, str], dict[str, str]], path: str) -> None:
    url, key, _ = tenants
    answer = ask(url, "GET", path, None, key)
    assert answer.status in (400, 404, 405, 422)
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


def test_the_name_of_an_upload_is_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "runs"
    with serving(create_app(classifier(), runs_folder=folder)) as url:
        headers = {"Content-Type": "application/octet-stream"}
        name = "..%2F..%2Fescaped.csv"
        made = ask(url, "POST", f"/v1/runs?name={name}", b"text\nfits\n", headers)
        assert made.status == 201
        while ask(url, "GET", f"/v1/runs/{made.json['id']}").json["state"] not in FINAL:
            pass
    assert not (tmp_path / "escaped.csv").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_requests_that_are_no_http_are_400_and_leave_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(create_app(classifier())) as url:
        parts = urlsplit(url)
        with socket.create_connection((str(parts.hostname), parts.port or 80), 60) as caller:
            caller.sendall(b"canary-7d20 \x00\xff no http\r\n\r\n")
            assert caller.recv(65536).startswith(b"HTTP/1.1 400 ")
        assert ask(url, "GET", "/livez").status == 200
    assert "canary" not in caplog.text
