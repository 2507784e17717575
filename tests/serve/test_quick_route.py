"""Bodies parsed in one step get the same answers as through FastAPI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from scripted import classifier
from serving import ask, serving

from ecomfs.serve import create_app
from ecomfs.serve.keys import ApiKey, new_key

JSON = {"Content-Type": "application/json"}
BODY: dict[str, Any] = {"rows": ["fits well", "zerrissen"], "ids": ["a", "ß"], "explain": True}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(classifier())) as url:
        yield url


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_encodings_that_json_may_have_are_read(url: str, encoding: str) -> None:
    usual = ask(url, "POST", "/v1/classify", json.dumps(BODY).encode(), JSON)
    text = json.dumps(BODY, ensure_ascii=False)
    odd = ask(url, "POST", "/v1/classify", text.encode(encoding), JSON)
    assert usual.status == 200
    assert odd.status == 200
    assert odd.json == usual.json
    assert usual.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [{"text": NaN}]}',
        '{"rows": [{"text": 123456789012345678901234567890}]}',
        '{"rows": [{"text": "half \\ud83d"}]}',
        '{"rows": ["one"], "rows": ["two"]}',
        '{"rows": ["fits"], "explain": "yes"}',
    ],
)
def test_odd_values_are_no_fault(url: str, text: str) -> None:
    answer = ask(url, "POST", "/v1/classify", text.encode(), JSON)
    assert answer.status in (200, 422)
    assert answer.json.get("predictions") or answer.json["hint"]


def test_an_unauthorised_caller_learns_nothing_about_the_body() -> None:
    key, digest = new_key()
    only = [ApiKey("x", digest, frozenset())]
    with serving(create_app(classifier(), keys=only)) as url:
        mine = {**JSON, "Authorization": f"Bearer {key}"}
        for body in (b'{"rows": ["fits"]}', b'{"rows": 7}'):
            answer = ask(url, "POST", "/v1/classify", body, mine)
            assert answer.status == 403
            assert "classify" in answer.json["detail"]
