"""Labels through every input and output are unchanged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine
from serving import ask, serving
from sqlalchemy import create_engine

from ecomfs.batch import read_examples, score_table
from ecomfs.client import Client
from ecomfs.errors import InputError
from ecomfs.estimators import FewShotClassifier
from ecomfs.evaluation.evaluate import systems, unknown_labels
from ecomfs.serve import create_app
from ecomfs.task import load_task
from ecomfs.types import Example
from ecomfs_eval.reading import from_file

openpyxl = pytest.importorskip("openpyxl")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CATEGORY = load_task("product_category")
FORMATS = (".csv", ".jsonl", ".parquet", ".xlsx", ".db")
SPACES = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
    .map(str.strip)
    .filter(bool),
    min_size=2,
    max_size=20,
    unique=True,
)


def write(path: Path, columns: dict[str, list[Any]]) -> str:
    """A table in the format that its name says, values with the types they have."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".csv":
        pd.DataFrame(columns).to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        book.active.append(list(columns))  # type: ignore[union-attr]
        for row in rows:
            book.active.append([None if _nan(v) else v for v in row.values()])  # type: ignore[union-attr]
        book.save(path)
    else:
        engine = create_engine(f"sqlite:///{path}")
        pd.DataFrame(columns).to_sql("t", engine, index=False)
        engine.dispose()
        return f"sql:sqlite:///{path}#SELECT * FROM t"
    return str(path)


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def fitted(labels: list[str], **options: Any) -> FewShotClassifier:
    shown = [Example(str(i), {"title": f"item {i}"}, y) for i, y in enumerate(labels * 2)]
    options = {"k": 2, "embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    return FewShotClassifier("product_category", ScriptedEngine(), **options).fit(shown)


@settings(max_examples=25, deadline=None)
@given(SPACES, st.sampled_from([".csv", ".jsonl", ".parquet"]))
def test_any_labels_come_back_from_a_file_as_they_went_in(labels: list[str], suffix: str) -> None:
    with TemporaryDirectory() as folder:
        titles = [f"item {i}" for i in range(len(labels))]
        source = write(Path(folder) / f"pool{suffix}", {"title": titles, "label": labels})
        assert [e.label for e in read_examples(source, CATEGORY)] == labels


@settings(max_examples=8, deadline=None)
@given(SPACES)
def test_any_labels_come_back_over_http_as_they_went_in(labels: list[str]) -> None:
    clf = fitted(labels, readout="codes")
    with serving(create_app(clf)) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": ["item 0", "item 1"]}).json
        assert sorted(answer["labels"]) == sorted(labels)
        for prediction in answer["predictions"]:
            assert prediction["label"] in labels
            assert list(prediction["probabilities"]) == answer["labels"]
        with Client(url) as client:
            assert {p.label for p in client.classify(["item 0", "item 1"])} <= set(labels)


def test_a_missing_text_over_http_is_an_empty_cell() -> None:
    with serving(create_app(fitted(["a", "b"]))) as url:
        body = b'{"rows": [{"title": NaN}, {"title": null}, {"title": "item"}]}'
        answer = ask(url, "POST", "/v1/classify", body, {"Content-Type": "application/json"})
        errors = [p["error"] for p in answer.json["predictions"]]
        assert errors == ["field 'title' is empty", "field 'title' is empty", ""]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_floats_of_a_column_with_a_gap_are_their_integers(
    tmp_path: Path, suffix: str
) -> None:
    pool = {"title": ["a", "b", "c"], "label": [1.0, 10.0, 2.0]}
    clf = fitted(["10", "2", "1"])
    assert clf.pipeline_.space.names == ("1", "2", "10")
    labels = [e.label for e in read_examples(write(tmp_path / f"p{suffix}", pool), CATEGORY)]
    assert [clf.pipeline_.space.true_label(label) for label in labels] == ["1", "10", "2"]
    table = {"title": ["a", "b", "c", "d"], "truth": [1.0, 10.0, math.nan, 2.0]}
    source = write(tmp_path / f"t{suffix}", table)
    result = score_table(source, tmp_path / "o.csv", clf.pipeline_, gold_column="truth")
    assert result.gold is not None
    assert result.gold.labels == ["1", "10", "", "2"]
    assert not unknown_labels(result.gold.labels, clf.pipeline_.space)


@pytest.mark.parametrize("suffix", FORMATS)
def test_nan_is_a_missing_label_and_an_empty_text_in_every_format(
    tmp_path: Path, suffix: str
) -> None:
    table = {"title": ["a", "b", "c"], "label": [1.0, math.nan, 2.0]}
    with pytest.raises(InputError, match="column 'label' is empty"):
        read_examples(write(tmp_path / f"p{suffix}", table), CATEGORY)
    rows = {"title": [1.0, math.nan, 2.5], "label": ["x", "y", "z"]}
    with pytest.raises(InputError, match="column 'title' is empty"):
        read_examples(write(tmp_path / f"t{suffix}", rows), CATEGORY)


def test_a_cell_of_text_that_says_nan_stays_text_unless_the_others_are_numbers(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pool.csv"
    path.write_text("title,label\nnan,nan\nNA,NA\nNaN,roti\n", encoding="utf-8")
    found = read_examples(path, CATEGORY)
    assert [(e.fields["title"], e.label) for e in found] == [
        ("nan", "nan"),
        ("NA", "NA"),
        ("NaN", "roti"),
    ]
    path.write_text("title,label\na,1\nb,nan\nc,0\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: column 'label' is empty"):
        read_examples(path, CATEGORY)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_infinite_number_is_refused_as_a_label(tmp_path: Path, suffix: str) -> None:
    table = {"title": ["a", "b"], "label": [1.0, math.inf]}
    with pytest.raises(InputError, match=r"line [23], column 'label'.*infinite"):
        read_examples(write(tmp_path / f"p{suffix}", table), CATEGORY)
    if suffix == ".jsonl":
        mixed = write(tmp_path / "m.jsonl", {"title": ["a", "b"], "label": ["x", -math.inf]})
        with pytest.raises(InputError, match="infinite"):
            read_examples(mixed, CATEGORY)


def test_a_true_label_that_no_example_has_is_named_and_counted(tmp_path: Path) -> None:
    clf = fitted(["A", "B"])
    source = write(tmp_path / "t.csv", {"title": list("abcd"), "truth": ["A", "A+++", "a", "A+++"]})
    gold = score_table(source, tmp_path / "o.csv", clf.pipeline_, gold_column="truth").gold
    assert gold is not None
    assert gold.labels == ["A", "A+++", "A", "A+++"]
    assert unknown_labels(gold.labels, clf.pipeline_.space) == (
        "2 rows have a true label that no labelled example has, and count as wrong: 'A+++' (2)"
    )
    for predictions in systems(gold, clf.pipeline_).values():
        assert predictions.gold == ("A", "A+++", "A", "A+++")
        assert "A+++" not in predictions.predicted
    frame = pd.DataFrame({"title": list("abcd"), "truth": ["A", "A+++", "a", None]})
    with pytest.warns(UserWarning, match=r"1 row has a true label .* 'A\+\+\+' \(1\)"):
        frame.ecomfs.evaluate("truth", clf)


def test_float_gold_of_a_frame_is_its_integers() -> None:
    clf = fitted(["0", "1"])
    frame = pd.DataFrame({"title": ["a", "b", "c"], "truth": [1.0, None, 0.0]})
    out = frame.ecomfs.evaluate("truth", clf)  # a label nobody has would warn
    assert set(out.loc[out["metric"] == "accuracy", "n"]) == {2}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("gold", [[1, 0, 1], [1.0, 0.0, 1.0], ["1", "0", "1"], [True, False, True]])
@pytest.mark.parametrize("gap", [False, True])
def test_predictions_of_any_system_are_scored_by_the_same_rule(
    tmp_path: Path, suffix: str, gold: list[Any], gap: bool
) -> None:
    answers = [1.0, 0.0, math.nan] if gap else [1, 0, 0]
    if isinstance(gold[0], bool):
        answers = [True, False, None] if gap else [True, False, False]  # type: ignore[list-item]
    columns = {"id": ["a", "b", "c"], "label": gold, "predicted": answers}
    found = from_file(write(tmp_path / f"p{suffix}", columns))
    names = {"true", "false"} if isinstance(gold[0], bool) else {"1", "0"}
    assert {label.casefold() for label in found.labels} == names
    assert found.gold[:2] == found.predicted[:2]
    assert found.predicted[2] == (None if gap else found.gold[1])


def test_probability_columns_of_float_classes_belong_to_integer_labels(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "label": [10, 9], "p_9.0": [0.2, 0.7], "p_10.0": [0.8, 0.3]}
    found = from_file(write(tmp_path / "p.csv", columns))
    assert (found.labels, found.predicted, found.positive) == (("9", "10"), ("10", "9"), "10")
    columns = {"id": ["a", "b"], "label": ["10", "9"], "predicted": ["9.0", "10.00"]}
    found = from_file(write(tmp_path / "q.csv", columns))
    assert (found.labels, found.predicted, found.positive) == (("9", "10"), ("9", "10"), "10")


def test_labels_of_a_predictions_file_that_differ_by_a_sign_or_case_stay_apart(
    tmp_path: Path,
) -> None:
    gold = ["C", "C#", "a", "A", "1", "1.0"]
    columns = {"id": list("abcdef"), "label": gold, "predicted": ["C#", "C", "A", "a", "1.0", "1"]}
    found = from_file(write(tmp_path / "p.csv", columns))
    assert set(found.labels) == set(gold)
    assert not any(g == p for g, p in zip(found.gold, found.predicted, strict=True))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_list_or_an_object_in_a_file_is_no_label_and_no_text(tmp_path: Path, suffix: str) -> None:
    for name, odd in (("list", ["a"]), ("object", {"a": 1})):
        titles = ["x", "y"]
        pool = write(
            tmp_path / f"{name}{suffix}", {"id": [1, 2], "title": titles, "label": [odd] * 2}
        )
        with pytest.raises(InputError, match=r"column 'label'.* is a list or an object"):
            read_examples(pool, CATEGORY)
        source = write(tmp_path / f"in-{name}{suffix}", {"id": [1, 2], "title": [odd] * 2})
        score_table(source, tmp_path / "out.csv", fitted(["a", "b"]))
        out = pd.read_csv(tmp_path / "out.csv")
        assert list(out["status"]) == ["failed"] * 2
        assert out["error"].str.contains("of type list or object, not a text").all()
