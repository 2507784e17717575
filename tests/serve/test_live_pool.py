"""A running classifier and a running service, and a pool that changes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine, examples
from serving import ask, serving

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import PoolError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.types import Example

QUERY = "review 1: it broke at once"


def stored(n: int = 12) -> list[Example]:
    texts, labels = examples(n)
    pairs = zip(texts, labels, strict=True)
    return [Example(f"e{i}", {"text": t}, label) for i, (t, label) in enumerate(pairs)]


def fitted(pool: Any, task: str = "review_sentiment", **options: Any) -> FewShotClassifier:
    defaults: dict[str, Any] = {
        "layout": "retrieved",
        "k": 4,
        "embedder": "hashed",
        "language": "en",
        "calibration_size": 0,
        "strategy": "top_k",
    }
    return FewShotClassifier(task, ScriptedEngine(), **(defaults | options)).fit(pool)


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool.in_memory(stored()) as pool:
        yield pool


def shown(clf: FewShotClassifier, query: str = QUERY) -> dict[str, str]:
    """Id → label of the demonstrations of a prediction, and that the prompt says the same."""
    explanation = clf.explain(query)
    assert explanation.state.prompt is not None
    for d in explanation.state.demonstrations:
        assert f"{d.text}\nSentiment: {d.example.label}" in explanation.state.prompt.text
    return {d.example.id: d.example.label for d in explanation.state.demonstrations}


def test_a_relabelled_example_is_shown_with_its_new_label(pool: Pool) -> None:
    clf = fitted(pool)
    assert shown(clf)["e1"] == "negative"
    pool.relabel("e1", "positive")
    assert shown(clf)["e1"] == "positive"
    assert clf.classify([QUERY])[0].pool_version == 2


def test_added_and_retired_examples_count_at_the_next_call(pool: Pool) -> None:
    clf = fitted(pool)
    pool.add([Example("new", {"text": "quite another thing"}, "positive")])
    assert "new" in clf.classify(["quite another thing"])[0].demonstration_ids
    pool.retire(["new"])
    assert "new" not in clf.classify(["quite another thing"])[0].demonstration_ids


def test_the_answer_is_that_of_a_new_fit(pool: Pool) -> None:
    clf = fitted(pool)
    pool.relabel("e3", "positive")
    pool.retire(["e5"])
    pool.add([Example("n", {"text": "it leaks"}, "negative")])
    queries = ["it leaks", QUERY, "works very well"]
    assert clf.classify(queries) == fitted(pool).classify(queries)


def test_an_unchanged_pool_is_not_built_again(pool: Pool) -> None:
    clf = fitted(pool)
    before = clf.pipeline_
    clf.classify([QUERY])
    assert clf.pipeline_ is before
    pool.relabel("e1", "positive")
    clf.classify([QUERY])
    assert clf.pipeline_ is not before


class _Counting:
    """Hashed vectors with no weights of the pool, and how many texts were embedded."""

    def __init__(self) -> None:
        self._inner = HashedEmbedder()
        self.fingerprint, self.dimensions = self._inner.fingerprint, self._inner.dimensions
        self.pool_texts = 0

    def fit(self, texts: Any) -> _Counting:
        return self

    def embed(self, texts: Any, *, query: bool) -> Any:
        self.pool_texts += 0 if query else len(texts)
        return self._inner.embed(texts, query=query)


def test_only_new_texts_are_embedded(pool: Pool) -> None:
    embedder = _Counting()
    clf = fitted(pool, embedder=embedder)
    assert embedder.pool_texts == 12
    pool.add([Example("n", {"text": "it leaks"}, "negative")])
    pool.relabel("e3", "positive")
    clf.classify([QUERY])
    assert embedder.pool_texts == 13


def test_a_new_label_of_an_open_task_becomes_an_answer() -> None:
    titles = {"red shoe": "shoes", "blue shoe": "shoes", "warm coat": "coats", "rain coat": "coats"}
    with Pool.in_memory(
        Example(str(i), {"title": t}, y) for i, (t, y) in enumerate(titles.items())
    ) as pool:
        clf = fitted(pool, "product_category")
        assert clf.predict_proba(["straw hat"]).shape == (1, 2)
        pool.add([Example("h", {"title": "straw hat"}, "hats")])
        assert clf.predict_proba(["straw hat"]).shape == (1, 3)
        assert clf.classes_.tolist() == ["coats", "hats", "shoes"]
        assert clf.explain("straw hat").labels == clf.pipeline_.space.names


def test_the_label_bias_stays(pool: Pool) -> None:
    biases = []
    for seed in range(20):  # an untrained engine has a bias worth taking off only sometimes
        clf = fitted(pool, calibration_size=12, seed=seed, k=2, cascade=False)
        bias = clf.pipeline_.setups["en"].calibration
        if bias is None:
            continue
        pool.add([Example(f"n{seed}", {"text": f"thing {seed}"}, "positive")])
        engine: Any = clf.engine_
        calls = len(engine.calls)
        clf.classify([QUERY])
        assert len(engine.calls) == calls + 1
        assert clf.pipeline_.setups["en"].calibration == bias
        biases.append(bias)
    assert biases


def test_an_unusable_pool_is_reported_and_the_old_pipeline_stays(pool: Pool) -> None:
    clf = fitted(pool)
    before = clf.pipeline_
    pool.retire([f"e{i}" for i in range(0, 12, 2)])
    for _ in range(2):
        with pytest.raises(PoolError, match=r"pool 'default', version 2: all .* 'negative'"):
            clf.classify([QUERY])
    assert clf.pipeline_ is before
    pool.add([Example("back", {"text": "works"}, "positive")])
    assert clf.classify([QUERY])[0].pool_version == 3


def test_a_label_that_a_closed_task_does_not_know_is_the_pools_fault(pool: Pool) -> None:
    clf = fitted(pool)
    pool.relabel("e1", "meh")
    with pytest.raises(PoolError, match=r"version 2.*unknown label 'meh'"):
        clf.predict([QUERY])


def test_many_threads_see_whole_versions(pool: Pool) -> None:
    clf = fitted(pool)

    def change_and_ask(i: int) -> bool:
        pool.add([Example(f"t{i}", {"text": f"thread number {i}"}, "positive")])
        prediction = clf.classify([f"thread number {i}"])[0]
        return f"t{i}" in prediction.demonstration_ids

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(change_and_ask, range(24)))
    assert clf.pipeline_.pool_version == pool.version == 25


# -- another process changes the file of a running service ----------------------------------------


def elsewhere(*arguments: str) -> None:
    """``ecomfs examples …`` in a process of its own."""
    command = [sys.executable, "-c", "from ecomfs.cli import main; main()", "examples"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def asked(url: str) -> Any:
    answer = ask(url, "POST", "/v1/explain", {"row": QUERY})
    assert answer.status == 200
    return answer.json["prediction"]


def test_a_service_sees_what_another_process_did(tmp_path: Path) -> None:
    file = tmp_path / "pool.db"
    with Pool.open(file) as pool:
        pool.add(stored())
        with serving(create_app(fitted(pool))) as url:
            before = asked(url)
            assert before["pool_version"] == 1
            elsewhere("relabel", "e1", "positive", "--pool", str(file))
            after = asked(url)
            assert after["pool_version"] == 2
            labels = {d["id"]: d["label"] for d in after["explanation"]["demonstrations"]}
            assert labels["e1"] == "positive"
            elsewhere(
                "add",
                QUERY + "!",
                "--label",
                "negative",
                "--id",
                "late",
                "--task",
                "review_sentiment",
                "--pool",
                str(file),
            )
            assert "late" in asked(url)["demonstration_ids"]


def failing(url: str, why: str, version: int) -> None:
    """A request is answered with the last usable version, and the service says why."""
    assert asked(url)["pool_version"] == version
    health = ask(url, "GET", "/healthz").json
    assert health["status"] == "stale"
    assert health["pool"]["version"] == version
    assert why in health["problem"]


def well(url: str, version: int) -> None:
    assert asked(url)["pool_version"] == version
    health = ask(url, "GET", "/healthz").json
    assert health["status"] == "ok"
    assert health["problem"] == ""


def one_label(pool: Pool) -> None:
    pool.retire([f"e{i}" for i in range(0, 12, 2)])


def none_left(pool: Pool) -> None:
    pool.retire([f"e{i}" for i in range(12)])


def misspelt(pool: Pool) -> None:
    pool.relabel("e1", "postive")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (one_label, "all labelled examples have the label 'negative'"),
        (none_left, "no examples are left"),
        (misspelt, "unknown label 'postive'"),
    ],
)
def test_a_version_that_cannot_be_used_leaves_the_last_good_one_in_use_and_health_says_so(
    change: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Pool.in_memory(stored()) as pool, serving(create_app(fitted(pool))) as url:
        change(pool)
        for _ in range(3):
            failing(url, why, version=1)
        ready = ask(url, "GET", "/readyz")
        assert ready.status == 503
        assert "last usable version" in ready.json["detail"]
        assert ask(url, "GET", "/readyz?stale=ok").status == 200
        told = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert len(told) == 1  # once, not at every request
        assert "version 1 stays in use" in told[0]
        assert why in told[0]
        gone = {e.id for e in stored()} - {e.id for e in pool.examples()}
        if gone:
            pool.add([e for e in stored() if e.id in gone])
        else:
            pool.relabel("e1", "negative")
        well(url, version=3)
        assert "version 3 is in use" in caplog.text


def test_a_fault_while_a_version_is_built_leaves_the_last_good_one_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Pool.in_memory(stored()) as pool, serving(create_app(fitted(pool))) as url:
        with monkeypatch.context() as patched:

            def broken(*_: Any, **__: Any) -> Any:
                raise ZeroDivisionError("in the index")

            patched.setattr("ecomfs.estimators.few_shot.refreshed", broken)
            pool.relabel("e1", "positive")
            failing(url, "ZeroDivisionError('in the index')", version=1)
        pool.relabel("e3", "positive")
        well(url, version=3)


def test_variants_go_on_with_the_last_good_version_too(tmp_path: Path) -> None:
    from ecomfs.serve import SplitService
    from ecomfs.traffic import TrafficLog, TrafficSplit

    with Pool.in_memory(stored()) as pool:
        fits = {"A": fitted(pool), "B": fitted(pool, k=2)}
        log = TrafficLog(tmp_path / "log.jsonl")
        with serving(create_app(SplitService(fits, TrafficSplit({"A": 1, "B": 1}, 0), log))) as url:
            misspelt(pool)
            body = {"rows": [QUERY] * 8, "ids": [str(i) for i in range(8)]}
            answer = ask(url, "POST", "/v1/classify", body)
            assert answer.status == 200
            found = answer.json["predictions"]
            assert {(p["variant"], p["pool_version"]) for p in found} == {("A", 1), ("B", 1)}
            assert "postive" in ask(url, "GET", "/healthz").json["problem"]
        log.close()


def move(old: Path, new: Path) -> None:
    """Move a database with the files of SQLite next to it."""
    for end in ("", "-wal", "-shm"):
        if (file := old.with_name(old.name + end)).exists():
            file.rename(new.with_name(new.name + end))


def test_a_database_that_vanishes_for_a_moment_costs_no_request(tmp_path: Path) -> None:
    file, away = tmp_path / "pool.db", tmp_path / "away.db"
    with Pool.open(file) as pool:
        pool.add(stored())
        with serving(create_app(fitted(pool))) as url:
            well(url, version=1)
            move(file, away)
            failing(url, "unable to open database file", version=1)
            assert not file.exists()  # not made again, empty
            move(away, file)
            well(url, version=1)
            pool.relabel("e1", "positive")
            well(url, version=2)


def test_a_database_that_was_replaced_is_the_one_that_is_read(tmp_path: Path) -> None:
    file, restored = tmp_path / "pool.db", tmp_path / "restored.db"
    with Pool.open(restored) as other:
        other.add(stored())
        other.relabel("e1", "positive")
    with Pool.open(file) as pool:
        pool.add(stored())
        with serving(create_app(fitted(pool))) as url:
            well(url, version=1)
            move(file, tmp_path / "old.db")
            move(restored, file)
            well(url, version=2)
            file.unlink()
            file.write_text("no database")
            failing(url, "file is not a database", version=2)


def test_a_misspelt_label_of_another_process_is_refused_and_the_service_goes_on(
    tmp_path: Path,
) -> None:
    from ecomfs.cli import run

    file = tmp_path / "pool.db"
    with Pool.open(file) as pool:
        pool.add(stored())
        with serving(create_app(fitted(pool))) as url:
            assert run(["examples", "relabel", "e1", "postive", "--pool", str(file)]) == 2
            well(url, version=1)
            elsewhere("relabel", "e1", "postive", "--pool", str(file), "--new-label")
            failing(url, "unknown label 'postive' (did you mean 'positive'?", version=1)
            elsewhere("relabel", "e1", "positive", "--pool", str(file))
            well(url, version=3)


def test_a_label_that_is_new_to_an_open_task_is_answered_at_once() -> None:
    """The values fitted on the label shares are used with one more label."""
    kinds = ["kettle", "phone"] * 12
    rows = [Example(f"t{i}", {"title": f"{k} no {i}"}, f"{k}s") for i, k in enumerate(kinds)]
    options: dict[str, Any] = {"embedder": "hashed", "calibration_size": 12}
    with Pool.in_memory(rows) as pool:
        clf = FewShotClassifier("product_category", None, **options).fit(pool)
        pool.add([Example("new", {"title": "a red dress"}, "dresses")])
        [found] = clf.classify([{"title": "a red dress"}])
        assert set(found.probabilities) == {"phones", "kettles", "dresses"}
        assert abs(sum(found.probabilities.values()) - 1) < 1e-9
        pool.retire([f"t{i}" for i in range(0, 24, 2)])
        [found] = clf.classify([{"title": "a red dress"}])
        assert set(found.probabilities) == {"phones", "dresses"}
