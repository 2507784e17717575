"""A real server with split traffic, its log, and the comparison made from both."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine, classifier
from serving import ask, serving

from ecomfs.cli.ab import ab
from ecomfs.cli.serve import serve
from ecomfs.client import Client
from ecomfs.errors import ConfigError
from ecomfs.estimators import classifier_of
from ecomfs.serve import SplitService, create_app
from ecomfs.traffic import TrafficLog, TrafficSplit, read_log
from ecomfs.types import Example

SPLIT = TrafficSplit({"A": 1, "B": 1}, seed=4)
IDS = [f"order-{i}" for i in range(240)]
TEXTS = [f"thing {i}, {'fine' if i % 2 else 'broken'}" for i in range(240)]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TrafficLog]:
    log = TrafficLog(tmp_path / "traffic.jsonl")
    yield log
    log.close()


def arms(log: TrafficLog, **changes: Any) -> SplitService:
    return SplitService(
        {"A": classifier(), "B": classifier(template="v2", **changes)},
        SPLIT,
        log,
        sources={"A": "template=v1", "B": "template=v2"},
    )


def test_every_row_goes_to_the_variant_of_its_id_and_is_logged(log: TrafficLog) -> None:
    a, b = classifier(), classifier(template="v2")
    with serving(create_app(arms(log))) as url:
        answers = [
            ask(url, "POST", "/v1/classify", {"rows": TEXTS[i : i + 60], "ids": IDS[i : i + 60]})
            for i in range(0, 240, 60)
        ]
        again = ask(url, "POST", "/v1/classify", {"rows": TEXTS[:3], "ids": IDS[:3]})
        health = ask(url, "GET", "/healthz").json
    told = [p for answer in answers for p in answer.json["predictions"]]
    assert [p["id"] for p in told] == IDS
    assert [p["variant"] for p in told] == [SPLIT.of(i) for i in IDS]
    assert 90 < Counter(p["variant"] for p in told)["A"] < 150
    wanted = {"A": a.classify(TEXTS, IDS), "B": b.classify(TEXTS, IDS)}
    for i, p in enumerate(told):
        assert p["probabilities"] == dict(wanted[p["variant"]][i].probabilities)
        assert p["template"] == str(wanted[p["variant"]][i].template)
    assert again.json["predictions"] == told[:3]  # sticky
    record = read_log(log.path)
    assert [(e.id, e.variant, e.label) for e in record.entries] == [
        (p["id"], p["variant"], p["label"]) for p in told
    ]
    assert record.repeated == 3
    [start] = record.starts
    assert (start.task, start.weights, start.seed) == ("review_sentiment", {"A": 1, "B": 1}, 4)
    assert start.variants == {"A": "template=v1", "B": "template=v2"}
    assert [(v["name"], v["share"]) for v in health["variants"]] == [("A", 0.5), ("B", 0.5)]
    assert health["variants"][0]["templates"] != health["variants"][1]["templates"]
    assert health["unlogged"] == 0


def test_rows_need_ids_and_explanations_are_not_logged(log: TrafficLog) -> None:
    with serving(create_app(arms(log))) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": TEXTS[:2]})
        assert answer.status == 422
        assert "send ids" in answer.json["hint"]
        explained = ask(url, "POST", "/v1/explain", {"row": TEXTS[0], "id": IDS[0]})
        assert explained.json["prediction"]["variant"] == SPLIT.of(IDS[0])
        with Client(url) as client:
            predictions = client.classify(TEXTS[:5], ids=IDS[:5])
    assert [p.id for p in predictions] == IDS[:5]
    assert [e.id for e in read_log(log.path).entries] == IDS[:5]


def test_bad_rows_are_logged_as_failed(log: TrafficLog) -> None:
    with serving(create_app(arms(log))) as url:
        answer = ask(
            url, "POST", "/v1/classify", {"rows": ["fine", "", "nul \0"], "ids": ["1", "2", "3"]}
        )
    assert [p["status"] for p in answer.json["predictions"]] == ["ok", "failed", "failed"]
    assert [e.status for e in read_log(log.path).entries] == ["ok", "failed", "failed"]


def test_a_log_that_cannot_be_written_is_counted_and_the_rows_are_answered(
    log: TrafficLog, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(arms(log))
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file)  # the disk fills up
    os.close(full)
    with serving(app) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": TEXTS[:4], "ids": IDS[:4]})
        assert ask(url, "GET", "/healthz").json["unlogged"] == 4
    assert answer.status == 200
    assert "predictions are not logged" in caplog.text


def test_an_unavailable_engine_of_a_variant_is_reported(log: TrafficLog) -> None:
    broken = SplitService(
        {"A": classifier(), "B": classifier(ScriptedEngine(gone=True), template="v2")}, SPLIT, log
    )
    with serving(create_app(broken)) as url:
        assert ask(url, "POST", "/v1/classify", {"rows": TEXTS[:9], "ids": IDS[:9]}).status == 503


def test_arms_that_do_not_belong_together_are_refused(log: TrafficLog) -> None:
    from ecomfs.estimators import FewShotClassifier

    other = FewShotClassifier(
        "product_category", ScriptedEngine(), k=1, embedder="hashed", calibration_size=0
    ).fit(["shoe", "tea"], ["Shoes", "Food"])
    with pytest.raises(ConfigError, match="'B' has another task"):
        SplitService({"A": classifier(), "B": other}, SPLIT, log)
    with pytest.raises(ConfigError, match="two or more"):
        SplitService({"A": classifier()}, TrafficSplit({"A": 1}), log)
    with pytest.raises(ConfigError, match="two or more"):
        SplitService({"A": classifier(), "C": classifier()}, SPLIT, log)


# -- gold labels that come later ---------------------------------------------------------------


@pytest.fixture
def served(log: TrafficLog) -> Path:
    """A log of 240 rows."""
    with serving(create_app(arms(log))) as url:
        for i in range(0, 240, 120):
            body = {"rows": TEXTS[i : i + 120], "ids": IDS[i : i + 120]}
            assert ask(url, "POST", "/v1/classify", body).status == 200
    return log.path


def gold_file(path: Path, labels: dict[str, str], header: str = "id,label,shop") -> Path:
    lines = [
        f"{id_},{label},{'north' if n % 3 else 'south'}"
        for n, (id_, label) in enumerate(labels.items())
    ]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_the_arms_are_compared_when_labels_have_come(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = read_log(served).entries
    # B is right on all of its rows, A on half of them.
    swap = {"positive": "negative", "negative": "positive"}
    labels = {
        e.id: e.label if e.variant == "B" or n % 2 else swap[e.label]
        for n, e in enumerate(entries)
        if e.label is not None
    }
    del labels[IDS[0]]
    labels |= {"elsewhere": "pos", IDS[1]: ""}
    gold = gold_file(tmp_path / "gold.csv", labels)
    out = tmp_path / "out.json"
    page = tmp_path / "report.html"
    ab(from_log=served, gold=gold, slices=["shop"], output=page)
    ab(from_log=served, gold=gold, slices=["shop"], output=out)
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["design"] == "unpaired"
    [c] = told["comparisons"]
    assert c["mcnemar"] is None
    assert c["decision"]["verdict"] == "b better"
    rows = {s["name"]: s["rows"] for s in told["systems"]}
    assert rows == Counter(SPLIT.of(i) for i in IDS[2:])
    assert told["systems"][1]["scores"]["accuracy"]["value"] == 1
    assert {s["value"] for s in c["slices"]["shop"]} == {"north", "south"}
    shown = " ".join(capsys.readouterr().out.split())
    assert "Unpaired: each row was classified by one variant" in shown
    assert "Fisher's exact test p < 0.0001" in shown
    assert "2 logged rows without a gold label" in shown
    assert "1 gold labels of rows that are not in the log" in shown
    assert "1 rows of the gold file without a label" in shown
    assert told["decision"] in shown
    assert "WARNING" not in shown
    html = page.read_text(encoding="utf-8")
    assert "answered different rows" in html
    assert "McNemar" not in html


def test_bad_gold_is_reported(served: Path, tmp_path: Path) -> None:
    from ecomfs.errors import (
        ColumnError,
        DuplicateIdError,
        EmptyInputError,
        InputError,
        MissingFileError,
        UnknownLabelError,
    )

    path = tmp_path / "gold.csv"
    right = dict.fromkeys(IDS, "pos")

    def refused(error: type[Exception], match: str, **options: Any) -> None:
        with pytest.raises(error, match=match):
            ab(from_log=served, gold=path, **options)

    refused(MissingFileError, r"gold\.csv")
    path.write_text("id,label\n")
    refused(EmptyInputError, r"gold\.csv")
    gold_file(path, right, header="row,label,shop")
    refused(ColumnError, "'id'")
    ab(from_log=served, gold=path, id_column="row")
    gold_file(path, right, header="id,truth,shop")
    refused(ColumnError, "label")
    gold_file(path, {**right, IDS[9]: "sideways"})
    refused(UnknownLabelError, r"gold\.csv, row 'order-9'.*'sideways'")
    gold_file(path, {"elsewhere": "pos"})
    refused(EmptyInputError, "none of the 1 ids is in the log")
    gold_file(path, {i: "pos" for i in IDS if SPLIT.of(i) == "A"})
    refused(EmptyInputError, "no gold labels for rows of B")
    path.write_text("id,label\nx,pos\nx,neg\n")
    refused(DuplicateIdError, "line 3: id 'x' is already used on line 2")
    path.write_text("id,label\n,pos\n")
    refused(InputError, "line 2: column 'id' is empty")
    gold_file(path, dict.fromkeys(IDS, ""))
    refused(EmptyInputError, "no row has a label")
    gold_file(path, right)
    refused(ConfigError, "data with --from-log", data=path)
    refused(ConfigError, "sequential with --from-log", sequential=True)
    with pytest.raises(ConfigError, match="--gold is missing"):
        ab(from_log=served)


def test_gold_of_one_class_leaves_the_auc_undefined(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ab(from_log=served, gold=gold_file(tmp_path / "gold.csv", dict.fromkeys(IDS, "pos")))
    assert "AUC of A is undefined" in " ".join(capsys.readouterr().out.split())


def test_arms_of_the_wrong_size_are_a_warning(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = served.read_text(encoding="utf-8").splitlines()
    kept = [x for n, x in enumerate(lines) if '"variant":"B"' not in x or n % 3 == 0]
    served.write_text("\n".join(kept) + "\n", encoding="utf-8")
    ab(from_log=served, gold=gold_file(tmp_path / "gold.csv", dict.fromkeys(IDS, "pos")))
    assert "WARNING: the group sizes do not match the weights" in capsys.readouterr().out


# -- the command -------------------------------------------------------------------------------


def test_the_command_wants_variants_and_a_log_together(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with pytest.raises(ConfigError, match="--variant without --log"):
        serve(task="review_sentiment", examples="pool.csv", port=0, variant=["A: k=1", "B: k=2"])
    with pytest.raises(ConfigError, match="--log without --variant"):
        serve(task="review_sentiment", examples="pool.csv", port=0, log=log)
    pool = tmp_path / "pool.csv"
    pool.write_text("text,label\nfine,pos\nbad,neg\n", encoding="utf-8")
    given = {"task": "review_sentiment", "examples": str(pool), "port": 0}
    with pytest.raises(ConfigError, match="1 variant to compare"):
        serve(**given, variant=["A: k=1"], log=log)
    with pytest.raises(ConfigError, match="are the same"):
        serve(**given, variant=["A: k=1", "B: k=1 weight=9"], log=log)
    with pytest.raises(ConfigError, match=r"no option 'templates'.*did you mean 'template'"):
        serve(**given, variant=["k=1", "templates=v2"], log=log)
    assert not log.exists()


def test_one_variant_ranks_all_items_of_a_request(log: TrafficLog) -> None:
    """Scores of two variants cannot be compared, so the ids of items choose no variant."""
    items = [{"id": IDS[i], "fields": {"text": TEXTS[i]}} for i in range(12)]
    body = {"user": {}, "positive": "positive", "items": items}
    with serving(create_app(arms(log))) as url:
        got = ask(url, "POST", "/v1/rank", body).json["items"]
    wanted = {
        p.id: p.probabilities["positive"] for p in classifier().classify(TEXTS[:12], IDS[:12])
    }
    assert {item["id"]: item["score"] for item in got} == wanted


def test_a_task_with_several_labels_per_row_is_refused_before_it_is_served(log: TrafficLog) -> None:
    rows = {"a": "quality_good", "b": "quality_bad|service_bad", "c": "service_bad"}
    several = [Example(i, {"text": i}, label) for i, label in rows.items()]
    options: dict[str, Any] = {"engine": None, "embedder": "hashed"}
    fits = {name: classifier_of("review_aspects", **options).fit(several) for name in "AB"}
    with pytest.raises(ConfigError, match="several labels per row"):
        SplitService(fits, SPLIT, log)
