"""A results folder reads back equal, and changed files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ecomfs_eval import Predictions
from ecomfs_eval.errors import (
    DataError,
    NoSuchFileError,
    OptionError,
    WriteError,
)
from ecomfs_eval.manifest import compare_manifests, read_results, write_results


def systems() -> list[Predictions]:
    full = Predictions.of(
        ["好评", "差评", "好评"],
        ["好评", None, "差评"],
        [[0.9, 0.1], [np.nan, np.nan], [1 / 3, 2 / 3]],
        labels=["好评", "差评"],
        status=["ok", "failed", "ok"],
        groups=("u1", "u1", "u2"),
        queries=("q1", "q1", "q2"),
        slices={"lang": ("zh", "zh", "en")},
        extra={"text": ("很好,\n真的", "", 'says "no"')},
        latency=np.array([0.1, np.nan, 0.3]),
        currency="CNY",
        name="模型 A/1",
    )
    return [full, Predictions.of(["1", "0"], ["1", "1"], positive="0", name="model b")]


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_written_results_read_back_equal(tmp_path: Path, table: Literal["csv", "parquet"]) -> None:
    written = write_results(tmp_path / "run", systems(), settings={"k": 8}, table=table)
    found = read_results(tmp_path / "run")
    assert found.manifest == written
    for before, after in zip(systems(), found.systems, strict=True):
        for name in (
            "ids",
            "labels",
            "gold",
            "predicted",
            "status",
            "positive",
            "groups",
            "queries",
            "slices",
            "extra",
            "currency",
            "name",
        ):
            assert getattr(after, name) == getattr(before, name)
        for name in ("probabilities", "latency", "cost"):
            x, y = getattr(before, name), getattr(after, name)
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_array_equal(x, y)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    write_results(tmp_path, systems(), table="csv")
    path = tmp_path / "predictions/02-model-b.csv"
    path.write_text(path.read_text().replace("1,1,1", "1,1,0"))
    with pytest.raises(DataError, match="differs from the one in the manifest"):
        read_results(tmp_path)
    path.unlink()
    with pytest.raises(NoSuchFileError, match="02-model-b"):
        read_results(tmp_path)


def test_a_folder_without_a_manifest_did_not_finish(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFileError, match="no such file"):
        read_results(tmp_path)
    for text in ("{", "[]", "{}", '{"format": 99, "systems": [], "inputs": {}, "settings": {}}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="not a manifest"):
            read_results(tmp_path)


def test_two_runs_are_compared_by_what_they_were_made_from(tmp_path: Path) -> None:
    data = tmp_path / "test.csv"
    manifests = []
    for k, text in ((4, "one"), (8, "two")):
        data.write_text(text)
        settings = {"k": k, "seed": 0}
        folder = tmp_path / str(k)
        manifests.append(write_results(folder, systems(), settings=settings, inputs={"data": data}))
    found = {(c.what, c.name): (c.old, c.new) for c in compare_manifests(*manifests)}
    assert set(found) == {("input", "data"), ("setting", "k")}
    assert found["setting", "k"] == (4, 8)
    assert compare_manifests(manifests[0], manifests[0]) == ()


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_results(tmp_path / "1", systems())
    two = write_results(tmp_path / "2", systems())
    assert one == two
    first, second = (tmp_path / f"{i}/manifest.json" for i in (1, 2))
    assert first.read_bytes() == second.read_bytes()


def test_senseless_input_is_refused(tmp_path: Path) -> None:
    p = systems()[1]
    with pytest.raises(OptionError, match="systems are named"):
        write_results(tmp_path, [p, p])
    with pytest.raises(OptionError, match="settings cannot be written"):
        write_results(tmp_path, [p], settings={"when": object()})
    with pytest.raises(NoSuchFileError):
        write_results(tmp_path, [p], inputs={"data": tmp_path / "none.csv"})
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="cannot write results"):
        write_results(tmp_path / "file", [p])
    for name in ("gold", "p_text", "latency"):
        clash = Predictions.of(["1"], ["1"], labels=["0", "1"], extra={name: ("text",)})
        with pytest.raises(DataError, match=f"column '{name}' would be read back as"):
            write_results(tmp_path, [clash])
