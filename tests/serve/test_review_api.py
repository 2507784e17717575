"""Reviews and examples over HTTP: change a label, and the next prediction changes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine, classifier, examples
from serving import Answer, ask, serving

from ecomfs.estimators import FewShotClassifier, classifier_of
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.serve.keys import ApiKey, new_key
from ecomfs.types import Example

CANARY = "canary-5f1c so so"


def fitted(pool: Pool, task: str = "review_sentiment", **options: Any) -> FewShotClassifier:
    options = {"k": 4, "embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    return FewShotClassifier(task, ScriptedEngine(), **options).fit(pool)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    texts, labels = examples()
    with Pool.open(tmp_path / "pool.db") as opened:
        pairs = zip(texts, labels, strict=True)
        opened.add([Example(f"e{i}", {"text": t}, label) for i, (t, label) in enumerate(pairs)])
        yield opened


@pytest.fixture
def url(pool: Pool) -> Iterator[str]:
    with serving(create_app(fitted(pool), review_below=0.999)) as url:
        yield url


def post(url: str, path: str, body: Any, **headers: str) -> Answer:
    return ask(url, "POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})


def queue(url: str, text: str = CANARY) -> dict[str, Any]:
    answer = post(url, "/v1/reviews", {"rows": [text], "ids": ["r1"]})
    assert answer.status == 200, answer.body
    review: dict[str, Any] = answer.json["reviews"][0]
    return review


def logged(caplog: pytest.LogCaptureFixture, request_id: str) -> dict[str, Any]:
    """The log line of a request. It is written after the answer is sent, so the client may be
    faster.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for record in list(caplog.records):
            if record.name == "ecomfs.serve.requests":
                line: dict[str, Any] = json.loads(record.getMessage())
                if line["request_id"] == request_id:
                    return line
        time.sleep(0.01)
    raise AssertionError(f"no log line of request {request_id}")


# -- the loop ------------------------------------------------------------------------------------


def test_a_decision_is_in_the_next_prompt_and_undo_takes_it_out(url: str) -> None:
    review = queue(url)
    queue(url, "canary-5f1c so so indeed")
    assert review["row"] == {"text": CANARY}
    path = f"/v1/reviews/{review['id']}"
    done = post(url, f"{path}/decide", {"label": "NEG", "version": 1, "reviewer": "文"}).json
    assert (done["review"]["state"], done["review"]["label"]) == ("decided", "negative")
    assert done["review"]["reviewer"] == "文"
    mine, other = done["predictions"]
    assert mine["similarity"] == 1
    assert review["example_id"] in mine["after"]["demonstration_ids"]
    assert other["row"] == {"text": "canary-5f1c so so indeed"}
    assert 0.5 < other["similarity"] < 1
    assert review["example_id"] in other["after"]["demonstration_ids"]
    assert other["before"] != other["after"]["probabilities"]
    explained = post(url, "/v1/explain", {"row": CANARY}).json["prediction"]
    shown = {d["id"]: d["label"] for d in explained["explanation"]["demonstrations"]}
    assert shown[review["example_id"]] == "negative"
    undone = post(url, f"{path}/undo", {"version": 2}).json
    assert undone["review"]["state"] == "open"
    assert undone["predictions"][0]["after"]["probabilities"] == review["probabilities"]
    history = ask(url, "GET", path).json
    assert [d["action"] for d in history["log"]] == ["undo", "decide"]


def test_an_unsure_prediction_is_queued_and_the_uncertain_are_early(url: str) -> None:
    rows = [f"thing {i}" for i in range(6)]
    found = post(url, "/v1/classify", {"rows": rows, "ids": list("abcdef")}).json["predictions"]
    queued = ask(url, "GET", "/v1/reviews").json
    assert queued["open"] == sum(p["confidence"] < 0.999 for p in found) > 0
    # The first one is also chosen by the rows that it represents.
    _, *doubts = [r["uncertainty"] for r in queued["reviews"]]
    assert doubts == sorted(doubts, reverse=True)
    assert {r["row_id"] for r in queued["reviews"]} <= set("abcdef")
    assert {r["source"] for r in queued["reviews"]} == {"classify"}


