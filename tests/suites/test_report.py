from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import ScriptedEngine
from small_suite import SAMPLES, small

from ecomfs.cli import run as cli
from ecomfs.errors import ConfigError, InputError, MissingFileError
from ecomfs.suites import Suite, compare_results, run_suite, suite_board, write_details
from ecomfs.suites.data import read_data
from ecomfs_eval import METRICS, Bootstrap, Predictions, scores
from ecomfs_eval.compare import compare
from ecomfs_eval.manifest import read_results
from ecomfs_eval.repeated import average, average_difference

HOW = Bootstrap(resamples=200)
PUBLISHED = [{"system": "Others", "value": 0.9, "shots": 16, "source": "a paper", "note": "tuned"}]


def suite() -> Suite:
    datasets = [d.model_dump() for d in small().datasets]
    datasets[0] |= {"published": PUBLISHED, "note": "Written for the samples."}
    datasets[1]["seeds"] = [0]
    return small(shots=[8, 16], datasets=datasets)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run_suite(suite(), folder, data=SAMPLES, engine=ScriptedEngine())
    return folder


def cell(results: Path, name: str) -> dict[str, Any]:
    return {p.name: p for p in read_results(results / "cells" / name).systems}


def test_the_report_of_one_run_equals_the_harness(results: Path) -> None:
    board = suite_board(results, how=HOW)
    group = next(g for g in board.groups if (g.name, g.size) == ("next", 16))
    systems = cell(results, "next/n16-s0")
    for name, p in systems.items():
        expected = scores({m: METRICS[m] for m in board.metrics}, p, HOW)
        assert {m: a.score for m, a in group.averages[name].items()} == expected
    best = group.best_baseline
    assert best in ("knn", "majority", "repeat_last")
    values = {n: group.averages[n]["accuracy"].score.value for n in systems if ":" not in n}
    assert values[best] == max(v for n, v in values.items() if n != "ecomfs")
    both = compare(systems[best], systems["ecomfs"], metrics=["accuracy"], how=HOW)
    assert group.differences[best]["accuracy"].delta == both["accuracy"].delta
    assert group.differences[best]["accuracy"].interval == both["accuracy"].interval


def test_seeds_are_averaged_and_paired(results: Path) -> None:
    board = suite_board(results, only=["reviews"], how=HOW)
    assert [(g.name, g.size, g.runs, g.rows) for g in board.groups] == [
        ("reviews", 8, 2, 12),
        ("reviews", 16, 2, 12),
    ]
    group = board.groups[1]
    cells = [cell(results, f"reviews/n16-s{seed}") for seed in (0, 1)]
    ours = [c["ecomfs"] for c in cells]
    assert group.averages["ecomfs"] == average(ours, board.metrics, HOW)
    mean = np.mean(
        [np.mean([a == b for a, b in zip(p.predicted, p.gold, strict=True)]) for p in ours]
    )
    assert group.averages["ecomfs"]["accuracy"].score.value == pytest.approx(mean)
    knn = [c["knn"] for c in cells]
    if "knn" in group.differences:
        expected = average_difference(knn, ours, board.metrics, HOW)
        assert group.differences["knn"] == expected
    assert "ecomfs:read" in group.differences


def test_another_system_can_be_the_main_one(results: Path) -> None:
    board = suite_board(results, main="knn", metrics=["log_loss"], how=HOW)
    assert {g.main for g in board.groups} == {"knn"}
    with pytest.raises(ConfigError, match="no system 'svm' in every run"):
        suite_board(results, main="svm", how=HOW)
    with pytest.raises(ConfigError, match="acuracy"):
        suite_board(results, metrics=["acuracy"], how=HOW)
    with pytest.raises(MissingFileError, match="no finished cell"):
        suite_board(results, only=["nothing"], how=HOW)


def test_the_command_prints_and_writes_the_same_numbers(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "report", str(results), "-o", str(tmp_path), "--resamples", "200"]
    assert cli(arguments) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert len(found["groups"]) == 4
    for group in found["groups"]:
        score = group["systems"]["ecomfs"]["accuracy"]["score"]
        value, low = f"{100 * score['value']:.1f} %", f"{100 * score['interval']['low']:.1f}, "
        assert f'{value}<span class="soft">[{low}' in page
        assert f"{value} \\[{low}" in text
        assert f"{group['name']}: {group['size']} labelled examples" in printed
    assert list(found["learning_curves"]) == ["reviews", "next"]
    for where in (page, text):
        assert "a paper; tuned" in where
        assert "Written for the samples." in where
        assert "90.0 %" in where
    assert "<script" not in page


