"""Runs the whole command line: every command on every included task, every option of every
command. Whatever the input, a command ends with an exit code of the documentation, and an error is
one line.

The options come from the command line itself: one that is new fails here until it has a value.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from commands import commands
from scripted import ScriptedEngine
from serving import ask, serving

from ecomfs.cli import run
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier
from ecomfs.pool import Pool
from ecomfs.serve import create_app
from ecomfs.task import TaskCard, load_task

PROMPTS = Path(__file__).parents[2] / "prompts"
TASKS = sorted(
    path.parent.name for path in PROMPTS.glob("*/task.yaml") if not path.parent.name.startswith("_")
)
ROWS = 12
QUICK = ["--engine", "scripted", "--embedder", "hashed", "--calibration-size", "0", "--k", "2"]


# -- tables of a task, made from its card ---------------------------------------------------------


def cell(kind: str, values: Any, i: int) -> Any:
    """A value of a field's kind."""
    made: dict[str, Any] = {
        "number": i + 1,
        "price": f"{i + 1}.50",
        "date": f"2026-01-{i + 1:02d}",
        "history": [f"thing {i}", "cup"],
        "json": {"size": i},
        "category": next(iter(values), f"kind {i % 3}"),
    }
    return made.get(kind, f"thing {i} {'broke at once' if i % 2 else 'works very well'}")


def row(card: TaskCard, i: int) -> dict[str, Any]:
    return {s.name: cell(s.kind, s.rendering.values, i) for s in card.fields}


def labels(card: TaskCard) -> list[str]:
    names = [spec.name for spec in card.labels if not spec.optional]
    return (names or ["one", "two"])[:2]


def table(path: Path, card: TaskCard, *, labelled: bool) -> None:
    """A CSV file with ids ``r0``, ``r1``, …; labels where ``labelled``."""
    names = [spec.name for spec in card.fields]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", *names, *(["label"] if labelled else [])])
        for i in range(ROWS):
            values = row(card, i).values()
            cells = [v if isinstance(v, str) else json.dumps(v) for v in values]
            out.writerow([f"r{i}", *cells, *([labels(card)[i % 2]] if labelled else [])])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the tables of every task, where every model is a scripted one."""
    folder = tmp_path_factory.mktemp("walk")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("COLUMNS", "200")
        patched.setenv("ECOMFS_CACHE", str(folder / "cache"))
        patched.setenv("ECOMFS_STATE", str(folder / "state"))
        engine = ScriptedEngine(answer="a thing that works well")
        for name in ("estimators.base", "engine.shared", "suites.run"):
            patched.setattr(f"ecomfs.{name}.shared_engine", lambda spec: engine)
        patched.setattr("ecomfs.engine.factory.open_engine", lambda spec: ScriptedEngine())
        # A service is built, says that it is ready, and ends.
        patched.setattr("ecomfs.serve.server.run", lambda app, sock, on_ready, **_: on_ready())
        for task in TASKS:
            card = load_task(task)
            Path(task).mkdir()
            table(Path(task, "pool.csv"), card, labelled=True)
            table(Path(task, "rows.csv"), card, labelled=False)
            with Path(task, "rows.jsonl").open("w", encoding="utf-8") as file:
                for i in range(ROWS):
                    file.write(json.dumps({"id": f"r{i}", **row(card, i)}) + "\n")
        yield folder


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of a command; an unhandled exception fails here."""
    capsys.readouterr()
    code = run(arguments)  # an exception that is no error of ours comes out here
    said = capsys.readouterr()
    told = f"{arguments}\n{said.out}\n{said.err}"
    assert code in (0, 1, 2), told
    assert "Traceback" not in said.err, told
    if code == 2 and "Usage: " not in said.err:
        lines = said.err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, told
        assert all(line.startswith("note: ") for line in lines[lines.index(errors[0]) + 1 :]), told
    return code, said.err


# -- every command on every task -------------------------------------------------------------------