def test_examples_are_listed_searched_added_relabelled_and_retired(url: str) -> None:
    found = ask(url, "GET", "/v1/examples?limit=5&label=positive&q=REVIEW%202").json
    assert (found["total"], found["version"]) == (1, 1)
    assert found["labels"] == {"negative": 6, "positive": 6}
    new = {"row": {"Review": "quite another thing"}, "label": "pos", "id": "n1"}
    assert post(url, "/v1/examples", {"examples": [new]}).json == {"version": 2, "ids": ["n1"]}
    explained = post(url, "/v1/explain", {"row": "quite another thing"}).json["prediction"]
    assert "n1" in explained["demonstration_ids"]
    assert post(url, "/v1/examples", {"examples": [new]}).status == 409
    moved = {"id": "n1", "label": "negative", "version": 2, "note": "misread"}
    assert post(url, "/v1/examples/relabel", moved).json["version"] == 3
    stale = post(url, "/v1/examples/relabel", moved | {"label": "positive"})
    assert stale.status == 409
    assert "changed in version 3" in stale.json["detail"]
    assert post(url, "/v1/examples/retire", {"ids": ["n1"], "version": 3}).json["version"] == 4
    assert post(url, "/v1/examples/retire", {"ids": ["n1"]}).status == 404
    states = ask(url, "GET", "/v1/examples/history?id=n1").json["states"]
    assert [(s["label"], s["added_in"], s["retired_in"]) for s in states] == [
        ("positive", 2, 3),
        ("negative", 3, 4),
    ]
    assert states[1]["note"] == "misread"
    versions = ask(url, "GET", "/v1/examples/versions?limit=2").json["versions"]
    assert [(v["version"], v["action"]) for v in versions] == [(4, "retire"), (3, "relabel")]


def test_two_people_over_http(url: str) -> None:
    review = queue(url)
    path = f"/v1/reviews/{review['id']}"
    post(url, f"{path}/decide", {"label": "negative", "reviewer": "wen"})
    assert post(url, f"{path}/second", {"label": "positive", "reviewer": "wen"}).status == 409
    assert post(url, f"{path}/second", {"label": "positive", "reviewer": "ana"}).status == 200
    found = ask(url, "GET", "/v1/reviews/agreement").json
    assert (found["rows"], found["same"], found["kappa"]) == (1, 0, 0.0)
    assert [r["id"] for r in found["conflicts"]] == [review["id"]]
    log = ask(url, "GET", "/v1/reviews/log").json["decisions"]
    assert [(d["action"], d["reviewer"]) for d in log] == [("second", "ana"), ("decide", "wen")]


# -- bad input: a clear answer each, nothing lost --------------------------------------------------


def problem(answer: Answer, status: int, *words: str) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    for word in words:
        assert word in answer.json["detail"] + answer.json["hint"]


def test_a_decision_twice_and_a_stale_page_are_conflicts(url: str) -> None:
    review = queue(url)
    path = f"/v1/reviews/{review['id']}/decide"
    assert post(url, path, {"label": "negative", "version": 1}).status == 200
    problem(post(url, path, {"label": "positive", "version": 2}), 409, "decided already", "undo")
    assert post(url, path.replace("decide", "undo"), {"version": 2}).status == 200
    problem(post(url, path, {"label": "positive", "version": 1}), 409, "at version 3", "again")
    problem(post(url, path.replace("decide", "undo"), {}), 409, "not decided")


def test_unknown_labels_tasks_and_ids_are_refused(url: str) -> None:
    review = queue(url)
    path = f"/v1/reviews/{review['id']}/decide"
    problem(post(url, path, {"label": "postive"}), 422, "did you mean 'positive'")
    problem(post(url, path, {"label": " "}), 422, "empty")
    problem(post(url, path, {"label": "x", "task": "nope"}), 404, "no task 'nope'")
    problem(post(url, f"/v1/reviews/{'0' * 32}/skip", {}), 404, "no review")
    problem(post(url, "/v1/reviews/../x/skip", {}), 404)
    problem(post(url, "/v1/examples/relabel", {"id": "zz", "label": "positive"}), 404, "'zz'")
    problem(post(url, "/v1/examples/relabel", {"id": "a\0", "label": "positive"}), 422, "NUL")
    problem(ask(url, "GET", "/v1/examples/history?id=zz"), 404, "never had")
    empty = {"examples": [{"row": {"text": ""}, "label": "positive"}]}
    problem(post(url, "/v1/examples", empty), 422, "examples[0]", "empty")
    assert ask(url, "GET", "/v1/examples").json["version"] == 1


