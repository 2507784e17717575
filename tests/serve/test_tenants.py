"""Tenants of one service: the same task names, and no access to each other's data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine
from serving import Answer, ask, serving

from ecomfs.cli import run as cli
from ecomfs.engine.factory import salted
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.serve.config import read_config
from ecomfs.serve.keys import ApiKey, Keys, digest_of, new_key
from ecomfs.types import Example

TABLE = {"Content-Type": "application/octet-stream"}
EXAMPLES = [
    Example("a", {"text": "fits"}, "positive"),
    Example("b", {"text": "torn"}, "negative"),
]
FINAL = ("done", "failed", "cancelled")


class Tenants:
    """A service of two tenants in one database, and the key of each."""

    def __init__(self, url: str, keys: dict[str, str], folder: Path) -> None:
        self.url, self.keys, self.folder = url, keys, folder

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {self.keys[who]}", **headers}
        return ask(self.url, method, path, body, sent)

    def run(self, who: str) -> str:
        sent = {"Authorization": f"Bearer {self.keys[who]}", **TABLE}
        run = ask(self.url, "POST", "/v1/runs?name=a.csv", b"text\nfits\n", sent).json
        while self.ask(who, "GET", f"/v1/runs/{run['id']}").json["state"] not in FINAL:
            pass
        return str(run["id"])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Tenants]:
    made = {name: new_key() for name in ("north", "south", "operator", "helper")}
    keys = [
        ApiKey("north", made["north"][1], frozenset(["label"]), tenant="north"),
        ApiKey("south", made["south"][1], frozenset(["admin"]), tenant="south"),
        ApiKey("operator", made["operator"][1], frozenset(["admin"])),
        ApiKey("helper", made["helper"][1], frozenset(["admin"]), frozenset(["reviews"])),
    ]
    engine = ScriptedEngine()
    pools = []

    def fitted(tenant: str) -> FewShotClassifier:
        pools.append(Pool.open(tmp_path / "shop.db", f"{tenant}/reviews"))
        pools[-1].add(EXAMPLES)
        options: dict[str, Any] = {"k": 1, "embedder": "hashed", "calibration_size": 0}
        return FewShotClassifier("review_sentiment", engine, **options).fit(pools[-1])

    tenants = {name: {"reviews": fitted(name)} for name in ("north", "south")}
    app = create_app({}, tenants=tenants, keys=keys, runs_folder=tmp_path / "runs")
    with serving(app) as url:
        yield Tenants(url, {name: key for name, (key, _) in made.items()}, tmp_path)
    for pool in pools:
        pool.close()


def test_tenants_share_names_and_see_nothing_of_each_other(service: Tenants) -> None:
    [review] = service.ask("north", "POST", "/v1/reviews", {"rows": ["so so"]}).json["reviews"]
    decided = service.ask(
        "north", "POST", f"/v1/reviews/{review['id']}/decide", {"label": "positive"}
    )
    assert decided.status == 200
    example = {"examples": [{"row": "mine", "label": "positive", "id": "mine"}]}
    assert service.ask("north", "POST", "/v1/examples", example).status == 200
    run = service.run("north")

    for who, seen in (("north", True), ("south", False)):
        [task] = service.ask(who, "GET", "/v1/tasks").json["tasks"]
        assert task["name"] == "reviews"
        assert task["reviews"] == {"open": 0, "decided": int(seen)}
        found = service.ask(who, "GET", "/v1/examples").json
        assert (found["total"], found["version"]) == ((4, 3) if seen else (2, 1))
        assert bool(service.ask(who, "GET", "/v1/reviews/log").json["decisions"]) is seen
        runs = service.ask(who, "GET", "/v1/runs?task=reviews").json["runs"]
        assert [(r["id"], r["task"]) for r in runs] == ([(run, "reviews")] if seen else [])
        page = service.ask(who, "GET", "/examples?task=reviews").body.decode()
        assert ("so so" in page) is seen
        history = service.ask(who, "GET", "/v1/examples/history?id=mine")
        assert history.status == (200 if seen else 404)
        for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/result", f"/v1/reviews/{review['id']}"):
            assert service.ask(who, "GET", path).status == (200 if seen else 404), path

    asked: list[tuple[str, str, Any]] = [
        ("POST", f"/v1/reviews/{review['id']}/undo", {"task": "reviews"}),
        ("POST", f"/v1/reviews/{review['id']}/second", {"label": "negative"}),
        ("POST", f"/v1/runs/{run}/cancel", {}),
        ("POST", f"/v1/runs/{run}/reviews", {}),
        ("GET", f"/v1/runs/{run}/events", None),
        ("GET", f"/runs/{run}", None),
        ("POST", "/v1/classify", {"rows": ["x"], "task": "north/reviews"}),
        ("GET", "/v1/examples?task=north/reviews", None),
        ("POST", "/v1/examples/retire", {"ids": ["mine"]}),
    ]
    statuses = {(m, p): service.ask("south", m, p, body).status for m, p, body in asked}
    assert set(statuses.values()) == {404}, statuses
    assert service.ask("north", "GET", "/v1/examples").json["total"] == 4


def test_a_decision_changes_the_predictions_of_its_tenant_only(service: Tenants) -> None:
    rows = {"rows": ["so so"]}
    [review] = service.ask("north", "POST", "/v1/reviews", rows).json["reviews"]
    service.ask("north", "POST", f"/v1/reviews/{review['id']}/decide", {"label": "negative"})
    shown = {
        who: service.ask(who, "POST", "/v1/classify", rows).json["predictions"][0]
        for who in ("north", "south")
    }
    assert shown["north"]["demonstration_ids"] == [f"review-{review['id']}"]
    assert shown["south"]["pool_version"] == 1
    assert shown["south"]["demonstration_ids"] != shown["north"]["demonstration_ids"]


def test_the_same_idempotency_key_of_two_tenants_is_two_writes(service: Tenants) -> None:
    body = {"examples": [{"row": "again", "label": "positive", "id": "again"}]}
    for who in ("north", "south"):
        for _ in range(2):
            sent = {"Idempotency-Key": "k1"}
            assert service.ask(who, "POST", "/v1/examples", body, **sent).json["version"] == 2
        assert service.ask(who, "GET", "/v1/examples").json["total"] == 3


def test_a_key_limited_to_some_tasks_cannot_read_metrics(service: Tenants) -> None:
    assert service.ask("north", "POST", "/v1/classify", {"rows": ["fits"]}).status == 200
    for who in ("north", "south", "helper"):
        assert service.ask(who, "GET", "/metrics").status == 403
    text = service.ask("operator", "GET", "/metrics").body.decode()
    assert 'ecomfs_pool_examples{task="north/reviews"} 2.0' in text
    assert 'ecomfs_pool_examples{task="south/reviews"} 2.0' in text
    for who in ("operator", "helper"):  # of no tenant: no tenant's task is theirs
        assert service.ask(who, "GET", "/v1/tasks").json["tasks"] == []
        assert service.ask(who, "POST", "/v1/classify", {"rows": ["x"]}).status in (404, 422)


def test_a_name_that_could_be_another_tenants_task_is_refused() -> None:
    with Pool.in_memory(EXAMPLES) as pool:
        options: dict[str, Any] = {"k": 1, "embedder": "hashed", "calibration_size": 0}
        clf = FewShotClassifier("review_sentiment", ScriptedEngine(), **options).fit(pool)
        with pytest.raises(ConfigError, match="'north/reviews' of a task or tenant contains '/'"):
            create_app({"north/reviews": clf})
    with pytest.raises(ConfigError, match="key 'a': 'north/x' is not a valid tenant name"):
        Keys([ApiKey("a", digest_of("a"), frozenset(["label"]), tenant="north/x")])


FILE = """
database: shop.db
keys:
  - {name: app, hash: A, scopes: [classify], tenant: north, tasks: [reviews]}
  - {name: wen, hash: B, scopes: [label], tenant: north, tasks: [titles]}
  - {name: li, hash: C, scopes: [label], tenant: south, tasks: [reviews]}
