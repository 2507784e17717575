"""A service that masks personal data stores only placeholders: reviews, examples, logs, answers."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from recording import RecordingEngine
from scripted import examples
from serving import ask, serving

from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.types import Example

pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")
PHONE, MAIL = "13812345678", "wei@example.com"
ROW = f"so so, call {PHONE} or write to {MAIL}"
MASKED = "so so, call [PHONE] or write to [EMAIL]"
TABLE = {"Content-Type": "application/octet-stream"}


def test_a_service_stores_and_returns_placeholders_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    engine, runs = RecordingEngine(), tmp_path / "runs"
    texts, labels = examples()
    with Pool.open(tmp_path / "pool.db") as pool:
        pairs = enumerate(zip(texts, labels, strict=True))
        pool.add([Example(f"e{i}", {"text": t}, label) for i, (t, label) in pairs])
        options = {"k": 4, "embedder": "hashed", "language": "en", "calibration_size": 0}
        clf = FewShotClassifier("review_sentiment", engine, mask="patterns", **options).fit(pool)  # type: ignore[arg-type]
        with serving(create_app(clf, review_below=0.999, runs_folder=runs)) as url:
            key = {"Idempotency-Key": "k1"}
            told = [
                ask(url, "POST", "/v1/classify", {"rows": [ROW], "ids": ["r1"]}),
                ask(url, "POST", "/v1/explain", {"row": ROW}),
                ask(url, "POST", "/v1/reviews", {"rows": [{"text": ROW}]}),
                ask(url, "GET", "/v1/reviews"),
            ]
            [review] = told[-1].json["reviews"]
            assert review["row"] == {"text": MASKED}
            added = {"examples": [{"row": f"torn, {ROW}", "label": "negative"}]}
            path = f"/v1/reviews/{review['id']}"
            told += [
                ask(url, "POST", "/v1/examples", added, key),
                ask(url, "POST", f"{path}/decide", {"label": "negative", "version": 1}),
                ask(url, "GET", "/v1/examples"),
                ask(url, "GET", path),
            ]
            assert [answer.status for answer in told] == [200] * len(told)
            run = ask(url, "POST", "/v1/runs?name=a.csv", f'id,text\n1,"{ROW}!"\n'.encode(), TABLE)
            path = f"/v1/runs/{run.json['id']}"
            while ask(url, "GET", path).json["state"] not in ("done", "failed"):
                time.sleep(0.02)
            scored = ask(url, "GET", f"{path}/result").body
            assert ROW.encode() in scored  # the table that was sent, with its own columns
            sent = ask(url, "POST", f"{path}/reviews?below=0.9999", {})
            assert [r["row"]["text"] for r in sent.json["reviews"]] == [f"{MASKED}!"]
    everything = "\n".join([*engine.asked, caplog.text, *(a.body.decode() for a in told)])
    assert PHONE not in everything
    assert MAIL not in everything
    for path in tmp_path.glob("pool.db*"):
        assert PHONE.encode() not in path.read_bytes()
        assert MAIL.encode() not in path.read_bytes()
