"""Uploaded tables: scored in the background, observed, downloaded; and their errors."""

from __future__ import annotations

import csv
import errno
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
from scripted import ScriptedEngine, classifier, examples
from serving import Answer, ask, serving

from ecomfs.batch.journal import Journal
from ecomfs.batch.paths import journal_path
from ecomfs.errors import DatabaseError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.serve.runs import FINAL, Runs
from ecomfs.types import Example

ROWS = "id,text\n" + "".join(f"r{i},thing number {i}\n" for i in range(20))
FILE = {"Content-Type": "application/octet-stream"}


def fitted(pool: Pool, engine: Any = None) -> FewShotClassifier:
    options: dict[str, Any] = {"k": 2, "embedder": "hashed", "calibration_size": 0}
    return FewShotClassifier("review_sentiment", engine or ScriptedEngine(), **options).fit(pool)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    texts, labels = examples()
    with Pool.open(tmp_path / "pool.db") as opened:
        pairs = enumerate(zip(texts, labels, strict=True))
        opened.add([Example(f"e{i}", {"text": t}, label) for i, (t, label) in pairs])
        yield opened


@pytest.fixture
def url(pool: Pool, tmp_path: Path) -> Iterator[str]:
    with serving(create_app(fitted(pool), runs_folder=tmp_path / "runs")) as url:
        yield url


def send(url: str, body: str = ROWS, name: str = "rows.csv") -> Answer:
    return ask(url, "POST", f"/v1/runs?name={quote(name)}", body.encode(), FILE)


def ended(url: str, id: str) -> Any:
    for _ in range(600):
        run = ask(url, "GET", f"/v1/runs/{id}").json
        if run["state"] in FINAL:
            return run
        time.sleep(0.05)
    raise AssertionError(run)


def test_a_table_is_scored_and_downloaded(url: str) -> None:
    sent = send(url)
    assert sent.status == 201, sent.body
    run = ended(url, sent.json["id"])
    assert (run["state"], run["counts"]["ok"], run["progress"]) == ("done", 20, 1.0)
    got = ask(url, "GET", f"/v1/runs/{run['id']}/result")
    assert got.headers["content-disposition"] == 'attachment; filename="rows.scored.csv"'
    rows = list(csv.DictReader(io.StringIO(got.body.decode())))
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(20)]
    one = ask(url, "POST", "/v1/classify", {"rows": ["thing number 3"]}).json["predictions"][0]
    assert rows[3]["predicted"] == one["label"]
    assert [r["id"] for r in ask(url, "GET", "/v1/runs").json["runs"]] == [run["id"]]
    page = ask(url, "GET", "/runs").body.decode()
    assert f'href="/v1/runs/{run["id"]}/result"' in page


def test_the_unsure_rows_of_a_run_are_sent_to_people_once(url: str) -> None:
    run = ended(url, send(url).json["id"])
    got = ask(url, "GET", f"/v1/runs/{run['id']}/result").body.decode()
    scored = list(csv.DictReader(io.StringIO(got)))
    order = sorted(scored, key=lambda row: float(row["confidence"]))
    between = (float(order[4]["confidence"]) + float(order[5]["confidence"])) / 2
    least = {row["id"] for row in order if float(row["confidence"]) < between}
    path = f"/v1/runs/{run['id']}/reviews?below={between!r}"
    added = ask(url, "POST", path, {})
    assert added.status == 200, added.body
    reviews = added.json["reviews"]
    assert {review["row_id"] for review in reviews} == least
    one = reviews[0]
    [row] = [row for row in scored if row["id"] == one["row_id"]]
    assert one["row"] == {"text": row["text"]}
    assert (one["state"], one["source"], one["suggestion"]) == ("open", "run", row["suggestion"])
    assert ask(url, "POST", path, {}).json["reviews"] == reviews
    assert ask(url, "GET", "/v1/reviews").json["open"] == len(least)
    assert len(ask(url, "POST", f"{path}&limit=1", {}).json["reviews"]) == min(1, len(least))
    assert ask(url, "POST", f"/v1/runs/{'0' * 32}/reviews", {}).status == 404