def test_a_request_sent_again_changes_nothing_twice(url: str) -> None:
    review = queue(url)
    path = f"/v1/reviews/{review['id']}/decide"
    first = post(url, path, {"label": "negative"}, Idempotency_Key="k1")
    again = post(url, path, {"label": "negative"}, Idempotency_Key="k1")
    assert first.status == again.status == 200
    assert first.json["review"] == again.json["review"]
    problem(post(url, path, {"label": "positive"}, Idempotency_Key="k1"), 422, "another request")
    problem(post(url, path, {"label": "positive"}, Idempotency_Key="k2"), 409)
    new = {"examples": [{"row": "once more", "label": "positive", "id": "n"}]}
    one = post(url, "/v1/examples", new, Idempotency_Key="k3")
    assert one.json == post(url, "/v1/examples", new, Idempotency_Key="k3").json


def test_a_database_that_goes_away_and_comes_back(url: str, pool: Pool, tmp_path: Path) -> None:
    review = queue(url)
    file = tmp_path / "pool.db"
    names = [file.with_name(file.name + end) for end in ("", "-wal", "-shm")]
    kept = [(f, f.with_name("away-" + f.name)) for f in names if f.exists()]
    for here, away in kept:
        here.rename(away)
    path = f"/v1/reviews/{review['id']}/decide"
    answer = post(url, path, {"label": "negative"})
    problem(answer, 503, "nothing was stored")
    assert str(tmp_path) not in answer.body.decode()
    assert answer.headers["retry-after"]
    assert ask(url, "GET", "/readyz").status == 503
    assert post(url, "/v1/classify", {"rows": ["fine"]}).status in (200, 503)
    for here, away in kept:
        away.rename(here)
    assert ask(url, "GET", "/readyz").status == 200
    assert post(url, path, {"label": "negative"}).status == 200


# -- several tasks, several keys -------------------------------------------------------------------


@pytest.fixture
def two(pool: Pool) -> Iterator[tuple[str, dict[str, str]]]:
    made = {name: new_key() for name in ("shop", "wen", "root", "slow")}
    keys = [
        ApiKey("shop", made["shop"][1], frozenset(["classify"]), frozenset(["reviews"])),
        ApiKey("wen", made["wen"][1], frozenset(["label"]), frozenset(["reviews"])),
        ApiKey("root", made["root"][1], frozenset(["admin"])),
        ApiKey("slow", made["slow"][1], frozenset(["classify"]), None, 2),
    ]
    tasks = {"reviews": fitted(pool), "other": classifier()}
    with serving(create_app(tasks, keys=keys)) as url:
        yield url, {name: f"Bearer {key}" for name, (key, _) in made.items()}


def test_keys_have_scopes_and_tasks_of_their_own(two: tuple[str, dict[str, str]]) -> None:
    url, keys = two

    def classify(who: str, **more: Any) -> Answer:
        return post(url, "/v1/classify", {"rows": ["x"], **more}, Authorization=keys[who])

    assert classify("shop").status == 200
    problem(classify("shop", task="other"), 404, "no task 'other'", "tasks are: reviews")
    problem(classify("root"), 422, "several tasks", "reviews, other")
    assert classify("root", task="other").status == 200
    seen = {
        who: [
            t["name"]
            for t in ask(url, "GET", "/v1/tasks", None, {"Authorization": keys[who]}).json["tasks"]
        ]
        for who in ("shop", "root")
    }
    assert seen == {"shop": ["reviews"], "root": ["reviews", "other"]}
    rows = {"rows": ["so so"]}
    problem(post(url, "/v1/reviews", rows, Authorization=keys["shop"]), 403, "scope 'label'")
    review = post(url, "/v1/reviews", rows, Authorization=keys["wen"]).json["reviews"][0]
    path = f"/v1/reviews/{review['id']}/decide"
    body = {"label": "negative", "reviewer": "somebody else"}
    done = post(url, path, body, Authorization=keys["wen"]).json
    assert done["review"]["reviewer"] == "wen"  # the key's name, whatever the body says
    other = post(url, path, body | {"task": "other"}, Authorization=keys["root"])
    problem(other, 404, "no review")
    problem(post(url, path, body, Authorization="Bearer ecomfs_wrong"), 401)
    problem(ask(url, "GET", "/metrics", None, {"Authorization": keys["wen"]}), 403, "admin")


