from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scripted import ScriptedEngine, classifier
from serving import ask, serving

from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import create_app

TEXTS = ["it works", "broke at once", "fine, fits well"]


@pytest.fixture(scope="module")
def clf() -> FewShotClassifier:
    return classifier()


@pytest.fixture(scope="module")
def url(clf: FewShotClassifier) -> Iterator[str]:
    with serving(create_app(clf)) as url:
        yield url


def is_problem(answer: Any, status: int, *words: str) -> dict[str, Any]:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json
    assert {"type", "title", "status", "detail", "hint"} <= told.keys()
    assert told["status"] == status
    for word in words:
        assert word in told["detail"] + told["hint"]
    return told


# -- answers ---------------------------------------------------------------------------------


def test_classify_gives_what_the_classifier_gives(url: str, clf: FewShotClassifier) -> None:
    answer = ask(url, "POST", "/v1/classify", {"rows": TEXTS, "ids": ["a", "b", "c"]})
    assert answer.status == 200
    expected = clf.classify(TEXTS, ["a", "b", "c"])
    assert answer.json["labels"] == list(clf.pipeline_.space.names)
    for got, want in zip(answer.json["predictions"], expected, strict=True):
        assert got["id"] == want.id
        assert got["label"] == want.label
        assert got["status"] == "ok"
        assert got["probabilities"] == dict(want.probabilities)
        assert got["confidence"] == want.confidence
        assert got["suggestion"] == want.suggestion == want.label
        assert got["label_mass"] == want.label_mass
        assert got["demonstration_ids"] == list(want.demonstration_ids)
        assert got["template"] == str(want.template)
        assert got["engine"] == "scripted-1"
        assert got["pool_version"] == 1
        assert got["prompt_tokens"] == want.prompt_tokens > 0
        assert got["explanation"] is None


@pytest.mark.parametrize("field", ["text", "Review"])
def test_objects_may_use_any_name_the_card_knows(url: str, field: str) -> None:
    rows = [{field: TEXTS[0], "price": 9.5}]
    answer = ask(url, "POST", "/v1/classify", {"rows": rows})
    plain = ask(url, "POST", "/v1/classify", {"rows": TEXTS[:1]})
    assert answer.json == plain.json
    assert answer.json["predictions"][0]["id"] == "0"


def test_a_bad_row_is_one_row(url: str) -> None:
    rows = [
        {"text": "fine"},
        {"text": ""},
        {"text": None},
        {"other": 1},
        {"text": "nul \0 here"},
        {"text": "x" * 100_001},
        {"text": "fine"},
    ]
    found = ask(url, "POST", "/v1/classify", {"rows": rows}).json["predictions"]
    assert [p["status"] for p in found] == ["ok", *["failed"] * 5, "ok"]
    assert [p["id"] for p in found] == list("0123456")
    assert found[0]["probabilities"] == found[6]["probabilities"]
    for p, words in zip(found[1:6], ["empty", "empty", "empty", "NUL", "100,001"], strict=True):
        assert words in p["error"]
        assert p["label"] is None
        assert p["probabilities"] == {}


def test_explain_has_every_step(url: str, clf: FewShotClassifier) -> None:
    answer = ask(url, "POST", "/v1/explain", {"row": TEXTS[0], "id": "r7"}).json
    wanted = clf.explain(TEXTS[0])
    assert answer["prediction"]["id"] == "r7"
    told = answer["prediction"]["explanation"]
    assert wanted.state.prompt is not None
    assert told["prompt"]["text"] == wanted.state.prompt.text
    assert told["language"] == "en"
    assert [d["id"] for d in told["demonstrations"]] == answer["prediction"]["demonstration_ids"]
    assert [d["fields"]["text"] for d in told["demonstrations"]] == [
        d.example.fields["text"] for d in wanted.state.demonstrations
    ]
    classified = ask(url, "POST", "/v1/classify", {"rows": TEXTS[:1], "explain": True}).json
    assert classified["predictions"][0]["explanation"] == told


def test_health_says_what_is_served(url: str) -> None:
    told = ask(url, "GET", "/healthz").json
    assert told["status"] == "ok"
    assert told["task"] == "review_sentiment"
    assert told["labels"] == ["positive", "negative"]
    assert told["engine"] == "scripted"
    assert told["pool"] == {"size": 12, "version": 1}
    assert told["max_rows"] == 256
    assert ask(url, "GET", "/livez").json == {"status": "ok"}