def test_two_results_are_compared_cell_by_cell(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = suite()
    data = changed.model_dump()
    data["options"]["k"] = 0
    run_suite(
        Suite.model_validate(data),
        tmp_path,
        data=SAMPLES,
        engine=ScriptedEngine(),
        only=["reviews"],
    )
    found = compare_results(tmp_path, results, how=HOW)
    assert [(c.name, c.shots, c.runs) for c in found.changed] == [
        ("reviews", 16, 2),
        ("reviews", 8, 2),
    ]
    assert found.only_new == ()
    assert found.only_old == ("cells/next/n16-s0", "cells/next/n8-s0")
    one = found.changed[0]
    assert len(one.causes) == 1
    assert one.causes[0].startswith("options was {'calibration_size': 0")
    new, old = (
        average([cell(r, f"reviews/n16-s{s}")["ecomfs"] for s in (0, 1)], ["accuracy"], HOW)
        for r in (tmp_path, results)
    )
    delta = new["accuracy"].score.value - old["accuracy"].score.value
    assert one.differences["accuracy"].delta == pytest.approx(delta)
    assert cli(["eval", "compare", str(tmp_path), str(results), "--resamples", "200"]) == 0
    out = capsys.readouterr().out
    assert "only in the old results: cells/next/n16-s0" in out
    same = compare_results(results, results, how=HOW)
    assert all(c.causes == () for c in same.changed)
    assert {d.delta for c in same.changed for d in c.differences.values() if not d.note} <= {0.0}
    with pytest.raises(ConfigError, match="no system 'svm'"):
        compare_results(results, results, system="svm", how=HOW)


def test_details_are_full_reports_of_the_first_seed(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "report", str(results), "-o", str(tmp_path), "--resamples", "100"]
    assert cli([*arguments, "--only", "reviews", "--details"]) == 0
    assert "2 full reports" in capsys.readouterr().err
    pages = {p.stem for p in tmp_path.glob("*.html")}
    assert pages == {"report", "reviews-n8-s0", "reviews-n16-s0"}
    found = json.loads((tmp_path / "reviews-n16-s0.json").read_text(encoding="utf-8"))
    assert found["systems"][0]["name"] == "ecomfs"
    assert found["systems"][0]["worst"]
    with pytest.raises(ConfigError, match="no system 'svm'"):
        write_details(results, tmp_path, main="svm")


def test_a_changed_file_is_not_reported(results: Path, tmp_path: Path) -> None:
    run_suite(suite(), tmp_path, data=SAMPLES, engine=ScriptedEngine(), only=["next"], shots=[8])
    table = next(tmp_path.glob("cells/next/n8-s0/predictions/01*"))
    table.write_bytes(table.read_bytes() + b"x")
    with pytest.raises(InputError, match="differs from the one in the manifest"):
        suite_board(tmp_path, how=HOW)


def test_the_command_runs_a_suite_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(suite().model_dump_json(), encoding="utf-8")  # JSON is YAML
    monkeypatch.setattr("ecomfs.suites.run.shared_engine", lambda spec: ScriptedEngine())
    output = str(tmp_path / "out")
    arguments = ["eval", "run", str(path), "-o", output, "--data", str(SAMPLES), "-q"]
    assert cli([*arguments, "--only", "reviews", "--shots", "8", "--seed", "1"]) == 0
    assert "1 cells run" in capsys.readouterr().err
    assert cli([*arguments, "--only", "reviews", "--shots", "8"]) == 0
    assert "1 cells run, 1 were done" in " ".join(capsys.readouterr().err.split())
    assert cli([*arguments, "--shots", "few"]) == 2
    assert "--shots 'few' (use a number, or all)" in capsys.readouterr().err
    assert cli([*arguments, "--only", "reviews", "--rows", "3"]) == 2
    assert "--redo" in capsys.readouterr().err
    assert cli(["eval", "report", str(tmp_path / "none")]) == 2
    assert "ecomfs eval run wrote" in capsys.readouterr().err
    assert cli(["eval", "list"]) == 0
    assert "banking77" in capsys.readouterr().out


def test_a_system_of_another_library_is_compared_by_its_file(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data = read_data(suite().datasets[0], SAMPLES)
    labelled = data.examples(16, 0)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model.fit([e.fields["text"] for e in labelled], [e.label for e in labelled])
    texts = [row.fields["text"] for row in data.test]
    table = pd.DataFrame(
        {
            "id": [row.id for row in data.test],
            "label": [row.label for row in data.test],
            "predicted": model.predict(texts),
        }
    )
    for i, label in enumerate(model.classes_):
        table[f"p_{label}"] = model.predict_proba(texts)[:, i]
    table.to_csv(tmp_path / "other.csv", index=False)
    theirs = Predictions.from_file(tmp_path / "other.csv", name="other")
    file = next((results / "cells/reviews/n16-s0/predictions").glob("01-*.parquet"))
    ours = Predictions.from_file(file, name="ecomfs")
    found = compare(theirs, ours, metrics=["accuracy", "log_loss"], how=HOW)
    assert found.rows == 12
    assert found["log_loss"].delta is not None


def test_folds_of_a_series_are_averaged_together(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lines = ["id,text,label,fold"] + [
        f"{'p' if i < 24 else 't'}{i},text number {i},{'pos' if i % 3 else 'neg'},{i % 2}"
        for i in range(48)
    ]
    (data / "pool.csv").write_text("\n".join(lines[:25]) + "\n")
    (data / "dev.csv").write_text("\n".join([lines[0], *lines[25:]]) + "\n")
    folds = [
        {
            "name": f"fold{k}",
            "series": "folds",
            "task": "review_sentiment",
            "shots": ["all"],
            "pool": {"file": "pool.csv", "filter": {"fold": k}},
            "test": {"file": "dev.csv", "filter": {"fold": k}},
            "published": PUBLISHED if k == 0 else [],
        }
        for k in (0, 1)
    ]
    run_suite(
        small(seeds=[0], datasets=folds), tmp_path / "out", data=data, engine=ScriptedEngine()
    )
    board = suite_board(tmp_path / "out", how=HOW)
    [group] = board.groups
    assert (group.name, group.size, group.runs, group.rows) == ("folds", 12, 2, 24)
    assert list(board.published) == ["folds"]
    parts = [cell(tmp_path / "out", f"fold{k}/nall-s0")["ecomfs"] for k in (0, 1)]
    assert group.averages["ecomfs"] == average(parts, board.metrics, HOW)