def test_a_key_may_send_so_many_requests_a_minute(two: tuple[str, dict[str, str]]) -> None:
    url, keys = two
    statuses = [
        ask(url, "GET", "/v1/tasks", None, {"Authorization": keys["slow"]}).status for _ in range(3)
    ]
    assert statuses == [200, 200, 429]
    assert ask(url, "GET", "/v1/tasks", None, {"Authorization": keys["shop"]}).status == 200


# -- what is seen from outside ---------------------------------------------------------------------


def test_metrics_count_what_was_done(url: str) -> None:
    post(url, "/v1/classify", {"rows": ["one", "two", ""]})
    queue(url)
    text = ask(url, "GET", "/metrics").body.decode()
    assert 'ecomfs_predictions_total{label="",status="failed",task="review_sentiment"} 1.0' in text
    assert 'ecomfs_pool_examples{task="review_sentiment"} 12.0' in text
    assert 'ecomfs_request_seconds_count{method="POST",route="/v1/classify",status="200"}' in text
    assert "ecomfs_label_mass_bucket" in text
    assert "ecomfs_label_drift" in text
    assert "canary" not in text


@pytest.mark.parametrize("text", ["so so \ud83d", "so\0so"])
def test_a_row_that_cannot_be_read_is_not_queued(url: str, text: str) -> None:
    answer = post(url, "/v1/reviews", {"rows": ["it works", {"text": text}]})
    assert answer.status == 422, answer.body
    assert "rows[1]" in answer.json["detail"]
    assert ask(url, "GET", "/v1/reviews").json["open"] == 0


