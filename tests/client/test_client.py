from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import classifier
from serving import serving

from ecomfs.client import Client, wire
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import create_app
from ecomfs.types import Prediction, Status

SAMPLES = Path(__file__).parents[2] / "samples" / "review_sentiment"
TEXTS = [f"thing number {i}" for i in range(10)]


@pytest.fixture(scope="module")
def clf() -> FewShotClassifier:
    return classifier()


@pytest.fixture(scope="module")
def url(clf: FewShotClassifier) -> Iterator[str]:
    with serving(create_app(clf)) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


# -- the same methods, the same answers ----------------------------------------------------------


def test_classify_is_the_classifiers(client: Client, clf: FewShotClassifier) -> None:
    assert client.classify(TEXTS) == clf.classify(TEXTS)
    ids = [f"r{i}" for i in range(10)]
    assert client.classify(TEXTS, ids) == clf.classify(TEXTS, ids)


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"id": [1, 2, 3], "Review": ["good", None, "bad"]}),
        pd.DataFrame({"text": ["a", "b"], "text ": ["c", "d"]}),
        pd.Series(["good", np.nan, "bad"]),
        [{"text": "good"}, {"review": "bad"}, {"text": 5}, {"text": float("inf")}],
        [{"text": np.float64(2.5)}, {"text": pd.Timestamp("2024-05-01")}, {"text": ["a", None]}],
        ["好评，物流很快", 7, None, ""],
        [],
    ],
)
def test_rows_in_any_container(client: Client, clf: FewShotClassifier, rows: Any) -> None:
    assert client.classify(rows) == clf.classify(rows)


def test_predict_and_predict_proba_have_the_classifiers_shape(
    client: Client, clf: FewShotClassifier
) -> None:
    rows = [*TEXTS, ""]
    assert client.classes_.tolist() == clf.classes_.tolist() == ["negative", "positive"]
    assert client.predict(rows).tolist() == clf.predict(rows).tolist()
    assert client.predict(rows)[-1] is None
    np.testing.assert_array_equal(client.predict_proba(rows), clf.predict_proba(rows))
    assert client.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("row", ["it works", {"text": "it works"}, ""])
def test_explain_is_the_classifiers(client: Client, clf: FewShotClassifier, row: Any) -> None:
    near, far = clf.explain(row), client.explain(row)
    assert far.to_dict() == near.to_dict()
    assert str(far) == str(near)
    assert far.posterior == near.posterior
    assert far.labels == near.labels
    assert [d.example for d in far.state.demonstrations] == [
        d.example for d in near.state.demonstrations
    ]


def test_it_works_inside_any_event_loop(url: str, clf: FewShotClassifier) -> None:
    async def main() -> list[list[Prediction]]:
        async with Client(url) as client:
            return await asyncio.gather(*(client.aclassify([text]) for text in TEXTS))

    found = [p for answer in asyncio.run(main()) for p in answer]
    assert [p.probabilities for p in found] == [p.probabilities for p in clf.classify(TEXTS)]


def test_more_rows_than_a_request_takes_come_back_in_order(
    client: Client, clf: FewShotClassifier
) -> None:
    rows = [f"row {i % 40}" for i in range(300)]
    found = client.classify(rows)
    assert [p.id for p in found] == [str(i) for i in range(300)]
    alone = {f"row {p.id}": p.probabilities for p in clf.classify(rows[:40])}
    assert all(p.probabilities == alone[row] for p, row in zip(found, rows, strict=True))


def test_rows_too_large_together_are_split_and_too_large_alone_fail() -> None:
    with serving(create_app(classifier(), max_body_bytes=1000)) as url, Client(url) as client:
        found = client.classify(["x" * 400, "y" * 400, "z" * 2000, "short"])
    assert [p.status for p in found] == [Status.OK, Status.OK, Status.FAILED, Status.OK]
    assert "1,000" in found[2].error


def test_a_pool_that_changes_changes_the_classes() -> None:
    clf = classifier()
    with serving(create_app(clf)) as url, Client(url) as client:
        assert client.classes_.tolist() == ["negative", "positive"]
        clf.fit(["so so", "great", "awful"], ["neutral", "positive", "negative"])
        assert client.predict_proba(["fine"]).shape == (1, 3)
        assert client.classes_.tolist() == ["negative", "neutral", "positive"]


def test_health_tells_what_is_served(client: Client) -> None:
    assert client.health()["task"] == "review_sentiment"
    assert client.health()["pool"] == {"size": 12, "version": 1}


def test_a_closed_client_opens_again(client: Client) -> None:
    client.classify(TEXTS[:1])
    client.close()
    client.close()
    assert len(client.classify(TEXTS[:1])) == 1


def test_a_dropped_client_leaves_no_connection_behind(url: str) -> None:
    client = Client(url)
    client.classify(TEXTS[:1])
    del client
    gc.collect()  # an open session would warn here, and warnings are errors


# -- splitting ---------------------------------------------------------------------------------


@given(
    rows=st.lists(st.text(max_size=60), max_size=30),
    most_rows=st.integers(1, 8),
    most_bytes=st.integers(80, 400),
)
def test_requests_keep_every_row_within_the_limits(
    rows: list[str], most_rows: int, most_bytes: int
) -> None:
    ids = [str(i) for i in range(len(rows))]
    encoded = wire.encode_rows(rows)
    split = wire.requests(encoded, ids, most_rows=most_rows, most_bytes=most_bytes)
    seen: list[str] = []
    for request in split:
        if isinstance(request, Prediction):
            assert request.status == Status.FAILED
            seen.append(request.id)
            continue
        assert len(request.body) <= most_bytes
        body = json.loads(request.body)
        assert body["ids"] == list(request.ids)
        assert body["rows"] == [rows[int(i)] for i in request.ids]
        assert 1 <= len(body["rows"]) <= most_rows
        seen += request.ids
    assert seen == ids


# -- with a real model -------------------------------------------------------------------------


@pytest.mark.model
def test_ten_sample_rows_served_equal_the_local_answers() -> None:
    pool = pd.read_csv(SAMPLES / "pool.csv", dtype=str, keep_default_na=False)
    test = pd.read_csv(SAMPLES / "test.csv", dtype=str, keep_default_na=False)
    clf = FewShotClassifier(
        "review_sentiment", "gguf:demo", k=2, embedder="hashed", calibration_size=0
    ).fit(pool)
    rows = test.head(10)
    near = clf.classify(rows, list(rows["id"]))
    with serving(create_app(clf)) as url, Client(url) as client:
        far = client.classify(rows, list(rows["id"]))
    assert [p.label for p in far] == [p.label for p in near]
    assert all(p.status == Status.OK for p in far)
    for one, other in zip(far, near, strict=True):
        assert one.id == other.id
        assert one.demonstration_ids == other.demonstration_ids
        assert one.template == other.template
        # A prefix that is cached by now is not computed again; sums come in another order.
        assert one.probabilities == pytest.approx(dict(other.probabilities), abs=1e-3)