def verbs_of(task: str) -> dict[str, tuple[list[str], int]]:
    """What a person asks of a task → the command and how it ends."""
    card = load_task(task)
    needed = [spec.name for spec in card.fields if spec.required]
    text = 0 if len(needed) == 1 else 2  # a text is the row where one field is needed
    pool, rows = f"{task}/pool.csv", f"{task}/rows.csv"
    of = ["-t", task, "-e", pool, *QUICK]
    db = ["--pool", f"{task}/pool.db", "-t", task]
    whole = json.dumps(row(card, 1))
    values = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in row(card, 3).items()]
    sets = [word for value in values for word in ("--set", value)]
    label = labels(card)[0]
    hello = '["hello"]' if any(f.required and f.kind == "history" for f in card.fields) else "hello"
    texts = [f.name for f in card.fields if f.kind == "text"]
    columns = [word for name in texts or ["id"] for word in ("--text-column", name)]
    return {
        "explain a text": (["explain", hello, *of], text),
        "explain an empty text": (["explain", "", *of], text),
        "explain odd characters": (["explain", "\udcff\0 \u202e", *of], text),
        "explain JSON": (["explain", whole, *of], 0),
        "explain an empty object": (["explain", "{}", *of], 2 if needed else 0),
        "explain odd JSON": (["explain", json.dumps({k: [None] for k in row(card, 0)}), *of], 0),
        "explain a row": (["explain", rows, "--row", "r3", *of], 0),
        "explain a row of JSON": (["explain", f"{task}/rows.jsonl", "--row", "r3", *of], 0),
        "explain a table": (["explain", rows, *of], 2),
        "import": (["examples", "import", pool, *db], 0),
        "add a text": (["examples", "add", hello, "-l", label, *db], text),
        "add fields": (["examples", "add", *sets, "-l", label, "--id", "n", *db], 0),
        "score": (["score", rows, *of, "-o", f"{task}/out.csv", "-q"], 0),
        "score JSON": (["score", f"{task}/rows.jsonl", *of, "-o", f"{task}/j.csv", "-q"], 0),
        "score a pool": (
            ["score", rows, "-t", task, "-e", f"{task}/pool.db", *QUICK, "-o", f"{task}/p.csv"],
            0,
        ),
        "zero-shot": (
            ["score", rows, "-t", task, *QUICK, "-o", f"{task}/z.csv", "-q"],
            0 if card.labels and not card.label_separator else 2,
        ),
        "plan": (["plan", rows, *of], 0),
        "serve": (["serve", *of, "--port", "0"], 0),
        "fit": (
            ["fit", *of, "-o", f"{task}/profile.json", "--tune", "4", "--calibration-size", "4"],
            0,
        ),
        "ab": (
            [
                "ab",
                "--variant",
                "A: k=1",
                "--variant",
                "B: k=2",
                "-t",
                task,
                "-e",
                pool,
                "-d",
                pool,
                *QUICK,
                "-q",
            ],
            0,
        ),
        "rank": (
            ["rank", pool, *of, "--group", "id", "-o", f"{task}/r.csv", "--positive", label],
            2 if card.label_separator else 0,
        ),
        "suggest": (
            ["suggest", rows, "-t", task, "-o", f"{task}/s.csv", "--embedder", "hashed"],
            0,
        ),
        "augment": (
            [
                "prepare",
                "augment",
                pool,
                "-t",
                task,
                "-o",
                f"{task}/a.csv",
                *QUICK,
                "--attempts",
                "1",
                "--target",
                "7",
                *(["--rewrite-field", texts[0]] if len(texts) > 1 else []),
            ],
            0 if texts and not card.label_separator else 2,
        ),
        "clean": (["prepare", "clean", pool, *columns, "-o", f"{task}/c.csv"], 0),
        "lint": (["lint-task", task, "-e", pool], 0),
        "tasks": (["tasks", task], 0),
        "new task": (
            [
                "new-task",
                f"my_{task}",
                "--from",
                pool,
                "--label-column",
                "label",
                "--prompts",
                "made",
            ],
            0,
        ),
    }


MORE = {"fit", "ab", "rank", "suggest", "augment", "plan", "clean", "lint", "serve"}
"""Commands that take longer, and tell less of a row."""