def test_a_new_fit_is_served_at_once() -> None:
    clf = classifier()
    with serving(create_app(clf)) as url:
        before = ask(url, "POST", "/v1/classify", {"rows": TEXTS}).json
        clf.fit(["so so", "great", "awful"], ["neutral", "positive", "negative"])
        after = ask(url, "POST", "/v1/classify", {"rows": TEXTS}).json
        pool = ask(url, "GET", "/healthz").json["pool"]
    assert before["labels"] == ["positive", "negative"]
    assert after["labels"] == ["positive", "negative", "neutral"]
    assert set(after["predictions"][0]["probabilities"]) == set(after["labels"])
    assert pool["size"] == 3


def test_fifty_callers_at_once_each_get_their_own_answer() -> None:
    engine = ScriptedEngine(batch=8)
    clf = classifier(engine)
    texts = [f"thing number {i}" for i in range(50)]
    with serving(create_app(clf)) as url, ThreadPoolExecutor(50) as callers:

        def one(i: int) -> Any:
            return ask(url, "POST", "/v1/classify", {"rows": [texts[i]], "ids": [f"id{i}"]}).json

        found = [p for answer in callers.map(one, range(50)) for p in answer["predictions"]]
    sizes = list(engine.calls)
    assert [p["id"] for p in found] == [f"id{i}" for i in range(50)]
    assert sum(sizes) == 50
    assert max(sizes) <= 8
    alone = clf.classify(texts)
    assert [p["probabilities"] for p in found] == [dict(p.probabilities) for p in alone]


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["rows", "required"]),
        ({"rows": []}, ["rows", "at least 1"]),
        ({"rows": ["x"] * 257}, ["rows", "256"]),
        ({"rows": "one text"}, ["rows", "list"]),
        ({"rows": [7]}, ["rows[0]", "dictionary", "string"]),
        ({"rows": ["a", {"text": "b"}]}, ["rows[1]", "object", "all"]),
        ({"rows": [{"text": "b"}, "a"]}, ["rows[1]", "text", "all"]),
        ({"rows": ["a", "b"], "ids": ["1"]}, ["2 rows but 1 ids"]),
        ({"rows": ["a"], "ids": [1]}, ["ids[0]", "string"]),
        ({"rows": ["a"], "explain": "perhaps"}, ["explain", "boolean"]),
        ({"rows": ["a"], "explan": True}, ["explan", "not permitted"]),
        ({"rows": [{"tex": "a"}]}, ["no column 'text'", "did you mean 'tex'"]),
        ([], ["body"]),
        ("text", ["body"]),
    ],
)
def test_bad_classify_bodies_are_errors_with_a_hint(url: str, body: Any, words: list[str]) -> None:
    told = is_problem(ask(url, "POST", "/v1/classify", json.dumps(body).encode()), 422, *words)
    assert told["type"].startswith("urn:ecomfs:error:")
    assert told["hint"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["row", "required"]),
        ({"row": 3}, ["row"]),
        ({"rows": ["x"]}, ["row"]),
        ({"row": {"colour": "red"}}, ["no column 'text'"]),
        ({"row": "x", "id": None}, ["id"]),
    ],
)
def test_bad_explain_bodies_are_reported(url: str, body: Any, words: list[str]) -> None:
    is_problem(ask(url, "POST", "/v1/explain", body), 422, *words)


def test_the_errors_do_not_repeat_the_row(url: str) -> None:
    secret = "my card number is 4111 1111"
    answer = ask(url, "POST", "/v1/classify", {"rows": [[secret]]})
    assert answer.status == 422
    assert b"4111 1111" not in answer.body


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"rows": ["a"]', b"[" * 100_000])
def test_bodies_that_are_not_json(url: str, body: bytes) -> None:
    answer = ask(url, "POST", "/v1/classify", body)
    is_problem(answer, answer.status)
    assert answer.status in (400, 422)


def test_half_a_character_is_the_callers_error(url: str) -> None:
    rows = b'{"rows": [{"text": "a \\ud83d"}, {"text": ["\\udc00"]}, {"text": "\\ud83d\\ude00"}]}'
    found = ask(url, "POST", "/v1/classify", rows).json["predictions"]
    assert [p["status"] for p in found] == ["failed", "failed", "ok"]
    assert "surrogate" in found[0]["error"]
    ids = b'{"rows": ["a", "b"], "ids": ["1", "\\ud83d"]}'
    is_problem(ask(url, "POST", "/v1/classify", ids), 422, "ids[1]", "surrogate")
    names = b'{"rows": [{"\\ud83d": "a"}]}'
    is_problem(ask(url, "POST", "/v1/classify", names), 422, "rows[0]", "surrogate")