def test_logs_have_request_ids_and_no_text_of_rows(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    review = queue(url)
    post(url, f"/v1/reviews/{review['id']}/decide", {"label": "negative"})
    ask(url, "GET", "/v1/examples?q=canary-5f1c")
    answer = post(url, "/v1/classify", {"rows": [CANARY]}, X_Request_Id="mine-1")
    assert answer.headers["x-request-id"] == "mine-1"
    assert logged(caplog, "mine-1") | {"ms": 0, "at": ""} == {
        "at": "",
        "request_id": "mine-1",
        "method": "POST",
        "route": "/v1/classify",
        "status": 200,
        "ms": 0,
        "caller": "local",
    }
    assert "canary" not in caplog.text
    assert (
        len(ask(url, "GET", "/livez", None, {"X-Request-Id": "a b"}).headers["x-request-id"]) == 32
    )


def test_the_reference_needs_no_other_server(url: str) -> None:
    page = ask(url, "GET", "/docs", None, {"Accept-Language": "zh-CN"})
    text = page.body.decode()
    assert "/v1/reviews/{id}/decide" in text
    assert 'lang="zh"' in text
    assert "https://" not in text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert ask(url, "GET", "/static/app.css").status == 200


# -- ranked items, split traffic -------------------------------------------------------------------


def test_items_are_ranked_by_the_probability_of_the_positive_label(url: str) -> None:
    items = [{"id": f"i{n}", "fields": {"text": f"thing {n}"}} for n in range(5)]
    items.append({"id": "empty", "fields": {"text": ""}})
    found = post(url, "/v1/rank", {"user": {}, "items": items}).json
    assert found["positive"] == "positive"
    scores = [place["score"] for place in found["items"][:5]]
    assert scores == sorted(scores, reverse=True)
    assert [place["rank"] for place in found["items"]] == [1, 2, 3, 4, 5, None]
    assert found["items"][5]["status"] == "failed"
    one = post(url, "/v1/classify", {"rows": ["thing 2"]}).json["predictions"][0]
    mine = next(place for place in found["items"] if place["id"] == "i2")
    assert mine["score"] == one["probabilities"]["positive"]
    top = post(url, "/v1/rank", {"user": {}, "items": items[:5], "top": 2, "positive": "neg"}).json
    assert (top["positive"], len(top["items"])) == ("negative", 2)
    problem(post(url, "/v1/rank", {"user": {"txt": 1}, "items": items}), 422, "no field 'txt'")
    problem(post(url, "/v1/rank", {"user": {}, "items": [items[0]] * 2}), 422, "same id")


def test_variants_are_compared_on_rows_that_people_labelled(pool: Pool, tmp_path: Path) -> None:
    from ecomfs.cli.serve import compared
    from ecomfs.serve import SplitService
    from ecomfs.traffic import TrafficLog, TrafficSplit

    fits = {"A": fitted(pool), "B": fitted(pool, k=2)}
    log = TrafficLog(tmp_path / "log.jsonl")
    split = SplitService(fits, TrafficSplit({"A": 1, "B": 1}, 0), log)
    with serving(create_app(split, compare=compared)) as url:
        rows, ids = [f"thing {i}" for i in range(40)], [f"r{i}" for i in range(40)]
        post(url, "/v1/classify", {"rows": rows, "ids": ids})
        early = ask(url, "GET", "/v1/ab").json
        assert (early["decided"], early["labelled"]) == (False, 0)
        assert early["decision"].startswith("No comparison yet")
        assert sum(early["predictions"].values()) == 40
        queued = post(url, "/v1/reviews", {"rows": rows, "ids": ids}).json["reviews"]
        for i, review in enumerate(queued):
            label = "positive" if i % 2 else "negative"
            pool_only = {"label": label, "reviewer": "wen"}
            assert post(url, f"/v1/reviews/{review['id']}/decide", pool_only).status == 200
        found = ask(url, "GET", "/v1/ab").json
        assert (found["decided"], found["labelled"]) == (True, 40)
        assert found["decision"]
        assert set(found["scores"]) == {"A", "B"}
        page = ask(url, "GET", "/ab").body.decode()
        assert "40 rows of the log were labelled" in page
    log.close()
    with serving(create_app(classifier())) as alone:
        problem(ask(alone, "GET", "/v1/ab"), 404, "is not split")


@pytest.mark.parametrize("text", ["", " ", None, ["a", "b"], {"a": 1}])
def test_a_row_that_cannot_be_an_example_is_not_queued(url: str, text: Any) -> None:
    """A decision would add it to the pool, which no classifier could use any more."""
    problem(post(url, "/v1/reviews", {"rows": [{"text": "fine"}, {"text": text}]}), 422, "rows[1]")
    assert ask(url, "GET", "/v1/reviews").json["open"] == 0


def test_a_skip_of_a_stale_page_is_a_conflict(url: str) -> None:
    review = queue(url)
    path = f"/v1/reviews/{review['id']}/skip"
    problem(post(url, path, {"version": 7}), 409, "at version 1")
    assert post(url, path, {"version": 1}).json["review"]["skips"] == 1


def test_two_people_who_choose_the_same_labels_agree_in_any_order() -> None:
    rows = {"a": "quality_good", "b": "quality_bad|service_bad", "c": "service_bad"}
    with Pool.in_memory([Example(i, {"text": i}, label) for i, label in rows.items()]) as several:
        made = classifier_of("review_aspects", engine=None, embedder="hashed").fit(several)
        with serving(create_app(made)) as url:
            review = queue(url)
            path = f"/v1/reviews/{review['id']}"
            body = {"label": "service_bad|quality_bad", "reviewer": "wen"}
            done = post(url, f"{path}/decide", body).json["review"]
            assert done["label"] == "quality_bad|service_bad"
            body = {"label": "quality_bad|service_bad", "reviewer": "ana"}
            post(url, f"{path}/second", body)
            found = ask(url, "GET", "/v1/reviews/agreement").json
            assert (found["rows"], found["same"], found["conflicts"]) == (1, 1, [])


def test_a_decision_is_kept_and_said_to_be_while_the_model_is_away(pool: Pool) -> None:
    engine = ScriptedEngine()
    options: dict[str, Any] = {"k": 4, "embedder": "hashed", "language": "en"}
    clf = FewShotClassifier("review_sentiment", engine, calibration_size=0, **options).fit(pool)
    with serving(create_app(clf)) as url:
        review = queue(url)
        engine.gone = True
        done = post(url, f"/v1/reviews/{review['id']}/decide", {"label": "negative"})
        assert done.status == 200, done.body
        assert done.json["review"]["state"] == "decided"
        assert (done.json["predictions"], "not available" in done.json["unpredicted"]) == ([], True)
        form = f"task=review_sentiment&version={done.json['review']['version']}".encode()
        sent = {"Content-Type": "application/x-www-form-urlencoded", "HX-Request": "true"}
        page = ask(url, "POST", f"/review/{review['id']}/undo", form, sent)
        assert page.status == 200, page.body
        assert b"This is stored" in page.body
    assert len(pool.examples()) == 12