def test_the_labels_of_unsure_rows_are_right_if_the_upload_was_scored_before(url: str) -> None:
    table = "id,text,p_positive,predicted\nr1,so; so,0.1,x\nr2,so so; indeed,0.1,y\n"
    run = ended(url, send(url, table, "again.CSV").json["id"])
    assert run["state"] == "done"
    reviews = ask(url, "POST", f"/v1/runs/{run['id']}/reviews?below=1", {}).json["reviews"]
    assert [set(r["probabilities"]) for r in reviews] == [{"positive", "negative"}] * 2
    got = ask(url, "GET", f"/v1/runs/{run['id']}/result")
    assert got.headers["content-disposition"] == 'attachment; filename="again.scored.csv"'


@pytest.mark.parametrize("gone", ["upload.csv", "scored.csv"])
def test_rows_of_a_run_whose_files_are_gone(url: str, tmp_path: Path, gone: str) -> None:
    run = ended(url, send(url).json["id"])
    (tmp_path / "runs" / run["id"] / gone).unlink()
    answer = ask(url, "POST", f"/v1/runs/{run['id']}/reviews", {})
    assert answer.status == 404
    assert answer.json["detail"] == f"the result of run {run['id']} is gone"
    assert str(tmp_path).encode() not in answer.body


def test_progress_comes_as_events_until_the_end(url: str) -> None:
    id = send(url).json["id"]
    answer = ask(url, "GET", f"/v1/runs/{id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.body.decode().splitlines()
    told = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert told[-1]["state"] == "done"
    assert told[-1]["counts"]["ok"] == 20


@pytest.mark.parametrize(
    ("body", "name", "status", "why"),
    [
        ("id,price\n1,2\n", "rows.csv", 422, "rows.csv: no column"),
        ("", "rows.csv", 422, "rows.csv"),
        ("id,text\n", "rows.csv", 422, "no rows"),
        (ROWS, "rows.exe", 422, "is not a table"),
        (ROWS, "../../etc/passwd", 422, "is not a table"),
        ("{", "rows.parquet", 422, "rows.parquet"),
    ],
)
def test_a_table_without_the_tasks_columns_is_refused_and_not_kept(
    url: str, tmp_path: Path, body: str, name: str, status: int, why: str
) -> None:
    answer = send(url, body, name)
    assert answer.status == status, answer.body
    assert why in answer.json["detail"]
    assert str(tmp_path) not in answer.body.decode()
    assert list((tmp_path / "runs").glob("*")) == []
    assert ask(url, "GET", "/v1/runs").json["runs"] == []


def test_an_upload_that_is_cut_short_is_not_a_run(url: str, tmp_path: Path) -> None:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as raw:
        head = (
            f"POST /v1/runs?name=rows.csv HTTP/1.1\r\nHost: {place.netloc}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n"
        )
        raw.sendall(head.encode() + ROWS.encode())
    for _ in range(100):
        if not list((tmp_path / "runs").glob("*")):
            break
        time.sleep(0.05)
    assert list((tmp_path / "runs").glob("*")) == []
    assert ask(url, "GET", "/v1/runs").json["runs"] == []


def test_a_full_disk_says_so_and_keeps_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def full(self: Path, *args: Any, **options: Any) -> Any:
        if self.name.startswith("upload"):
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return opened(self, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    answer = send(url)
    assert answer.status == 507
    assert "disk of the service is full" in answer.json["detail"]
    monkeypatch.undo()
    assert list((tmp_path / "runs").glob("*")) == []
    assert send(url).status == 201


def test_a_run_is_cancelled_and_one_that_has_ended_is_not(pool: Pool, tmp_path: Path) -> None:
    engine = ScriptedEngine(held=True)
    app = create_app(fitted(pool, engine), runs_folder=tmp_path / "runs")
    from ecomfs.core import event_loop

    with serving(app) as url:
        first, second = send(url).json["id"], send(url).json["id"]
        while ask(url, "GET", f"/v1/runs/{first}").json["state"] == "waiting":
            time.sleep(0.02)
        early = ask(url, "GET", f"/v1/runs/{first}/result")
        assert early.status == 409
        assert ask(url, "POST", f"/v1/runs/{second}/cancel", {}, FILE).status == 415
        json_ = {"Content-Type": "application/json"}
        done = ask(url, "POST", f"/v1/runs/{second}/cancel", b"", json_).json
        assert done["state"] == "cancelled"
        stopping = ask(url, "POST", f"/v1/runs/{first}/cancel", b"", json_).json
        assert stopping["state"] == "cancelling"
        event_loop.background_loop().call_soon_threadsafe(engine.release)
        assert ended(url, first)["state"] == "cancelled"
        again = ask(url, "POST", f"/v1/runs/{first}/cancel", b"", json_)
        assert again.status == 409


def test_a_run_goes_on_after_a_restart(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(pool.database, tmp_path / "runs")
    id = uuid4().hex
    runs.folder_of(id).mkdir(parents=True)
    (runs.folder_of(id) / "upload.csv").write_text(ROWS)
    runs.add(id, "review_sentiment", "rows.csv", "wen")
    assert runs.claim("review_sentiment") is not None  # by a process that is then killed
    assert runs.claim("review_sentiment") is None
    runs.change(id, counts='{"ok": 3}')
    monkeypatch.setattr("ecomfs.serve.runs._LEASE_SECONDS", 0.1)
    monkeypatch.setattr("ecomfs.serve.runs._TOUCH_SECONDS", 0.1)
    with serving(create_app(fitted(pool), runs_folder=tmp_path / "runs")) as url:
        assert ended(url, id)["counts"]["ok"] == 20


def test_a_run_of_a_slow_process_is_not_taken_over(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_LEASE_SECONDS", 0.1), ("_TOUCH_SECONDS", 0.1)):
        monkeypatch.setattr(f"ecomfs.serve.runs.{name}", seconds)
    monkeypatch.setattr("ecomfs.batch.journal._IN_USE_SECONDS", 0.05)
    runs = Runs(pool.database, tmp_path / "runs")
    id = uuid4().hex
    runs.folder_of(id).mkdir(parents=True)
    (runs.folder_of(id) / "upload.csv").write_text(ROWS)
    runs.add(id, "review_sentiment", "rows.csv", "wen")
    assert runs.claim("review_sentiment") is not None
    times = {runs.get(id).changed_at}
    with serving(create_app(fitted(pool), runs_folder=tmp_path / "runs")) as url:
        with Journal(journal_path(runs.result_of(runs.get(id)))):
            while len(times) < 4:  # it is tried again and again, and left alone
                run = runs.get(id)
                assert run.state == "running", run.error
                times.add(run.changed_at)
        assert ended(url, id)["counts"]["ok"] == 20


def test_a_run_of_a_task_that_is_not_served_any_more(pool: Pool, tmp_path: Path) -> None:
    runs = Runs(pool.database, tmp_path / "runs")
    id = uuid4().hex
    runs.add(id, "shoes", "rows.csv", "wen")
    with serving(create_app(fitted(pool), runs_folder=tmp_path / "runs")) as url:
        answer = ask(url, "GET", f"/v1/runs/{id}")
        assert answer.status == 404
        assert "'shoes', which is not served any more" in answer.json["detail"]
        assert ask(url, "GET", f"/v1/runs/{'0' * 32}").json["detail"].startswith("there is no run")


def test_without_a_folder_files_live_as_long_as_the_service() -> None:
    with serving(create_app(classifier())) as url:
        assert ended(url, send(url).json["id"])["state"] == "done"


def test_a_run_survives_a_database_that_is_away_for_a_moment(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, failed = Runs.change, list[str]()

    def sometimes(self: Runs, id: str, **values: Any) -> None:
        if not failed and "state" not in values:
            failed.append(id)
            raise DatabaseError("sqlite:///shop.db: database is locked")
        change(self, id, **values)

    monkeypatch.setattr(Runs, "change", sometimes)
    run = ended(url, send(url).json["id"])
    assert (failed, run["state"], run["counts"]["ok"]) == ([run["id"]], "done", 20)