def test_unknown_paths_and_methods_are_problems(url: str) -> None:
    is_problem(ask(url, "GET", "/v1/predict"), 404, "/v1/predict", "/v1/classify")
    is_problem(ask(url, "GET", "/v1/classify"), 405)
    is_problem(ask(url, "POST", "/healthz", {}), 405)


def test_texts_for_a_task_of_several_fields(tmp_path: Any) -> None:
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "task.yaml").write_text(
        "name: pair\ntitle: {en: Pair, zh: 对}\ndescription: {en: d, zh: d}\n"
        "fields:\n  - {name: query, title: {en: Query, zh: 查询}}\n"
        "  - {name: product, title: {en: Product, zh: 商品}}\n"
        "label_title: {en: Match, zh: 匹配}\nlabel_space: open\ninstruction: {en: Go., zh: 走。}\n",
        encoding="utf-8",
    )
    template = (
        "{{ instruction }}\n{% for d in demonstrations %}\n{{ d.text }}\nMatch: {{ d.answer }}\n"
        "{% endfor %}\n{{ text }}\nMatch:"
    )
    for language in ("en", "zh"):
        (tmp_path / "pair" / f"{language}.v1.jinja").write_text(template, encoding="utf-8")
    clf = FewShotClassifier(tmp_path / "pair", ScriptedEngine(), embedder="hashed")
    clf.fit([{"query": "a", "product": "b"}, {"query": "c", "product": "d"}], ["yes", "no"])
    with serving(create_app(clf)) as url:
        ok = ask(url, "POST", "/v1/classify", {"rows": [{"query": "a", "product": "x"}]})
        assert ok.json["predictions"][0]["status"] == "ok"
        bad = ask(url, "POST", "/v1/classify", {"rows": ["a"]})
        is_problem(bad, 422, "query, product", "objects")


# -- failures inside -------------------------------------------------------------------------


def test_an_engine_that_is_gone_is_503_with_retry_after() -> None:
    with serving(create_app(classifier(ScriptedEngine(gone=True)))) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": TEXTS})
    told = is_problem(answer, 503)
    assert told["type"] == "urn:ecomfs:error:engine-unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert b"10.1.2.3" not in answer.body


def test_an_internal_error_is_500_and_reveals_no_internals() -> None:
    engine = ScriptedEngine(breaks_on="dynamite")
    with serving(create_app(classifier(engine))) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": ["dynamite"]})
        is_problem(answer, 500)
        assert b"secret" not in answer.body
        assert b"Zero" not in answer.body
        assert ask(url, "POST", "/v1/classify", {"rows": TEXTS}).status == 200


def test_one_prompt_the_engine_cannot_read_is_one_failed_row() -> None:
    engine = ScriptedEngine(fails_on="unreadable")
    with serving(create_app(classifier(engine))) as url:
        rows = ["fine", "unreadable", "fine"]
        found = ask(url, "POST", "/v1/classify", {"rows": rows}).json["predictions"]
    assert [p["status"] for p in found] == ["ok", "failed", "ok"]
    assert "no answer for this prompt" in found[1]["error"]


def test_an_invalid_answer_has_the_status_invalid() -> None:
    engine = ScriptedEngine(logprobs=False, answer=" banana")
    with serving(create_app(classifier(engine))) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": ["fine"], "explain": True}).json
    [found] = answer["predictions"]
    assert found["status"] == "invalid"
    assert "banana" in found["error"]
    assert found["explanation"]["raw"] == " banana"
    assert found["confidence"] is None


def test_a_classifier_without_examples_is_refused() -> None:
    with pytest.raises(ConfigError, match="call fit first"):
        create_app(FewShotClassifier("review_sentiment", ScriptedEngine()))


# -- documentation ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "a key"])
def test_openapi_is_valid_and_its_examples_work(key: str | None) -> None:
    app = create_app(classifier(), api_key=key)
    spec = app.openapi()
    validator = pytest.importorskip("openapi_spec_validator")
    validator.OpenAPIV31SpecValidator(spec).validate()
    headers = {"Authorization": f"Bearer {key}"} if key else None
    with serving(app) as url:
        assert ask(url, "GET", "/openapi.json").json == spec
        tried = 0
        for path in ("/v1/classify", "/v1/explain"):
            operation = spec["paths"][path]["post"]
            assert bool(operation.get("security")) == bool(key)
            content = operation["requestBody"]["content"]["application/json"]
            for example in content["examples"].values():
                assert ask(url, "POST", path, example["value"], headers).status == 200
                tried += 1
            for code in ("413", "422", "503"):
                assert "application/problem+json" in operation["responses"][code]["content"]
        assert tried == 3
