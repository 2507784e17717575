"""Logs a board to MLflow: one run for the whole board, one nested run per table."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ecomfs_eval.board.model import Board, Group
from ecomfs_eval.errors import MissingLibraryError, WriteError


def log_board(
    board: Board, uri: str, *, experiment: str = "ecomfs", files: Sequence[Path] = ()
) -> str:
    """Log a board.

    The metrics of a table's run are named ``SYSTEM/METRIC``, with ``/low`` and ``/high`` for the
    interval (a colon in a system's name becomes a full stop). Its parameters are the data set and
    the numbers of labelled examples, test rows and runs.

    Args:
        uri: the tracking server or database.
        experiment: created if it does not exist.
        files: attached to the run of the whole board, such as the report.

    Returns:
        The id of the run of the whole board.

    Raises:
        MissingLibraryError: MLflow is not installed.
        WriteError: the server refuses it.
    """
    if not find_spec("mlflow"):
        raise MissingLibraryError("logging needs MLflow", hint="pip install 'ecomfs[mlflow]'")
    import mlflow

    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name=board.title) as whole:
            mlflow.set_tags({f"note.{i}": n for i, n in enumerate(board.notes.get("", ()))})
            for file in files:
                mlflow.log_artifact(str(file))
            for group in board.groups:
                with mlflow.start_run(run_name=_name(group), nested=True):
                    mlflow.log_params(
                        {
                            "dataset": group.name,
                            "labelled": group.size,
                            "variant": group.variant,
                            "test_rows": group.rows,
                            "runs": group.runs,
                            "best_baseline": group.best_baseline or "",
                        }
                    )
                    mlflow.log_metrics(numbers(group))
        return str(whole.info.run_id)
    except mlflow.exceptions.MlflowException as error:
        first = str(error).strip().splitlines()[0]
        raise WriteError(f"MLflow at {uri}: {first}", hint="check the address") from error


def numbers(group: Group) -> dict[str, float]:
    """The numbers of a table by name; undefined metrics are left out."""
    out: dict[str, float] = {}
    for system, found in group.averages.items():
        for metric, average in found.items():
            # MLflow does not allow @ and : in names.
            name = f"{system.replace(':', '.')}/{metric.replace('@', '_at_')}"
            if average.score.value is not None:
                out[name] = average.score.value
            if average.score.interval is not None:
                out[f"{name}/low"] = average.score.interval.low
                out[f"{name}/high"] = average.score.interval.high
    return out


def _name(group: Group) -> str:
    variant = f" {group.variant}" if group.variant else ""
    return f"{group.name} n={group.size}{variant}"
