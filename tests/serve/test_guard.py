from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import classifier
from serving import ask, serving

from ecomfs.serve import create_app

KEY = "schlüssel-1"
BODY = {"rows": ["it works"]}


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with serving(create_app(classifier(), api_key=KEY)) as url:
        yield url


def bearer(key: str) -> dict[str, str]:
    # http.client encodes header text as Latin-1; a key is UTF-8 on both sides.
    return {"Authorization": f"Bearer {key}".encode().decode("latin-1")}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("schlüssel-2"),
        bearer(""),
        bearer(KEY + "x"),
        {"Authorization": "Basic schl"},
        {"Authorization": "schl"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/classify"), ("POST", "/v1/explain"), ("GET", "/healthz"), ("GET", "/no")],
)
def test_without_the_key_nothing_is_visible(
    locked: str, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(locked, method, path, BODY if method == "POST" else None, headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Bearer" in answer.json["hint"]


def test_with_the_key_everything_is_visible(locked: str) -> None:
    assert ask(locked, "POST", "/v1/classify", BODY, bearer(KEY)).status == 200
    assert ask(locked, "GET", "/healthz", None, bearer(KEY)).status == 200
    lower = {"Authorization": bearer(KEY)["Authorization"].replace("Bearer", "bearer")}
    assert ask(locked, "GET", "/healthz", None, lower).status == 200


def test_liveness_and_documentation_need_no_key(locked: str) -> None:
    for path in ("/livez", "/openapi.json", "/docs"):
        assert ask(locked, "GET", path).status == 200


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    app = create_app(
        classifier(), max_body_bytes=2000, allowed_hosts=["127.0.0.1", "localhost", "::1"]
    )
    with serving(app) as url:
        yield url


def body_of(size: int) -> bytes:
    empty = b'{"rows": ["%b"]}'
    return empty % (b"x" * (size - len(empty) + 2))


def test_a_body_at_the_limit_passes_and_one_above_is_413(small: str) -> None:
    assert ask(small, "POST", "/v1/classify", body_of(2000)).status == 200
    answer = ask(small, "POST", "/v1/classify", body_of(2001))
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert "2,000 bytes" in answer.json["detail"]


def test_a_body_without_a_length_is_counted_as_it_comes(small: str) -> None:
    body = body_of(2001)
    answer = ask(small, "POST", "/v1/classify", iter([body[:1500], body[1500:]]))
    assert answer.status == 413
    assert "2,000 bytes" in answer.json["detail"]
    fits = body_of(2000)
    assert ask(small, "POST", "/v1/classify", iter([fits[:1500], fits[1500:]])).status == 200


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_web_form_cannot_post(small: str, media: str) -> None:
    answer = ask(small, "POST", "/v1/classify", BODY, {"Content-Type": media})
    assert answer.status == 415
    assert "application/json" in answer.json["hint"]


def test_json_with_a_charset_is_json(small: str) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert ask(small, "POST", "/v1/classify", BODY, headers).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused(small: str, host: str) -> None:
    answer = ask(small, "POST", "/v1/classify", BODY, {"Host": host})
    assert answer.status == 400
    assert "host" in answer.json["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "[::1]:8080", "127.0.0.1:9"])
def test_loopback_names_are_served(small: str, host: str) -> None:
    assert ask(small, "POST", "/v1/classify", BODY, {"Host": host}).status == 200
