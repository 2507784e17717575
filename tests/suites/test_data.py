from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import ColumnError, ConfigError, EmptyInputError, InputError, MissingFileError
from ecomfs.suites import Dataset
from ecomfs.suites.data import data_folder, read_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [
        [f"r{i}", f"text number {i}", "negative" if i % 3 else "positive", f"u{i // 4}", i % 2]
        for i in range(40)
    ]
    save(folder / "all.csv", rows)
    other = [
        [f"t{i}", f"another text {i}", "pos" if i % 2 else "neg", f"u{i}", 0] for i in range(9)
    ]
    same = ["t9", "Text number 5!", "negative", "u9", 0]  # the pool has it, but for its looks
    save(folder / "test.csv", [*other, same])
    return folder


def save(path: Path, rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text", "label", "user", "fold"], *rows])


def make(test: dict[str, Any], **pool: Any) -> Dataset:
    return Dataset.model_validate(
        {
            "name": "d",
            "task": "review_sentiment",
            "pool": {"file": "all.csv", **pool},
            "test": test,
        }
    )


def ids(rows: Any) -> list[str]:
    return [row.id for row in rows]


@given(rows=st.integers(1, 30), seed=st.integers(0, 5), grouped=st.booleans())
def test_a_split_is_the_same_again_and_shares_nothing(
    folder: Path, rows: int, seed: int, grouped: bool
) -> None:
    spec = make({"rows": rows, "seed": seed, "group": "user" if grouped else None})
    first, second = read_data(spec, folder), read_data(spec, folder)
    assert first == second
    assert len(first.test) == rows
    assert not set(ids(first.pool)) & set(ids(first.test))
    if grouped:
        user = {f"r{i}": f"u{i // 4}" for i in range(40)}
        assert first.groups == tuple(user[i] for i in ids(first.test))
        assert not {user[i] for i in ids(first.pool)} & set(first.groups)
    else:
        assert len(first.pool) + len(first.test) == 40


def test_another_seed_draws_other_rows(folder: Path) -> None:
    drawn = {tuple(ids(read_data(make({"rows": 10, "seed": s}), folder).test)) for s in range(4)}
    assert len(drawn) == 4


def test_a_test_file_gives_rows_that_the_pool_lacks(folder: Path) -> None:
    data = read_data(make({"file": "test.csv"}), folder)
    assert ids(data.test) == [f"t{i}" for i in range(9)]
    assert data.left_out == 1
    assert {row.label for row in data.test} == {"negative", "positive"}  # as the pool spells them
    assert len(read_data(make({"file": "test.csv", "disjoint": False}), folder).test) == 10
    assert list(data.files) == ["all.csv", "test.csv"]


@pytest.mark.parametrize("spelt", ["true", "True", "TRUE"])
def test_a_filter_by_a_boolean_takes_every_spelling(tmp_path: Path, spelt: str) -> None:
    labels = ["positive", "negative"]
    rows = [
        [f"r{i}", f"text {i}", labels[i % 2], "u", spelt if i < 6 else "false"] for i in range(9)
    ]
    save(tmp_path / "all.csv", rows)
    data = read_data(make({"rows": 2}, filter={"fold": True}), tmp_path)
    assert len(data.pool) + len(data.test) == 6


def test_a_row_without_a_group_is_an_error(tmp_path: Path) -> None:
    labels = ["positive", "negative"]
    rows = [[f"r{i}", f"text {i}", labels[i % 2], "u" if i != 3 else " ", 0] for i in range(9)]
    save(tmp_path / "all.csv", rows)
    with pytest.raises(InputError, match=r"all.csv: row 'r3': column 'user' is empty \(fill it in"):
        read_data(make({"rows": 2, "group": "user"}), tmp_path)


def test_a_filter_keeps_the_rows_of_a_fold(folder: Path) -> None:
    data = read_data(make({"file": "test.csv", "rows": 4}, filter={"fold": 1}), folder)
    assert ids(data.pool) == [f"r{i}" for i in range(1, 40, 2)]
    assert len(data.test) == 4


def test_labelled_examples_differ_by_seed_and_test_rows_do_not(folder: Path) -> None:
    data = read_data(make({"rows": 8}), folder)
    assert ids(data.examples(6, 0)) == ids(data.examples(6, 0))
    assert ids(data.examples(6, 0)) != ids(data.examples(6, 1))
    assert data.examples("all", 1) == list(data.pool)
    with pytest.raises(InputError, match="data set 'd': 33 labelled examples wanted"):
        data.examples(33, 0)


@pytest.mark.parametrize(
    ("test", "pool", "error", "says"),
    [
        ({"rows": 40}, {}, InputError, "40 test rows wanted of 40"),
        ({"file": "test.csv", "rows": 10}, {}, InputError, "10 test rows wanted, there are 9"),
        ({"file": "none.csv"}, {}, MissingFileError, "none.csv: no such file"),
        ({"rows": 4, "group": "shop"}, {}, ColumnError, "all.csv: no column 'shop'"),
        ({"rows": 4}, {"filter": {"shop": 1}}, ColumnError, "no column 'shop'"),
        ({"rows": 4}, {"filter": {"fold": 7}}, EmptyInputError, "no row has fold = 7"),
        ({"rows": 4}, {"label": "stars"}, ColumnError, "no column 'stars'"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    folder: Path, test: dict[str, Any], pool: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_data(make(test, **pool), folder)


def test_the_data_folder_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECOMFS_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"no data folder \(name it with --data"):
        data_folder(None)
    monkeypatch.setenv("ECOMFS_DATA", str(tmp_path))
    assert data_folder(None) == tmp_path
    with pytest.raises(MissingFileError, match="no such folder"):
        data_folder(tmp_path / "nowhere")
