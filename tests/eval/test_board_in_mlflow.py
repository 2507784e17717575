from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from ecomfs_eval.board.mlflow import log_board, numbers
from ecomfs_eval.errors import MissingLibraryError, WriteError

from .test_board import board

HAVE = find_spec("mlflow") is not None
needs_mlflow = pytest.mark.skipif(not HAVE, reason="needs the mlflow extra")


def test_numbers_are_those_of_the_table() -> None:
    group = board().groups[0]
    found = numbers(group)
    score = group.averages["ours:read"]["log_loss"].score
    assert found["ours.read/log_loss"] == score.value
    assert found["ours.read/log_loss/low"] == score.interval.low
    assert len(found) == 3 * 2 * len(group.averages)


@pytest.mark.skipif(HAVE, reason="MLflow is installed")
def test_without_mlflow_the_extra_is_named() -> None:
    with pytest.raises(MissingLibraryError, match=r"ecomfs\[mlflow\]"):
        log_board(board(), "sqlite:///x.db")


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_a_board_is_logged_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # a local database keeps its files beside it
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    note = tmp_path / "report.md"
    note.write_text("# report", encoding="utf-8")
    found = board(title="Shops")
    whole = log_board(found, uri, experiment="boards", files=[note])
    client = MlflowClient(uri)
    parts = client.search_runs(
        [client.get_run(whole).info.experiment_id], f"tags.`mlflow.parentRunId` = '{whole}'"
    )
    assert len(parts) == len(found.groups)
    by_key = {(r.data.params["dataset"], r.data.params["labelled"]): r for r in parts}
    for group in found.groups:
        assert by_key[group.name, str(group.size)].data.metrics == pytest.approx(numbers(group))
    assert [a.path for a in client.list_artifacts(whole)] == ["report.md"]


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(WriteError, match="MLflow at nowhere:"):
        log_board(board(), "nowhere://x")