@pytest.mark.parametrize(
    "more", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["quick", "more"]
)
@pytest.mark.parametrize("task", TASKS)
def test_every_verb_ends_well_on_every_task_with_a_text_a_row_and_json(
    place: Path, capsys: pytest.CaptureFixture[str], task: str, more: bool
) -> None:
    wrong = []
    for what, (arguments, code) in verbs_of(task).items():
        if (what in MORE) is not more:
            continue
        found, said = ended(arguments, capsys)
        if found != code:
            wrong.append(f"{what}: exit code {found}, not {code}: {said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("task", TASKS)
def test_python_and_http_take_the_same_rows_of_every_task(place: Path, task: str) -> None:
    card = load_task(task)
    rows, gold = [row(card, i) for i in range(4)], [labels(card)[i % 2] for i in range(4)]
    kind = MultiLabelClassifier if card.label_separator else FewShotClassifier
    clf = kind(task, ScriptedEngine(), k=2, embedder="hashed", calibration_size=0).fit(
        rows, [[label] for label in gold] if card.label_separator else gold
    )
    assert [str(p.status) for p in clf.classify(rows)] == ["ok"] * 4
    one = sum(spec.required for spec in card.fields) == 1
    with serving(create_app(clf)) as url:
        for path, body in (("classify", {"rows": ["hello"]}), ("explain", {"row": "hello"})):
            answer = ask(url, "POST", f"/v1/{path}", body)
            assert answer.status == (200 if one else 422)
            assert one or "send objects with" in answer.json["hint"]
        assert ask(url, "POST", "/v1/classify", {"rows": rows}).status == 200
    if one:
        assert len(clf.classify(["hello"])) == 1
        return
    for ask_for in (clf.classify, clf.predict, clf.predict_proba):
        with pytest.raises(ConfigError, match="give a DataFrame or a list of dicts"):
            ask_for(["hello"])
    with pytest.raises(ConfigError, match="give a DataFrame or a list of dicts"):
        clf.explain("hello")


# -- every option of every command -----------------------------------------------------------------

TASK = "review_sentiment"
_OF = ["-t", TASK, "-e", f"{TASK}/pool.csv", *QUICK]
_DB = ["--pool", "pool.db"]
_PREFERENCE = "product_preference"

BASE: dict[str, list[str]] = {
    "demo": ["--samples", "samples", "-o", "demo", "--engine", "scripted", "-q"],
    "init": [
        f"{TASK}/pool.csv",
        "-o",
        "NEW",
        "--engine",
        "none",
        "--embedder",
        "hashed",
        "--yes",
    ],
    "tasks": [],
    "models": [],
    "models get": ["smollm2"],
    "score": [f"{TASK}/pool.csv", *_OF, "-q"],
    "plan": [f"{TASK}/pool.csv", *_OF],
    "explain": ["it broke", *_OF],
    "rank": [
        f"{_PREFERENCE}/pool.csv",
        "-t",
        _PREFERENCE,
        "-e",
        f"{_PREFERENCE}/pool.csv",
        *QUICK,
        "--group",
        "id",
        "-q",
    ],
    "serve": [*_OF, "--port", "0"],
    "fit": [*_OF, "--tune", "4", "--calibration-size", "4"],
    "ab": [
        "--variant",
        "A: k=1",
        "--variant",
        "B: k=2",
        "-t",
        TASK,
        "-e",
        f"{TASK}/pool.csv",
        "-d",
        f"{TASK}/pool.csv",
        *QUICK,
        "-q",
    ],
    "suggest": [f"{TASK}/rows.csv", "-t", TASK, "-o", "suggested.csv", "--embedder", "hashed"],
    "new-task": ["NEW", "--from", f"{TASK}/pool.csv", "--label-column", "label"],
    "lint-task": [TASK],
    "backup": ["pool.db", "NEW"],
    "restore": ["kept.db", "NEW"],
    "key": ["storefront", "--scope", "classify"],
    "check": ["--engine", "scripted"],
    "up": ["--model", "no/such/folder", "--python", "/no/python", "--timeout", "1"],
    "runs list": [],
    "runs show": ["last"],
    "runs compare": ["last", "last"],
    "runs resume": [],
    "eval score": ["predicted.csv", "--gold-column", "label", "--resamples", "100"],
    "eval list": [],
    "eval run": ["suite.yaml", "--data", ".", "-o", "results", "--engine", "scripted", "-q"],
    "eval report": ["results", "--resamples", "100"],
    "eval compare": ["results", "results", "--resamples", "100"],
    "examples add": ["NEW", "-l", "positive", "-t", TASK, *_DB],
    "examples import": [f"{TASK}/pool.csv", "-t", TASK, *_DB],
    "examples relabel": ["r0", "positive", *_DB],
    "examples retire": ["NEXT", *_DB],
    "examples history": ["r0", *_DB],
    "examples audit": ["-t", TASK, *_DB],
    "examples export": ["exported.csv", *_DB],
    "examples stats": [*_DB],
    "prepare clean": [f"{TASK}/pool.csv", "--text-column", "text", "-o", "clean.csv"],
    "prepare augment": [
        f"{TASK}/pool.csv",
        "-t",
        TASK,
        "-o",
        "augmented.csv",
        *QUICK,
        "--attempts",
        "1",
        "--target",
        "7",
    ],
}
"""For every command, arguments that end with code 0, but for :data:`ENDS`. ``NEW`` is a new name,
``NEXT`` an id of the pool."""

_PROMISE = ["--calibration-size", "8"]
VALUES: dict[str, list[str]] = {
    "--task": [TASK],
    "--examples": ["few.csv"],  # beside the pool of BASE: one file twice is refused
    "--pool-name": ["default"],
    "--label-column": ["label"],
    "--field": ["text=text"],
    "--shots": ["4"],
    "--seed": ["3"],
    "--output": ["out.csv"],
    "--gold-column": ["label"],
    "--id-column": ["id"],
    "--encoding": ["utf-8-sig"],
    "--limit": ["3"],
    "--sample": ["3"],
    "--where": ["id!=r1"],
    "--engine": ["scripted"],
    "--k": ["3"],
    "--embedder": ["hashed"],
    "--language": ["zh"],
    "--readout": ["codes"],
    "--strategy": ["mmr"],
    "--similarity": ["text"],
    "--layout": ["shared"],
    "--shortlist": ["2"],
    "--passes": ["2"],
    "--template": ["v2"],
    "--calibration-size": ["4"],
    "--profile": ["profile.json"],
    "--precision": ["0.9", *_PROMISE],
    "--coverage": ["0.9", *_PROMISE],
    "--max-loss": ["0.1", *_PROMISE],
    "--novel-below": ["0.05", *_PROMISE],
    "--runner": ["plain"],
    "--ray-address": ["auto"],
    "--actors": ["1"],
    "--partition-rows": ["4"],
    "--price": ["3"],
    "--price-cached": ["1", "--price", "3"],
    "--price-answer": ["1", "--price", "3"],
    "--probe": ["2"],
    "--block-size": ["8"],
    "--prompts": ["4"],
    "--row": ["1"],
    "--host": ["127.0.0.1"],
    "--port": ["0"],
    "--api-key": ["secret"],
    "--tenant": ["north"],
    "--variant": ["A: k=1", "--variant", "B: k=2", "--log", "t.jsonl"],
    "--log": ["u.jsonl", "--variant", "A: k=1", "--variant", "B: k=2"],
    "--split-seed": ["2"],
    "--suspicious": ["flag"],
    "--mask": ["none"],
    "--author": ["text"],
    "--tls-certificate": ["none.pem"],
    "--tls-key": ["none.pem"],
    "--request-log": ["requests.jsonl"],
    "--cap": ["0.4"],
    "--budget": ["2048"],
    "--budget-seconds": ["60", *_PROMISE],
    "--budget-tokens": ["100", *_PROMISE],
    "--tune": ["8"],
    "--rendering": ["raw"],
    "--input-encoding": ["utf-8"],
    "--top": ["3"],
    "--positive": ["like"],
    "--group": ["id"],
    "--resample": ["id"],
    "--data": [f"{TASK}/pool.csv"],
    "--pool-label-column": ["label"],
    "--primary": ["f1_macro"],
    "--margin": ["0.01"],
    "--alpha": ["0.1"],
    "--every": ["5", "--sequential"],
    "--slice": ["label"],
    "--report": ["report"],
    "--report-language": ["zh", "--report", "report"],
    "--show": ["3"],
    "--candidates": ["100"],
    "--from": [f"{TASK}/pool.csv"],
    "--column": ["text"],
    "--samples": ["samples"],
    "--last": ["2"],
    "--predicted-column": ["predicted"],
    "--prefix": ["p_"],
    "--metric": ["accuracy"],
    "--resamples": ["100"],
    "--only": ["reviews"],
    "--rows": ["4"],  # of suggest
    "--main": ["majority"],
    "--system": ["majority"],
    "--pool": ["pool.db"],
    "--label": ["positive"],
    "--set": ["text=fine"],
    "--id": ["NEW"],
    "--note": ["why"],
    "--version": ["1"],
    "--text-column": ["text"],
    "--test": [f"{TASK}/rows.csv"],
    "--unicode": ["NFKC"],
    "--html": ["keep"],
    "--emoji": ["drop"],
    "--max-chars": ["100"],
    "--near-threshold": ["0.9"],
    "--empty": ["report"],
    "--over-long": ["remove"],
    "--unlabelled": ["report"],
    "--duplicate": ["report"],
    "--near-duplicate": ["ignore"],
    "--conflict": ["report"],
    "--leak": ["report"],
    "--near-leak": ["ignore"],
    "--borrow": [
        "product_category/pool.csv",
        "--borrow-task",
        "product_category",
        "--map",
        "one=positive",
    ],
    "--borrow-task": [
        "product_category",
        "--borrow",
        "product_category/pool.csv",
        "--map",
        "one=positive",
    ],
    "--borrow-field": [
        "text=title",
        "--borrow",
        "product_category/pool.csv",
        "--borrow-task",
        "product_category",
        "--map",
        "one=positive",
    ],
    "--borrow-label-column": [
        "label",
        "--borrow",
        "product_category/pool.csv",
        "--borrow-task",
        "product_category",
        "--map",
        "one=positive",
    ],
    "--borrow-limit": [
        "2",
        "--borrow",
        "product_category/pool.csv",
        "--borrow-task",
        "product_category",
        "--map",
        "one=positive",
    ],
    "--map": [
        "one=positive",
        "--borrow",
        "product_category/pool.csv",
        "--borrow-task",
        "product_category",
    ],
    "--writer": ["scripted"],
    "--prompt": ["v1"],
    "--rewrite-field": ["text"],
    "--temperature": ["0.5"],
    "--attempts": ["1"],
    "--generations": ["2"],
    "--max-tokens": ["16"],
    "--target": ["7"],
    "--share": ["1"],
    "--confidence": ["0.5"],
    "--near": ["0.5"],
    "--model": ["no/such/model"],
    "--context": ["512"],
    "--device": ["cpu"],
    "--python": ["/no/python"],
    "--timeout": ["1"],
    "--from-log": ["none.jsonl"],
    "--item-column": ["id"],
    "--user-column": ["id"],
    "--mlflow": ["none://nowhere"],
    "--scope": ["classify"],
    "--user": ["users.csv"],
    "--deadline": ["30"],
    "--review-below": ["0.5"],
    "--format": ["completion"],
    "--output-format": ["jsonl"],
    "--sheet": ["one"],
    "--hierarchy": [" > "],
    "--label-separator": ["|"],
    "--items": ["items.csv"],
    "--new-task": ["NEW"],
    "--test-rows": ["3"],
}
"""A value of every option, and the other options that it needs."""

OF_VERB: dict[tuple[str, str], list[str]] = {
    ("eval run", "--data"): ["."],
    ("eval run", "--output"): ["results2"],
    ("eval run", "--shots"): ["4"],
    ("eval run", "--seed"): ["0"],
    ("eval report", "--output"): ["report2"],
    ("eval report", "--report-language"): ["zh"],
    ("demo", "--output"): ["demo"],
    ("ab", "--gold"): [f"{TASK}/pool.csv"],
    ("prepare clean", "--label-column"): ["label"],
    ("new-task", "--prompts"): ["made"],
    ("init", "--output"): ["NEW"],
    ("init", "--column"): ["text", "--new-task", "NEW"],
    ("fit", "--output"): ["profile2.json"],
    ("ab", "--output"): ["out.md"],
    ("prepare clean", "--report"): ["report.json"],
    ("prepare augment", "--report"): ["report.json"],
    ("explain", "--id-column"): ["id", "--row", "r1"],
    ("explain", "--row"): ["r1"],
    ("score", "--actors"): ["1", "--runner", "ray", "--ray-address", "ray://nowhere:1"],
    ("rank", "--probe"): ["2", "--plan"],
    ("rank", "--task"): [_PREFERENCE],
    ("rank", "--examples"): ["few_preferences.csv"],
    ("rank", "--field"): ["item=item"],
    ("rank", "--template"): ["v1"],
    ("rank", "--profile"): ["preference.json"],
    ("ab", "--variant"): ["C: k=3"],
    ("suggest", "--label-column"): ["label", "--examples", "few.csv"],
    ("eval score", "--positive"): ["positive"],
    ("eval run", "--limit"): ["4", "--redo"],
    ("prepare augment", "--prompt"): [f"{PROMPTS}/_augment/en.v1.jinja"],
}
BESIDE = {"--user", "--items", "--user-column", "--item-column", "--keep-seen"}
"""Options of ``rank`` for users and items, not for pairs."""
SLOW = {"demo", "eval run", "eval report"}
SHARING = {"plan", "explain", "rank", "serve", "fit", "ab", "prepare augment"}
ENDS = {
    ("serve", "--tls-certificate"): 2,  # one without the other
    ("serve", "--tls-key"): 2,
    ("score", "--actors"): 2,
    ("score", "--partition-rows"): 2,  # of a cluster
    ("plan", "--actors"): 0,
    ("plan", "--partition-rows"): 0,
    ("score", "--sheet"): 2,  # of a workbook
    ("plan", "--sheet"): 2,
    ("ab", "--from-log"): 2,
    ("ab", "--gold"): 2,  # of a live split
    ("prepare augment", "--no-rewrite"): 2,  # nothing would be left to do
    ("prepare augment", "--share"): 2,  # and --target
    ("eval report", "--mlflow"): 2,
    ("runs resume", "--print"): 2,  # there is none
    ("score", "--replace-table"): 2,  # of a database
    ("check", "--engine"): 1,  # a scripted engine is no model
}
"""Exit codes of options that are a mistake as they stand here, or find one; ``up`` has no vLLM."""


OF_EVERY = ("help", "help_all", "as_json", "quiet")
"""Options that every command has, which have tests of their own."""


def options() -> list[Any]:
    """Every option of every command, as it is written. Those that ``score`` has too, and the slower
    commands, are walked with the slow tests."""
    every = {name: command.params for name, command in commands()}
    of_score = {parameter.name for parameter in every["score"]}
    return [
        pytest.param(
            name,
            parameter,
            id=f"{name} {parameter.opts[0]}",
            marks=[pytest.mark.slow]
            if name in SLOW or (name in SHARING and parameter.name in of_score)
            else [],
        )
        for name, parameters in every.items()
        for parameter in parameters
        if parameter.param_type_name == "option" and parameter.name not in OF_EVERY
    ]


@pytest.fixture(scope="module")
def walk(place: Path) -> Path:
    """The files that the commands of :data:`BASE` need."""
    samples = Path(__file__).parents[2] / "samples"
    os.symlink(samples, "samples")
    suite = {
        "name": "small",
        "shots": [4],
        "seeds": [0],
        "systems": ["ecomfs", "majority"],
        "options": {"k": 2, "embedder": "hashed", "calibration_size": 0, "fusion": False},
        "datasets": [
            {
                "name": "reviews",
                "task": TASK,
                "pool": {"file": f"samples/{TASK}/pool.csv"},
                "test": {"file": f"samples/{TASK}/test.csv", "rows": 6},
            },
        ],
    }
    Path("suite.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    with Pool.open("pool.db") as pool:
        from ecomfs.batch import read_examples

        pool.add(read_examples(f"{TASK}/pool.csv", load_task(TASK)))
    assert run(["backup", "pool.db", "kept.db"]) == 0
    Path("users.csv").write_text('id,liked\nu1,["cup"]\n', encoding="utf-8")
    Path("items.csv").write_text("id,item\ni1,mug\ni2,hat\n", encoding="utf-8")
    scored = ["score", f"{TASK}/pool.csv", *_OF, "-q", "--probabilities", "-o", "predicted.csv"]
    assert run(scored) == 0
    Path("few.csv").write_text("text,label\nfine,positive\npoor,negative\n", encoding="utf-8")
    card = load_task(_PREFERENCE)
    with Path("few_preferences.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([*(spec.name for spec in card.fields), "label"])
        for i, label in enumerate(labels(card)):
            cells = row(card, i).values()
            out.writerow([*(v if isinstance(v, str) else json.dumps(v) for v in cells), label])
    fit = ["fit", *QUICK, "--calibration-size", "8", "--tune", "0"]
    for task, name in ((TASK, "profile"), (_PREFERENCE, "preference")):
        assert run([*fit, "-t", task, "-e", f"{task}/pool.csv", "-o", f"{name}.json"]) == 0
    assert run(["eval", "run", *BASE["eval run"]]) == 0
    return place


_new, _held = count(), count(1)


def command_of(verb: str, *more: str) -> list[str]:
    name = f"new_{next(_new)}"
    base = BASE[verb]
    if "--row" in more:
        base = [f"{TASK}/pool.csv" if word == "it broke" else word for word in base]
    if verb == "rank" and more and more[0] in BESIDE:
        base = ["--user", "users.csv", "--items", "items.csv", *base[1:-3], "-q"]
    held = f"r{next(_held)}" if "NEXT" in base else ""
    words = {"NEW": name, "NEXT": held}
    return [words.get(word, word) for word in (*verb.split(), *base, *more)]


def test_every_verb_and_every_option_is_walked() -> None:
    assert set(BASE) == {name for name, _ in commands()}
    lacking = {
        parameter.opts[0]
        for name, command in commands()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.is_flag
        if parameter.name != "help" and (name, parameter.opts[0]) not in OF_VERB
    } - set(VALUES)
    assert not lacking, f"VALUES lacks {sorted(lacking)}"
    assert {option for _, option in OF_VERB} | set(VALUES) <= {
        parameter.opts[0] for _, command in commands() for parameter in command.params
    }


@pytest.mark.filterwarnings("ignore::ecomfs.fit.ProfileWarning")  # variants differ in k
@pytest.mark.parametrize(("verb", "parameter"), options())
def test_every_option_of_every_verb_ends_well(
    walk: Path, capsys: pytest.CaptureFixture[str], verb: str, parameter: Any
) -> None:
    for written in (parameter.opts[0], *parameter.secondary_opts):
        value = [] if parameter.is_flag else OF_VERB.get((verb, written)) or VALUES[written]
        code, said = ended(command_of(verb, written, *value), capsys)
        assert code == ENDS.get((verb, written), 2 if verb == "up" else 0), said


# -- what every command has ------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SCHEMA = json.loads(PAGE.partition("```json\n")[2].partition("```")[0])
VERBS = [
    pytest.param(verb, marks=[pytest.mark.slow] if verb in SLOW else []) for verb in sorted(BASE)
]
PART = {"explain", "ab"}
"""Commands of whose result the page names some keys."""
MISSING: dict[str, list[str]] = {
    "score": ["none.csv", *_OF],
    "plan": ["none.csv", *_OF],
    "explain": ["none.csv", "--row", "1", *_OF],
    "rank": ["none.csv", "-t", _PREFERENCE, "--group", "id", *QUICK],
    "serve": ["-t", TASK, "-e", "none.csv", *QUICK],
    "fit": ["-t", TASK, "-e", "none.csv", *QUICK, "--calibration-size", "8"],
    "ab": ["v1", "v2", "-t", TASK, "-e", f"{TASK}/pool.csv", "-d", "none.csv", *QUICK],
    "suggest": ["none.csv", "-t", TASK, "-o", "suggested.csv"],
    "new-task": ["unheard_of", "--from", "none.csv", "--label-column", "label"],
    "lint-task": [TASK, "-e", "none.csv"],
    "demo": ["--samples", "none.csv"],
    "init": ["none.csv"],
    "eval score": ["none.csv"],
    "eval run": ["none.yaml"],
    "eval report": ["none.csv"],
    "eval compare": ["none.csv", "none.csv"],
    "examples import": ["none.csv", "-t", TASK, *_DB],
    "examples add": ["a text", "-l", "positive", "-t", "none.csv", *_DB],
    "examples relabel": ["r0", "positive", "--pool", "none.db"],
    "examples retire": ["r0", "--pool", "none.db"],
    "examples history": ["r0", "--pool", "none.db"],
    "examples audit": ["-t", TASK, "--pool", "none.db"],
    "examples export": ["exported.csv", "--pool", "none.db"],
    "examples stats": ["--pool", "none.db"],
    "backup": ["none.db", "out.db"],
    "restore": ["none.db", "out.db"],
    "prepare clean": ["none.csv", "--text-column", "text", "-o", "clean.csv"],
    "prepare augment": ["none.csv", "-t", TASK, "-o", "augmented.csv", *QUICK],
}
"""A command that reads a file which is not there; the other commands read none."""
NAMED = {"init": ["-t", TASK]}
"""The tasks that other tests draft from the same table would be a question."""
READS_NONE = {
    *("key", "tasks", "models", "models get", "check", "up", "eval list"),
    *("runs list", "runs show", "runs compare", "runs resume"),
}


def keys_of(verb: str) -> set[str]:
    """The keys of a command's result, as the page has them."""
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{verb}` |")]
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^()]*\)", "", row.split("|")[2])))


@pytest.mark.filterwarnings("ignore::ecomfs.fit.ProfileWarning")
@pytest.mark.parametrize("verb", VERBS)
def test_json_is_one_document_of_one_schema(
    walk: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    capsys.readouterr()
    code = run([*command_of(verb), *NAMED.get(verb, []), "--json"])
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    assert (document["command"], document["exit_code"]) == (verb, code)
    if code == 2:
        assert verb in ("up", "runs resume"), document
        assert document["result"] is None
        assert document["error"]["message"]
        return
    wanted, found = keys_of(verb), set(document["result"])
    assert document["error"] is None
    assert found
    assert wanted <= found if verb in PART else found <= wanted


@pytest.mark.filterwarnings("ignore::ecomfs.fit.ProfileWarning")
@pytest.mark.parametrize("verb", VERBS)
def test_a_quiet_verb_shows_no_progress(
    walk: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    def shown() -> Any:
        raise AssertionError("progress is shown")

    monkeypatch.setattr("ecomfs.cli.terminal.display", shown)
    monkeypatch.setattr("ecomfs.core.progress.display", shown)
    code, said = ended([*command_of(verb), *NAMED.get(verb, []), "--quiet"], capsys)
    assert code == (2 if verb in ("up", "runs resume") else 1 if verb == "check" else 0), said


@pytest.mark.parametrize("verb", [*BASE])
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_wrong_option_is_named_before_anything_is_done(
    walk: Path, capsys: pytest.CaptureFixture[str], verb: str, more: list[str]
) -> None:
    capsys.readouterr()
    assert run([*verb.split(), "--no-such-option", *more]) == 2
    said = capsys.readouterr()
    assert "No such option: --no-such-option" in said.err
    assert f"Try 'ecomfs {verb} --help' for help." in said.err
    if not more:
        assert said.out == ""
        return
    document = json.loads(said.out)
    jsonschema.validate(document, SCHEMA)
    assert "--no-such-option" in document["error"]["message"]


@pytest.mark.parametrize("verb", [*MISSING])
def test_a_missing_file_is_one_line_that_names_it(
    walk: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    code, said = ended([*verb.split(), *MISSING[verb]], capsys)
    assert code == (1 if verb == "lint-task" else 2)
    told = capsys.readouterr().out + said
    if verb != "lint-task":  # it is among the findings
        [line] = [line for line in told.splitlines() if line.startswith("error: ")]
        assert "none." in line
        run([*verb.split(), *MISSING[verb], "--json"])
        document = json.loads(capsys.readouterr().out)
        jsonschema.validate(document, SCHEMA)
        assert f"error: {document['error']['message']}" in line
    assert set(MISSING) | READS_NONE == set(BASE)
