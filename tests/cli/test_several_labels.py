"""Hierarchies and several labels per row: cards, tables, explanations, profiles, services and
metrics.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripted import ScriptedEngine
from serving import ask, serving

from ecomfs.batch import score_table
from ecomfs.cli import run
from ecomfs.engine.factory import NoEngine
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.task import load_task
from ecomfs.types import Example

WORDS = {"late": "came late", "broken": "in pieces", "rude": "shouted at me"}
SETS = [["late"], ["broken"], ["rude"], ["late", "broken"], ["rude", "late"], []]
LEAVES = {
    "Home > Lamps": "desk lamp",
    "Home > Chairs": "oak chair",
    "Toys > Games": "board game",
    "Toys > Dolls": "doll with hair",
    "Food > Tea": "green tea",
}
QUICK = ["--engine", "scripted", "--embedder", "hashed", "--k", "2", "-q"]
TASKS = ("complaints", "shop")


def card(name: str, field: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "description": "What is it?",
        "fields": [{"name": field, "title": field}],
        "label_title": "Label",
        "instruction": "Decide.",
        "language": "en",
        **more,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("COLUMNS", "200")
        patched.setenv("ECOMFS_CACHE", str(folder / "cache"))
        engine = ScriptedEngine()
        for name in ("estimators.base", "engine.shared"):
            patched.setattr(
                f"ecomfs.{name}.shared_engine",
                lambda spec: NoEngine() if spec == "none" else engine,
            )
        patched.setattr("ecomfs.serve.server.run", lambda app, sock, on_ready, **_: on_ready())
        labels = [
            {"name": name, "words": name, "definition": f"Something {words}."}
            for name, words in WORDS.items()
        ]
        cards = (
            card("complaints", "text", label_space="closed", label_separator="|", labels=labels),
            card("shop", "title", label_space="open", hierarchy=" > "),
        )
        for each in cards:
            Path("prompts", each["name"]).mkdir(parents=True)
            Path("prompts", each["name"], "task.yaml").write_text(yaml.safe_dump(each))
        with Path("complaints.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["id", "text", "label"])
            for i in range(24):
                own = SETS[i % len(SETS)]
                text = " and ".join(WORDS[x] for x in own) or "all fine"
                out.writerow([f"c{i}", f"{text} {i}", "|".join(own) or "[]"])
        with Path("shop.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["id", "title", "label"])
            for i in range(30):
                label, text = [*LEAVES.items()][i % len(LEAVES)]
                out.writerow([f"s{i}", f"{text} {i}", label])
        yield folder


def of(task: str, *more: str) -> list[str]:
    return ["-t", task, "-e", f"{task}.csv", *QUICK, *more]


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return [*csv.DictReader(file)]


@pytest.mark.parametrize("task", TASKS)
def test_a_table_is_scored_by_the_card(
    place: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--calibration-size", "8", "--gold-column", "label", "--probabilities"]
    assert run(["score", f"{task}.csv", *of(task, *more), "-o", f"{task}.out.csv", "--json"]) == 0
    [table] = json.loads(capsys.readouterr().out)["result"]["tables"]
    found = rows(f"{task}.out.csv")
    assert [row["status"] for row in found] == ["ok"] * len(found)
    if task == "complaints":
        cells = {tuple(load_task(task).labels_of(row["predicted"], "cell")) for row in found}
        assert all(set(cell) <= set(WORDS) for cell in cells)
        assert sum(table["labels"].values()) == sum(
            len(load_task(task).labels_of(row["predicted"], "cell")) for row in found
        )
        row = found[0]
        given = load_task(task).labels_of(row["predicted"], "cell")
        sure = [p if name in given else 1 - p for name in WORDS for p in [float(row[f"p_{name}"])]]
        assert float(row["confidence"]) == pytest.approx(min(sure), abs=1e-5)
        assert set(table["metrics"]) == {"ecomfs", "kNN only", "majority"}
        assert set(table["metrics"]["ecomfs"]) == {
            "f1_micro",
            "f1_macro",
            "subset_accuracy",
            "jaccard",
            "hamming_loss",
        }
    else:
        assert {row["predicted"] for row in found} <= set(LEAVES)
        assert sum(float(found[0][f"p_{leaf}"]) for leaf in LEAVES) == pytest.approx(1, abs=1e-4)
        metrics = table["metrics"]
        assert set(metrics) == {"ecomfs", "kNN only", "majority"}
        whole, parent = (metrics["ecomfs"][m]["value"] for m in ("accuracy", "level_accuracy@1"))
        assert whole <= parent  # a right leaf has a right parent


@pytest.mark.parametrize("task", TASKS)
def test_a_table_and_python_give_the_same_answers(place: Path, task: str) -> None:
    kind: Any = MultiLabelClassifier if task == "complaints" else TaxonomyClassifier
    clf = kind(task, ScriptedEngine(), k=2, embedder="hashed", calibration_size=8)
    with Path(f"{task}.csv").open(newline="") as file:
        data = [*csv.DictReader(file)]
    field = "text" if task == "complaints" else "title"
    clf.fit([{field: row[field]} for row in data], [row["label"] for row in data])
    result = score_table(f"{task}.csv", f"{task}.python.csv", clf)
    assert result.tally.status["ok"] == len(data)
    direct = clf.classify([{field: row[field]} for row in data[:4]])
    written = rows(f"{task}.python.csv")[:4]
    if task == "complaints":
        assert [p.labels for p in direct] == [
            load_task(task).labels_of(row["predicted"], "cell") for row in written
        ]
    else:
        assert [p.label for p in direct] == [row["predicted"] for row in written]


@pytest.mark.parametrize("task", TASKS)
def test_one_row_is_explained(place: Path, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["explain", "it came late", *of(task, "--calibration-size", "0"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert set(result) >= {"status", "probabilities", "label_mass"}
    assert ("labels" in result) == (task == "complaints")
    assert ("parents" in result) == (task == "shop")
    assert run(["explain", "x", *of(task), "--influence"]) == 2


@pytest.mark.parametrize("task", TASKS)
def test_a_profile_answers_as_the_fit_did(
    place: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--calibration-size", "8", "--precision", "0.5"]
    assert run(["fit", *of(task, *more), "--tune", "0", "-o", f"{task}.json"]) == 0
    assert run(["score", f"{task}.csv", *of(task, *more), "-o", "fitted.csv"]) == 0
    engine = ["--profile", f"{task}.json"]
    assert run(["score", f"{task}.csv", *of(task, *engine), "-o", "profiled.csv"]) == 0
    assert rows("profiled.csv") == rows("fitted.csv")
    other = TASKS[1 - TASKS.index(task)]
    capsys.readouterr()
    assert run(["explain", "x", *of(other, *engine)]) == 2
    assert "a profile of a task with" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_a_precision_that_cannot_be_shown_sends_every_row_to_review(
    place: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--calibration-size", "8", "--precision", "0.99"]
    assert run(["score", f"{task}.csv", *of(task, *more), "-o", "precise.csv"]) == 0
    assert "do not show a precision of 99%" in capsys.readouterr().err
    found = rows("precise.csv")
    assert {row["status"] for row in found} == {"abstained"}
    assert {row["predicted"] for row in found} == {""}


def test_prediction_sets_hold_whole_labels(place: Path) -> None:
    more = ["--calibration-size", "8", "--coverage", "0.7"]
    assert run(["score", "shop.csv", *of("shop", *more), "-o", "sets.csv"]) == 0
    sets = [json.loads(row["prediction_set"]) for row in rows("sets.csv")]
    assert all(own and set(own) <= set(LEAVES) for own in sets)


@pytest.mark.parametrize(
    ("task", "verb", "more", "message"),
    [
        ("complaints", "score", ["--coverage", "0.9"], "--coverage with task 'complaints'"),
        ("complaints", "score", ["--passes", "2"], "--passes with task 'complaints'"),
        ("shop", "score", ["--max-loss", "0.1"], "--max-loss with task 'shop', which has a hier"),
        ("complaints", "score", ["--runner", "ray"], "--runner ray with task 'complaints'"),
    ],
)
def test_conflicting_options_are_an_error_of_one_line(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    task: str,
    verb: str,
    more: list[str],
    message: str,
) -> None:
    capsys.readouterr()
    assert run([verb, f"{task}.csv", *of(task, *more), "-o", "x.csv"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_a_plan_counts_what_the_run_asks(
    place: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    alone = of(task, "--calibration-size", "0", "--json")
    capsys.readouterr()
    assert run(["plan", f"{task}.csv", *[a for a in alone if a != "-q"]]) == 0
    plan = json.loads(capsys.readouterr().out)["result"]["plan"]
    with Path(f"{task}.csv").open(newline="") as file:
        total = len(list(csv.DictReader(file)))
    assert plan["rows"] == plan["asked"]["value"] == total
    assert run(["score", f"{task}.csv", *alone, "-o", f"planned_{task}.csv"]) == 0
    capsys.readouterr()
    kind: Any = MultiLabelClassifier if task == "complaints" else TaxonomyClassifier
    field = "text" if task == "complaints" else "title"
    with Path(f"{task}.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    pool = [Example(r["id"], {field: r[field]}, r["label"]) for r in table]
    clf = kind(task, ScriptedEngine(), k=2, embedder="hashed", calibration_size=0).fit(pool)
    spent = sum(p.prompt_tokens for p in clf.classify([r[field] for r in table]))
    # Of a hierarchy the parents of level two are estimated.
    near = 0 if task == "complaints" else 0.25
    assert plan["prompt_tokens"]["value"] == pytest.approx(spent, rel=near)


@pytest.mark.parametrize("task", TASKS)
def test_a_plan_counts_the_fit(place: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    capsys.readouterr()
    quick = [a for a in of(task, "--calibration-size", "8", "--json") if a != "-q"]
    assert run(["plan", f"{task}.csv", *quick]) == 0
    fit = json.loads(capsys.readouterr().out)["result"]["plan"]["fit"]
    assert fit["examples"] >= 8
    assert fit["tokens"] > 0


@pytest.mark.parametrize("task", TASKS)
def test_without_a_model_the_experts_answer(
    place: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    none = ["-t", task, "-e", f"{task}.csv", "--engine", "none", "--embedder", "hashed"]
    assert run(["fit", *none, "-o", f"none_{task}.json"]) == 0
    profile = ["--profile", f"none_{task}.json"]
    assert run(["score", f"{task}.csv", *none, *profile, "-o", "none.csv", "--restart", "-q"]) == 0
    found = rows("none.csv")
    assert {row["status"] for row in found} == {"ok"}
    assert {row["source"] for row in found} == {"experts"}
    assert "what a model would add and cost" in capsys.readouterr().err
    right = sum(row["predicted"] == row["label"] for row in found)
    assert right >= 0.75 * len(found)  # each row is among its own neighbours
    capsys.readouterr()
    text = "it came late" if task == "complaints" else "a desk lamp"
    assert run(["explain", text, *none, *profile]) == 0
    assert ("late" if task == "complaints" else "Home > Lamps") in capsys.readouterr().out
    assert run(["plan", f"{task}.csv", *none, *profile, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["result"]["plan"]
    assert plan["asked"]["value"] == plan["prompt_tokens"]["value"] == 0


@pytest.mark.parametrize("task", TASKS)
def test_variants_are_compared(place: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    variants = ["--variant", "one: k=1", "--variant", "two: k=2", "-d", f"{task}.csv"]
    quick = of(task, "--calibration-size", "0")
    capsys.readouterr()
    assert run(["ab", *variants, *quick, "--report", f"ab_{task}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["rows"] == found["rows_asked"] == len(rows(f"{task}.csv"))
    scores = {s["name"]: s["scores"] for s in found["systems"]}
    assert set(scores) == {"one", "two"}
    # The same as the rows that score has right.
    for name, k in (("one", "1"), ("two", "2")):
        out = ["-o", f"ab_{name}.csv", "--k", k, "--restart"]
        assert run(["score", f"{task}.csv", *quick, *out]) == 0
        card = load_task(task)
        right = [
            {*card.labels_of(row["predicted"], "row")} == {*card.labels_of(row["label"], "row")}
            for row in rows(f"ab_{name}.csv")
        ]
        assert scores[name]["accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    assert ("jaccard" in scores["one"]) == (task == "complaints")
    assert ("f1_hierarchical" in scores["one"]) == (task == "shop")
    assert Path(f"ab_{task}", "report.html").is_file()
    assert run(["ab", *variants, *quick, "--primary", "f1_macro"]) == 0
    refused = "log_loss" if task == "complaints" else "jaccard"
    assert run(["ab", *variants, *quick, "--primary", refused]) == 2
    assert run(["ab", *variants, *quick, "--variant", "three: passes=3"]) == (
        2 if task == "complaints" else 0
    )


def test_ranks_are_of_one_label_a_row(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["rank", "complaints.csv", *of("complaints"), "--group", "id", "-o", "x.csv"]) == 2
    assert "has several labels per row; this command takes one" in capsys.readouterr().err


def test_one_label_a_row_is_another_classifier(place: Path) -> None:
    pool = [Example("1", {"text": "a"}, "late"), Example("2", {"text": "b"}, "broken")]
    with pytest.raises(ConfigError, match="use MultiLabelClassifier"):
        FewShotClassifier("complaints", ScriptedEngine()).fit(pool)


@pytest.mark.parametrize("task", TASKS)
def test_a_service_follows_the_pool(place: Path, task: str) -> None:
    kind: Any = MultiLabelClassifier if task == "complaints" else TaxonomyClassifier
    field = "text" if task == "complaints" else "title"
    with Path(f"{task}.csv").open(newline="") as file:
        pool = Pool.in_memory(
            Example(row["id"], {field: row[field]}, row["label"]) for row in csv.DictReader(file)
        )
    clf = kind(task, ScriptedEngine(), k=2, embedder="hashed", calibration_size=8).fit(pool)
    with serving(create_app(clf)) as url:
        answer = ask(url, "POST", "/v1/classify", {"rows": ["it came late", "a lamp"]}).json
        assert [p["status"] for p in answer["predictions"]] == ["ok", "ok"]
        labels = [p["labels"] for p in answer["predictions"]]
        assert all((own is not None) == (task == "complaints") for own in labels)
        assert set(answer["labels"]) == set(WORDS if task == "complaints" else LEAVES)
        new = "late|rude" if task == "complaints" else "Garden > Pots"
        pool.add([Example("new", {field: "a clay pot"}, new)])
        explained = ask(url, "POST", "/v1/explain", {"row": "a clay pot"}).json
        assert "prediction" in explained, explained
        shown = explained["prediction"]["explanation"]["demonstrations"]
        assert "new" in {d["id"] for d in shown}
        if task == "shop":
            assert "Garden > Pots" in explained["labels"]


def test_the_verb_serves_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in TASKS:
        capsys.readouterr()
        served = ["serve", *of(task, "--calibration-size", "0"), "--port", "0", "--json"]
        assert run(served) == 0
        assert json.loads(capsys.readouterr().out)["result"]["task"] == task


def test_label_sets_of_any_system_are_scored(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.csv").write_text(
        "id,label,predicted\n1,late|broken,broken|late\n2,rude,late\n3,[],[]\n4,late,\n"
    )
    capsys.readouterr()
    assert run(["eval", "score", "a.csv", "-t", "complaints", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["result"]["metrics"]["a"]
    assert scores["subset_accuracy"]["value"] == 0.5
    assert scores["f1_micro"]["value"] == pytest.approx(2 * 2 / (4 + 3))
    assert scores["hamming_loss"]["value"] == pytest.approx(3 / 12)
    more = ["eval", "score", "a.csv", "-t", "complaints", "--report", "sets", "--metric"]
    assert run([*more, "jaccard"]) == 0
    assert "Subset accuracy" in Path("sets/report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert run([*more, "log_loss"]) == 2
    assert "--metric: log_loss with task 'complaints' is not defined" in capsys.readouterr().err


def test_parents_of_any_system_are_scored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text(
        "id,label,predicted\n1,Home > Lamps,Home > Chairs\n2,Toys > Dolls,Toys > Dolls\n"
        "3,Food > Tea,Toys > Dolls\n4,Home > Chairs,Home > Chairs\n"
    )
    capsys.readouterr()
    assert run(["eval", "score", "t.csv", "-t", "shop", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["result"]["metrics"]["t"]
    assert scores["accuracy"]["value"] == 0.5
    assert scores["level_accuracy@1"]["value"] == 0.75
    assert scores["f1_hierarchical"]["value"] == pytest.approx(5 / 8)


def test_examples_of_several_labels_go_through_a_pool(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = ["-p", "c.db", "-t", "complaints"]
    assert run(["examples", "import", "complaints.csv", *into]) == 0
    assert run(["examples", "add", "late and rude", "-l", "late|rude", *into]) == 0
    capsys.readouterr()
    assert run(["examples", "add", "late and slow", "-l", "late|slow", *into]) == 2
    assert "unknown label 'slow'" in capsys.readouterr().err
    out = ["-o", "from_pool.csv", *QUICK, "--calibration-size", "0"]
    assert run(["score", "complaints.csv", "-t", "complaints", "-e", "c.db", *out]) == 0
    assert {row["status"] for row in rows("from_pool.csv")} == {"ok"}