tasks:
  reviews: {task: review_sentiment}
  titles: {task: product_category}
  other: {task: product_category}
"""


def config_of(tmp_path: Path, text: str) -> Path:
    for name in "ABC":
        text = text.replace(f"hash: {name},", f"hash: {digest_of(name)},")
    file = tmp_path / "ecomfs.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_tenant_has_the_tasks_that_its_keys_see(tmp_path: Path) -> None:
    config = read_config(config_of(tmp_path, FILE))
    assert config.tenants() == {"north": ["reviews", "titles"], "south": ["reviews"]}
    assert config.tenants(operator=True)[""] == ["reviews", "titles", "other"]
    assert config.keys[0].key.caller.tenant == "north"
    no_keys = re.sub(r"keys:.*?tasks:\n", "tasks:\n", FILE, flags=re.DOTALL)
    assert list(read_config(config_of(tmp_path, no_keys)).tenants()) == [""]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("tenant: south", "tenant: so/uth", r"keys\.2\.tenant: String should match pattern"),
        ("other: {", "o/ther: {", "tasks.o/ther: the name contains"),
    ],
)
def test_an_invalid_tenant_is_an_error_with_the_place(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        read_config(config_of(tmp_path, FILE.replace(old, new)))


def test_readings_of_a_tenant_have_its_salt() -> None:
    assert salted("vllm:http://a:8000", "north") == "vllm:http://a:8000?cache_salt=north"
    assert salted("gguf:demo?cache_salt=own", "north") == "gguf:demo?cache_salt=own"


def test_a_key_of_a_tenant_is_printed_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["key", "wen", "--scope", "label", "--tenant", "north"]) == 0
    assert '    tenant: "north"' in capsys.readouterr().out
    assert cli(["key", "wen", "--tenant", "north", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["tenant"] == "north"
    assert cli(["key", "wen", "--tenant", "no/rth"]) == 2
