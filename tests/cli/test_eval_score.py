"""``ecomfs eval score`` on predictions of another library."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("sklearn")

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

from ecomfs.cli import run

SAMPLES = Path(__file__).parents[2] / "samples" / "review_sentiment"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What two scikit-learn pipelines say of the sample reviews."""
    pool, test = pd.read_csv(SAMPLES / "pool.csv"), pd.read_csv(SAMPLES / "test.csv")
    files = {}
    for strength in (1, 100):
        model = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 3)), LogisticRegression(C=strength)
        ).fit(pool["text"], pool["label"])
        out = test[["id", "label"]].assign(prediction=model.predict(test["text"]))
        out[[f"p_{c}" for c in model.classes_]] = model.predict_proba(test["text"])
        files[f"c{strength}"] = tmp_path_factory.mktemp("written") / f"c{strength}.csv"
        out.to_csv(files[f"c{strength}"], index=False)
    return files


def test_a_file_of_scikit_learn_is_scored_as_it_is(
    written: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written["c1"]
    assert run(["eval", "score", str(path), "--report", str(tmp_path)]) == 0
    frame = pd.read_csv(path)
    accuracy = accuracy_score(frame["label"], frame["prediction"])
    shown = capsys.readouterr().out
    assert f"n = {len(frame)} rows" in shown
    assert f"{100 * accuracy:.1f} %" in shown
    page = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    f1 = f1_score(frame["label"], frame["prediction"], average="macro")
    assert page["systems"][0]["scores"]["f1_macro"]["value"] == pytest.approx(f1)


def test_two_files_are_compared_on_the_same_rows(
    written: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "score", *map(str, written.values())]) == 0
    shown = capsys.readouterr().out
    assert "c100 − c1 on" in shown
    assert "exact McNemar" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gold-column", "verdict"], "verdict"),
        (["--metric", "beauty"], "beauty"),
        (["--report-language", "fr", "--report", "x"], "--report-language 'fr' (use en or zh)"),
        (["--positive", "maybe"], "maybe"),
    ],
)
def test_options_that_do_not_fit(
    written: dict[str, Path],
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["eval", "score", str(written["c1"]), *options]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert not list(tmp_path.iterdir())


def test_other_rows_are_refused(
    written: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = written["c100"].read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "fewer.csv").write_text("".join(lines[:-3]), encoding="utf-8")
    assert run(["eval", "score", str(written["c1"]), str(tmp_path / "fewer.csv")]) == 2
    assert "3 rows are in c1 only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gold", "predicted", "accuracy"),
    [
        (["True", "False"], ["true", "false"], "100.0 %"),  # of pandas, and of Parquet or JSON
        (["Good", "BAD"], ["good", "Bad"], "100.0 %"),
        (["Apple", "apple"], ["apple", "apple"], "50.0 %"),
        (["Apple", "Apple"], ["apple", "Apple"], "50.0 %"),  # two labels: both are predicted
        (["Apple", "apple"], ["APPLE", "apple"], "50.0 %"),
    ],
)
def test_a_label_matches_by_case_where_one_label_has_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    gold: list[str],
    predicted: list[str],
    accuracy: str,
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "id,label,predicted\n1,{},{}\n2,{},{}\n".format(
            *[v for p in zip(gold, predicted, strict=True) for v in p]
        )
    )
    assert run(["eval", "score", str(path), "--resamples", "100"]) == 0
    assert f" {accuracy} " in capsys.readouterr().out
