from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.suites import available_suites, load_suite, plan

GOOD: dict[str, Any] = {
    "name": "mine",
    "shots": [8, "all"],
    "seeds": [0, 1],
    "options": {"k": 2},
    "datasets": [
        {
            "name": "a",
            "task": "review_sentiment",
            "pool": {"file": "a.csv"},
            "test": {"rows": 5},
        },
        {
            "name": "b",
            "series": "folds",
            "task": "review_sentiment",
            "seeds": [0],
            "options": {"k": 4},
            "pool": {"file": "b.csv", "filter": {"fold": 1}},
            "test": {"file": "c.csv"},
        },
    ],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}), encoding="utf-8")
    return path


def dataset(**changes: Any) -> list[dict[str, Any]]:
    return [{**GOOD["datasets"][0], **changes}]


@pytest.mark.parametrize("name", sorted(available_suites()))
def test_the_suites_that_ship_are_valid(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert plan(suite)
    assert all(p.source for d in suite.datasets for p in d.published)


def test_all_data_sets_of_the_first_seed_come_first(tmp_path: Path) -> None:
    cells = plan(load_suite(write(tmp_path)))
    assert [(c.dataset.name, c.shots, c.seed) for c in cells] == [
        ("a", 8, 0),
        ("a", "all", 0),
        ("b", 8, 0),
        ("b", "all", 0),
        ("a", 8, 1),
        ("a", "all", 1),
    ]
    assert len({c.folder for c in cells}) == len(cells)


def test_options_of_the_data_set_beat_those_of_the_suite(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, variants={"plain": {}, "wide": {"k": 6, "fusion": False}}))
    found = {(c.dataset.name, c.variant): c.options for c in plan(suite, shots=[8], seeds=[0])}
    assert found["a", "plain"] == {"k": 2}
    assert found["b", "plain"] == {"k": 4}
    assert found["b", "wide"] == {"k": 6, "fusion": False}
    given = plan(suite, options={"engine": "gguf:demo"})
    assert all(c.options["engine"] == "gguf:demo" for c in given)


def test_a_part_of_the_plan_can_be_chosen(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path))
    assert [(c.dataset.name, c.shots) for c in plan(suite, only=["folds"], shots=["all"])] == [
        ("b", "all")
    ]
    with pytest.raises(ConfigError, match="no data set 'z'"):
        plan(suite, only=["z"])
    with pytest.raises(ConfigError, match="nothing to run"):
        plan(suite, seeds=[9])


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"shotz": [1]}, "shotz", "there is no such key"),
        ({"shots": [8, 8]}, "suite", "shots: one or more values, each once"),
        ({"shots": [-1]}, "suite", "0 or more"),
        ({"name": "No Spaces"}, "name", "pattern"),
        ({"metrics": ["acuracy"]}, "suite", "did you mean 'accuracy'"),
        ({"systems": ["knn", "svm"]}, "suite", "no system is called 'svm'"),
        ({"options": {"kk": 1}}, "suite", "options: no option 'kk'"),
        ({"options": {"k": -1}}, "suite", "options: k = -1 (k is a whole number, 0 or more)"),
        ({"options": {"calibrate": 1}}, "suite", "did you mean 'calibration_size'"),
        ({"options": {"seed": 1}}, "suite", "seed is set by the suite itself"),
        ({"variants": {"a b": {}}}, "suite", "variant 'a b'"),
        ({"datasets": []}, "datasets", "at least 1"),
        ({"datasets": GOOD["datasets"] + dataset()}, "suite", "two datasets are called 'a'"),
        ({"datasets": dataset(test={})}, "datasets.a.test", "rows to split off"),
        ({"datasets": dataset(test={"rows": 0, "file": "x"})}, "datasets.a.test.rows", "1"),
        ({"datasets": dataset(test={"rows": 3, "label": "y"})}, "datasets.a.test", "need file"),
        ({"datasets": dataset(pool={"path": "a.csv"})}, "datasets.a.pool.file", "required"),
        (
            {
                "datasets": dataset(
                    published=[{"system": "x", "value": 1, "source": "y", "metric": "acc"}]
                )
            },
            "suite",
            "no metric is called 'acc'",
        ),
    ],
)
def test_a_wrong_suite_names_its_file_and_key(
    tmp_path: Path, changes: dict[str, Any], key: str, says: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_suite(path)
    assert str(caught.value).startswith(f"{path}: {key}: ")
    assert says in str(caught.value)


def test_an_invalid_suite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="not a suite"):
        load_suite(path)
    path.write_text("a: [\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_suite(path)
    path.write_text("name: a\nshots: [8]\nshots: [16]\n")
    with pytest.raises(ConfigError, match="line 3, column 1: 'shots' is given twice"):
        load_suite(path)
    with pytest.raises(MissingFileError, match=r"no such suite file.*included suites: .*tasks"):
        load_suite("no-such-suite")
