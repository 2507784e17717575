"""Predictions files of any system: formats, encodings, names of columns, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import predictions, quick

from ecomfs_eval import ColumnNames, EvalError, Predictions
from ecomfs_eval import errors as e
from ecomfs_eval.reading import from_file, from_frame

CSV = """id,label,predicted,p_no,p_yes,lang
r1,no,no,0.9,0.1,en
r2,yes,no,0.6,0.4,zh
"""


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_western_text_is_not_read_as_chinese(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,label,predicted\n1,schön und groß,übel\n2,Größe,Größe\n", encoding="cp1252")
    with pytest.raises(e.DataError, match="neither UTF-8 nor GB18030 text, but perhaps"):
        from_file(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_csv_in_the_encodings_of_the_field(tmp_path: Path, encoding: str) -> None:
    text = "id,label,predicted\nr1,好评,差评\nr2,差评,差评\n"
    p = Predictions.from_file(write(tmp_path / "run.csv", text, encoding))
    assert p.gold == ("好评", "差评")
    assert p.name == "run"


def test_the_three_formats_give_the_same_predictions(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(write(tmp_path / "a.csv", CSV))
    lines = "".join(json.dumps(r) + "\n" for r in frame.to_dict("records"))
    write(tmp_path / "a.jsonl", lines)
    frame.to_parquet(tmp_path / "a.parquet")
    columns = ColumnNames(slices=("lang",))
    read = [
        Predictions.from_file(tmp_path / "a.csv", columns),
        Predictions.from_file(tmp_path / "a.jsonl", columns),
        Predictions.from_file(tmp_path / "a.parquet", columns),
        Predictions.from_frame(frame, columns, name="a"),
    ]
    for p in read:
        assert p.to_frame().to_dict() == read[0].to_frame().to_dict()
        assert p.slices == {"lang": ("en", "zh")}
        assert p.labels == ("no", "yes")


@quick
@given(p=predictions())
def test_a_frame_reads_back(p: Predictions) -> None:
    q = from_frame(p.to_frame(), labels=p.labels)
    assert (q.ids, q.gold, q.predicted, q.status) == (p.ids, p.gold, p.predicted, p.status)
    assert p.probabilities is not None
    assert q.probabilities is not None
    np.testing.assert_allclose(q.probabilities, p.probabilities, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", e.EmptyDataError, "the file is empty"),
        ("id,label,predicted\n", e.EmptyDataError, "no rows"),
        ("id,label,label\nr1,a,a\n", e.DataError, "column 'label' occurs twice"),
        ("key,label,predicted\nr1,a,a\n", e.DataError, "no column 'id'"),
        ("id,truth,predicted\nr1,a,a\n", e.DataError, "no column of gold labels"),
        ("id,label\nr1,a\n", e.DataError, "neither a column of predicted labels"),
        ("id,label,predicted\nr1,,a\n", e.DataError, r"row 1 \(id 'r1'\) has no gold label"),
        ("id,label,predicted\n,a,a\n", e.DataError, "row 1 has no id"),
        ("id,label,predicted\nr1,a,a,b\n", e.DataError, r"row 1 \(line 2\) has 4 fields"),
        ("id,label,predicted\nr1,a\n", e.DataError, r"row 1 \(line 2\) has 2 fields"),
        ('id,label,predicted\nr1,a,"a\n', e.DataError, "broken quoting near line"),
        ("id,label,p_a,p_b\nr1,a,0.5,half\n", e.DataError, "row 1, column 'p_b': 'half'"),
        ("id,label,p_a,p_b\nr1,a,0.5,0.1\n", e.DataError, "row 1 .*sum to 0.6"),
        ("id,label,p_a,p_b\nr1,c,0.5,0.5\n", e.DataError, "gold label 'c'"),
        ("id,label,predicted,p_a,p_b\nr1,a,c,1,0\n", e.DataError, "predicted label 'c'"),
        ("id,label,predicted\nr1,a,a\nr1,a,a\n", e.DataError, "id 'r1' is used by rows 1 and 2"),
        ("id,label,predicted,status\nr1,a,a,fine\n", e.DataError, "status 'fine'"),
    ],
)
def test_bad_files_are_typed_errors(
    tmp_path: Path, text: str, error: type[EvalError], message: str
) -> None:
    path = write(tmp_path / "run.csv", text)
    with pytest.raises(error, match=message) as caught:
        from_file(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.jsonl", b'{"id": "r1"\n', e.DataError, "line 1 is not JSON"),
        ("a.jsonl", b"\n[1]\n", e.DataError, "line 2 is not a JSON object"),
        ("a.parquet", b"id,label", e.DataError, "not a Parquet file"),
        ("a.xlsx", b"x", e.OptionError, "cannot tell the format"),
        ("a.csv", b"\x81\x00\xff\xff", e.DataError, "neither UTF-8 nor GB18030"),
    ],
)
def test_broken_files(
    tmp_path: Path, name: str, content: bytes, error: type[EvalError], message: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        from_file(tmp_path / name)


def test_an_empty_first_line(tmp_path: Path) -> None:
    for text in ("\ufeff", "\n\n" + CSV):
        with pytest.raises(e.DataError, match=r"a.csv: the (first line|file) is empty"):
            from_file(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000])
def test_json_that_python_cannot_hold(tmp_path: Path, value: str) -> None:
    text = f'{{"id": 1, "gold": "a", "predicted": "a"}}\n{{"id": {value}\n'
    with pytest.raises(e.DataError, match="line 2 is not JSON"):
        from_file(write(tmp_path / "a.jsonl", text))


def test_long_numbers_beside_a_gap_keep_their_digits(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "gold": 1234567890123456789, "predicted": 1234567890123456789, "order": 2**60},
        {"id": 2, "gold": 1234567890123456788},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    p = from_file(write(tmp_path / "a.jsonl", text), ColumnNames(extra=("order",)))
    assert p.predicted == ("1234567890123456789", None)
    assert p.gold == ("1234567890123456789", "1234567890123456788")
    assert p.extra == {"order": (str(2**60), "")}


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(e.NoSuchFileError, match=r"none\.csv: no such file"):
        from_file(tmp_path / "none.csv")


def test_text_that_is_not_a_label_can_be_counted_as_invalid() -> None:
    frame = pd.DataFrame(
        {"id": ["1", "2"], "label": ["a", "b"], "predicted": ["a", "I think it is b"]}
    )
    p = from_frame(frame, unknown_predicted="invalid")
    assert p.status == ("ok", "invalid")
    assert p.extra["answer"] == ("", "I think it is b")
    assert p.labels == ("a", "b")


def test_numbers_as_labels_survive_pandas() -> None:
    # A gap turns an integer column into floats.
    frame = pd.DataFrame({"id": [1, 2], "label": [0, 1], "predicted": [1.0, np.nan]})
    p = from_frame(frame)
    assert (p.ids, p.gold, p.predicted) == (("1", "2"), ("0", "1"), ("1", None))
    assert p.status == ("ok", "invalid")


def test_columns_can_be_named(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "key": ["1", "2"],
            "truth": ["a", "b"],
            "guess": ["a", "a"],
            "prob:a": [0.7, 0.6],
            "prob:b": [0.3, 0.4],
            "user": ["u", "v"],
            "list": ["l", "l"],
            "secs": [0.5, 0.7],
            "text": ["x", "y"],
        }
    )
    p = from_frame(
        frame,
        ColumnNames(
            id="key",
            gold="truth",
            predicted="guess",
            probability_prefix="prob:",
            group="user",
            query="list",
            latency="secs",
            extra=("text",),
        ),
    )
    assert p.labels == ("a", "b")
    assert (p.groups, p.queries, p.extra) == (("u", "v"), ("l", "l"), {"text": ("x", "y")})
    assert p.latency is not None
    assert p.latency.tolist() == [0.5, 0.7]
    with pytest.raises(e.DataError, match="no column 'nope'"):
        from_frame(frame, ColumnNames(id="key", gold="nope"))
    with pytest.raises(e.DataError, match="row 1 has no value in column 'user'"):
        from_frame(
            frame.assign(user=["", "v"]),
            ColumnNames(id="key", gold="truth", predicted="guess", group="user"),
        )


def test_rows_can_be_numbered() -> None:
    p = from_frame(pd.DataFrame({"label": ["a"], "prediction": ["a"]}), ColumnNames(id=""))
    assert p.ids == ("1",)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["no"], e.DataError, "column 'p_yes' belongs to no label"),
        (["no", "yes", "maybe"], e.DataError, "no column 'p_maybe'"),
    ],
)
def test_a_given_label_space_must_fit(
    tmp_path: Path, labels: list[str], error: type[EvalError], message: str
) -> None:
    with pytest.raises(error, match=message):
        from_file(write(tmp_path / "run.csv", CSV), labels=labels)


def test_a_scikit_learn_pipeline_writes_a_file_that_is_scored_without_code(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    texts = ["good phone", "bad phone", "good case", "bad case"]
    gold = ["pos", "neg", "pos", "neg"]
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, gold)
    table: Any = model.predict_proba(texts)
    frame = pd.DataFrame(table, columns=[f"p_{c}" for c in model.classes_])
    frame.insert(0, "id", range(4))
    frame["label"] = gold
    frame["predicted"] = model.predict(texts)
    frame.to_csv(tmp_path / "nb.csv", index=False)
    from ecomfs_eval import summarise

    assert summarise(from_file(tmp_path / "nb.csv"))["accuracy"].value == 1
