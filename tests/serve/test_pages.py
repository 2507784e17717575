"""The pages without a browser: their content in both languages, and refused requests."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from html import unescape
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from scripted import ScriptedEngine, classifier, examples
from serving import Answer, ask, serving

from ecomfs.estimators import FewShotClassifier, classifier_of
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.serve.keys import ApiKey, Keys, digest_of
from ecomfs.serve.middleware import COOKIE
from ecomfs.serve.pages.translations import WORDS
from ecomfs.types import Example

PAGES = ["/", "/try", "/review", "/examples", "/runs", "/ab"]
TASK = "review_sentiment"


def fitted(pool: Pool) -> FewShotClassifier:
    options: dict[str, Any] = {"k": 4, "embedder": "hashed", "language": "en"}
    return FewShotClassifier(TASK, ScriptedEngine(), calibration_size=6, **options).fit(pool)


@pytest.fixture
def pool() -> Iterator[Pool]:
    texts, labels = examples()
    pairs = enumerate(zip(texts, labels, strict=True))
    rows = [Example(f"e {i}", {"text": t}, label) for i, (t, label) in pairs]
    with Pool.in_memory(rows) as opened:
        yield opened


@pytest.fixture
def url(pool: Pool) -> Iterator[str]:
    with serving(create_app({TASK: fitted(pool), "other": classifier()})) as url:
        yield url


def get(url: str, path: str, **headers: str) -> str:
    answer = ask(url, "GET", path, None, headers)
    assert answer.status == 200, answer.body.decode()
    return answer.body.decode()


def send(url: str, path: str, headers: dict[str, str] | None = None, **form: str) -> Answer:
    sent = {"Content-Type": "application/x-www-form-urlencoded", "HX-Request": "true"}
    body = urlencode({"task": TASK} | {k.replace("__", "."): v for k, v in form.items()})
    return ask(url, "POST", path, body.encode(), sent | (headers or {}))


def test_each_page_is_whole_in_both_languages(url: str) -> None:
    for path in PAGES:
        for language in ("en", "zh"):
            page = get(url, f"{path}?lang={language}")
            assert f'<html lang="{language}">' in page
            assert page.count("<h1>") == 1
            assert "https://" not in page
            assert "http://" not in page
            assert "style=" not in page  # the policy of the page forbids it
    assert "试一试" in get(url, "/try", **{"Accept-Language": "zh-CN,zh;q=0.9"})


def test_every_text_is_there_in_both_languages_and_is_used() -> None:
    from ecomfs.serve.pages.render import HERE

    source = "".join(f.read_text() for f in (HERE / "templates").glob("*.html"))
    for key, (en, zh) in WORDS.items():
        assert en
        assert zh
        assert set(re.findall(r"{\w+}", en)) == set(re.findall(r"{\w+}", zh)), key
        assert (
            f'"{key}"' in source or f"'{key}'" in source or key.startswith(("action_", "state_"))
        ), key


def test_try_a_row_and_send_it_to_review(url: str) -> None:
    page = send(url, "/try", f__text="review 1: it broke <b>at once</b>").body.decode()
    assert "review 1: it broke at once" in unescape(page)  # a demonstration
    assert "<b>at once</b>" not in page  # a row's text is never HTML
    assert "Sentiment:" in page  # the prompt
    assert "linear" in page or "vote" in page.casefold()  # what each expert says
    queued = send(url, "/try/review", f__text="so so").body.decode()
    assert "Queued for review" in queued
    assert "so so" in get(url, "/review")


def test_decide_shows_the_new_predictions_and_undo_restores(url: str, pool: Pool) -> None:
    send(url, "/try/review", f__text="canary so so")
    send(url, "/try/review", f__text="canary so so indeed")
    page = get(url, "/review")
    found = re.search(r'data-review="([0-9a-f]{32})"', page)
    assert found
    before = pool.version
    path = f"/review/{found[1]}"
    done = send(url, f"{path}/decide", label="negative", version="1", reviewer="文").body.decode()
    assert "Labelled negative" in done
    assert "this row" in done
    assert done.count("<tr data-row=") == 2
    assert pool.version == before + 1
    stale = send(url, f"{path}/decide", label="negative", version="1")
    assert stale.status == 409
    assert "decided already: &#39;negative&#39;, by 文" in stale.body.decode()
    undone = send(url, f"{path}/undo", version="2").body.decode()
    assert "Undone" in undone
    assert pool.version == before + 2
    log = get(url, f"/review/done?task={TASK}")
    assert "文" in log
    assert send(url, f"{path}/skip").status == 200
    assert send(url, f"{path}/nonsense").status == 404


def test_examples_are_searched_relabelled_and_retired(url: str, pool: Pool) -> None:
    page = get(url, f"/examples?task={TASK}&q=review+3%3A")
    assert page.count("<tr id=") == 1
    change = {"id": "e 3", "version": "1"}
    row = send(url, "/examples/change", action="relabel", label="positive", **change).body.decode()
    assert "Relabelled" in row
    assert pool.history("e 3")[-1].example.label == "positive"
    stale = send(url, "/examples/change", action="retire", **change)
    assert stale.status == 409
    assert send(url, "/examples/change", action="retire", id="e 3", version="2").status == 200
    assert "e 3" not in {e.id for e in pool.examples()}
    new = send(url, "/examples/add", f__text="review 4: it works very well!", label="negative")
    assert "Added" in new.body.decode()
    quality = get(url, f"/examples/quality?task={TASK}")
    assert "negative: review 4" in quality  # the same text to a reader, another label
    assert "versions 1 to 1" in get(url, f"/examples/history?task={TASK}&id=e+3")


def test_a_page_of_another_site_can_send_nothing(url: str) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        answer = send(url, "/try/review", headers, f__text="so so")
        assert answer.status == 403
    assert send(url, "/try/review", {"Origin": url}, f__text="so so").status == 200
    answer = send(url, "/try", {"Content-Type": "text/plain"}, f__text="x")
    assert answer.status == 415


def test_an_unknown_task_and_an_empty_form_say_so(url: str) -> None:
    answer = ask(url, "GET", "/review?task=nope")
    assert answer.status == 404
    assert "this service has no task" in unescape(answer.body.decode())
    assert send(url, "/try", task="nope", f__text="x").status == 404
    assert send(url, "/try").status == 422


def test_characters_that_a_database_refuses_do_not_reach_it(url: str) -> None:
    send(url, "/try/review", f__text="so so")
    found = re.search(r'data-review="([0-9a-f]{32})"', get(url, "/review"))
    assert found
    decide = f"/review/{found[1]}/decide"
    for form in ({"reviewer": "w\0n"}, {"reviewer": "a\nb"}, {"label": "posi\0tive"}):
        assert send(url, decide, **{"label": "positive", **form}).status == 422, form
    assert send(url, "/review/%00/decide", label="positive").status == 422
    assert send(url, "/examples/add", f__text="so so", label="posi\0tive").status == 422
    changed = {"version": "1", "action": "retire", "id": "a\0"}
    assert send(url, "/examples/change", **changed).status == 422
    assert ask(url, "GET", "/runs/..%2f%00").status in (404, 422)
    assert ask(url, "GET", "/examples/history?id=%00").status == 422


def test_a_label_that_the_task_does_not_have_is_shown_as_it_is(url: str, pool: Pool) -> None:
    pool.relabel("e 3", "postive")
    page = get(url, f"/examples?task={TASK}&q=review+3%3A")
    assert re.findall(r"<option selected>([^<]*)<", page) == [TASK, "postive"]


def test_a_row_may_get_several_labels() -> None:
    rows = {"a": "quality_good", "b": "quality_bad|service_bad", "c": "service_bad"}
    with Pool.in_memory([Example(i, {"text": i}, label) for i, label in rows.items()]) as several:
        clf = classifier_of("review_aspects", engine=None, embedder="hashed").fit(several)
        with serving(create_app({TASK: clf})) as url:
            page = get(url, "/examples")
            assert 'value="quality_bad|service_bad"' in page
            send(url, "/try/review", f__text="so so")
            desk = get(url, "/review")
            assert re.search(r'<input name="label" value="[^"]*" required id="other">', desk)
            [found] = set(re.findall(r'data-review="([0-9a-f]{32})"', desk))
            send(url, f"/review/{found}/decide", label="service_bad|quality_bad")
            assert several.history(f"review-{found}")[0].example.label == "quality_bad|service_bad"
            assert '<input name="label" value="" required id="second-label">' in get(url, "/review")


# -- signing in ------------------------------------------------------------------------------------


@pytest.fixture
def locked(pool: Pool) -> Iterator[str]:
    keys = [ApiKey("wen", digest_of("wen-key"), frozenset(["label"]), frozenset([TASK]))]
    app = create_app({TASK: fitted(pool), "other": classifier()}, api_key="root", keys=keys)
    with serving(app) as url:
        yield url


def session(url: str, key: str) -> Answer:
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": url}
    return ask(url, "POST", "/login", urlencode({"key": key, "next": "/review"}).encode(), sent)


def test_a_browser_signs_in_with_a_key(locked: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(locked).netloc)
    connection.request("GET", "/review", headers={"Accept": "text/html"})
    sent_away = connection.getresponse()
    assert (sent_away.status, sent_away.getheader("location")) == (303, "/login?next=/review")
    connection.close()
    wrong = session(locked, "guess")
    assert wrong.status == 401
    assert "not valid" in wrong.body.decode()
    done = session(locked, "wen-key")
    assert (done.status, done.headers["location"]) == (303, "/review")
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.casefold()
    assert "wen-key" not in cookie
    mine = {"Cookie": cookie.partition(";")[0]}
    page = get(locked, "/review", **mine)
    assert "Sign out" in page
    assert "Your name" not in page  # the key has one
    assert "other" not in re.findall(r"<option[^>]*>(\w+)", page)  # another tenant's task
    assert ask(locked, "GET", "/review?task=other", None, mine).status == 404
    form = mine | {"Origin": locked}
    assert send(locked, "/try/review", form, f__text="so so").status == 200
    assert send(locked, "/try/review", mine | {"Origin": "http://evil"}, f__text="x").status == 403
    forged = {"Cookie": mine["Cookie"][:-2] + "xx"}
    assert ask(locked, "GET", "/review", None, forged).status == 401


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil.example", "//["]
)
def test_signing_in_leads_to_no_other_site(locked: str, path: str) -> None:
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"key": "root", "next": path}).encode()
    assert ask(locked, "POST", "/login", body, sent).headers["location"] == "/"


def test_a_session_is_not_made_from_the_hash_of_a_key(locked: str) -> None:
    # The hash stands in ecomfs.yaml, which is often kept in version control.
    forger = Keys([ApiKey("wen", digest_of("wen-key"), frozenset(["admin"]))], secret="")
    for cookie in (forger.session("wen"), Keys(forger.keys).session("wen")):
        answer = ask(locked, "GET", "/review", None, {"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status == 401


def test_a_session_outlives_a_restart_but_not_its_key(pool: Pool) -> None:
    def service(key: str) -> AbstractContextManager[str]:
        keys = [ApiKey("wen", digest_of(key), frozenset(["label"]))]
        return serving(create_app({TASK: fitted(pool)}, keys=keys))

    with service("wen-key") as url:
        mine = {"Cookie": session(url, "wen-key").headers["set-cookie"].partition(";")[0]}
    with service("wen-key") as url:
        assert ask(url, "GET", "/review", None, mine).status == 200
    with service("new-key") as url:
        assert ask(url, "GET", "/review", None, mine).status == 401
