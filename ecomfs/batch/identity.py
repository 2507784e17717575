"""The identity of a run: everything that determines its predictions. A journal of another identity
is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel

from ecomfs.batch.feed import Columns, Selection
from ecomfs.engine.canary import same_model
from ecomfs.engine.protocol import Engine
from ecomfs.errors import MissingFileError
from ecomfs.io import TableReader
from ecomfs.io.files import STANDARD, standard_input
from ecomfs.pipeline import LanguageSetup, Pipeline, PlannedRow
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Row

Identity = dict[str, Any]
_NAMED = {"screen", "card", "space", "engine", "setups", "rows", "pool_version", "experts"} | {
    *("retriever", "layout", "k")
}
_IN_SETUP = {"builder", "readout"}


def input_identity(source: str) -> Identity:
    """The identity of an input: the SHA-256 of a file or of standard input, or of the rows of a
    query or a data set, which are read once for it.

    The modification time is kept for information only, because copying a file changes it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("text\\n")
    >>> input_identity(str(path))["bytes"]
    5
    """
    path = standard_input() if source == STANDARD else Path(source)
    if path.is_file():
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            stat = path.stat()
        except OSError as error:
            raise MissingFileError(
                f"{path}: no permission to read it", hint="check the permissions of the file"
            ) from error
        return {"bytes": stat.st_size, "sha256": digest.hexdigest(), "changed": stat.st_mtime_ns}
    digest = hashlib.sha256()
    rows = 0
    for row in TableReader(source).rows():
        digest.update(json.dumps([*row.cells.values(), *row.extra]).encode())
        rows += 1
    return {"rows": rows, "sha256": digest.hexdigest()}


def pipeline_identity(pipeline: Pipeline) -> Identity:
    """Everything that determines a pipeline's predictions.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, fitted or not.

    Returns
    -------
    dict
        Part (model, task, templates, examples, …) → plain values or a hash; equal in every process.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> identity = pipeline_identity(pipeline)
    >>> identity["model"], identity["retrieval"]["k"]
    ('none', 8)
    """
    retriever, layout = pipeline.retriever, pipeline.layout
    setups = {
        language: {
            "template": str(setup.builder.ref),
            "answers": list(setup.builder.answers),
            "readout": setup.readout.name,
            **({} if (fence := setup.builder.fence) is None else {"fence": fence.identity}),
        }
        for language, setup in sorted(pipeline.setups.items())
    }
    masked = {} if pipeline.mask is None else {"mask": pipeline.mask.choice}
    return {
        "model": pipeline.engine.fingerprint,
        **masked,
        "task": _digest(
            [
                pipeline.card.model_dump(mode="json"),
                pipeline.space.names,
                pipeline.rows.rendering,
                pipeline.rows.with_facts,
            ]
        ),
        "template": setups,
        "examples": None
        if retriever is None
        else _digest([[e.id, _plain(e.fields), e.label] for e in retriever.examples]),
        "retrieval": None
        if retriever is None
        else {
            "k": pipeline.k,
            **({} if layout is None else {"layout": layout.name, "block": list(layout.block)}),
            "embedder": retriever.embedder.fingerprint,
            **{name: _plain(value) for name, value in sorted(retriever.options.items())},
        },
        "calibration": {
            language: _rest(setup, _IN_SETUP) for language, setup in sorted(pipeline.setups.items())
        },
        # The experts are determined by the examples.
        "options": {"experts": pipeline.experts is not None, **_rest(pipeline, _NAMED)},
    }


class PipelineLike(Protocol):
    """The pipeline of a taxonomy, or of a task with several labels per row. It has the methods of
    :class:`ecomfs.pipeline.Pipeline` that a run needs."""

    @property
    def card(self) -> TaskCard:
        """The task."""

    @property
    def space(self) -> LabelSpace:
        """The labels."""

    @property
    def engine(self) -> Engine:
        """The engine."""

    @property
    def has_model(self) -> bool:
        """Whether a model reads prompts."""
        ...

    @property
    def levels(self) -> Mapping[str, Pipeline]:
        """The nested pipelines, by name."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What determines the predictions besides the nested pipelines."""
        ...

    def prepare(self, rows: Sequence[Row], ids: Sequence[str]) -> Sequence[Any]:
        """Prepare rows without calling the engine."""
        ...

    async def answer(self, states: Sequence[Any]) -> Sequence[tuple[Any, object, Prediction]]:
        """Read prepared rows: for each row its state, its reading or error, and its prediction."""
        ...

    async def planned_rows(self, rows: Sequence[Row], ids: Sequence[str]) -> list[PlannedRow]:
        """The readings that each row would need."""
        ...

    async def planned_fit(
        self, readings: int, seed: int, *, uniform: bool = False
    ) -> list[PlannedRow]:
        """The readings that a fit would need."""
        ...


def identity_of(answers: Pipeline | PipelineLike) -> Identity:
    """Everything that determines the prediction of a row, for any kind of task.

    Parameters
    ----------
    answers : Pipeline or PipelineLike
        The pipeline of a task.

    Returns
    -------
    dict
        Part of the run → plain values, for :func:`run_identity`.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier(engine=None, embedder="hashed", calibration_size=0)
    >>> _ = clf.fit(["broke at once", "fits well"], ["negative", "positive"])
    >>> identity_of(clf.pipeline_)["model"]
    'none'
    """
    if isinstance(answers, Pipeline):
        return pipeline_identity(answers)
    return answers_identity(answers)


def answers_identity(answers: PipelineLike) -> Identity:
    """:func:`pipeline_identity` for a taxonomy, or for several labels per row."""
    levels = {name: pipeline_identity(level) for name, level in answers.levels.items()}
    return {
        "model": answers.engine.fingerprint,
        "task": _digest([answers.card.model_dump(mode="json"), answers.space.names]),
        "levels": {name or "parents": _digest(level) for name, level in levels.items()},
        "fit": _digest(_plain(answers.facts)),
    }


def run_identity(
    source: str,
    answers: Identity,
    columns: Columns,
    selection: Selection,
    encoding: str | None = None,
) -> Identity:
    """Everything that determines the predictions of a run, and which rows are scored.

    Parameters
    ----------
    source : str
        The input; the SHA-256 of its content is used.
    answers : dict
        The identity of the pipeline: :func:`identity_of`.
    columns : Columns
        Columns of the input.
    selection : Selection
        The selection of rows.
    encoding : str, optional
        The encoding given for the input.

    Returns
    -------
    dict
        Part of the run → plain values; a journal of another identity is refused.

    Examples
    --------
    >>> import tempfile
    >>> from ecomfs.batch.feed import find_columns
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = path.write_text("text\\nfits well\\n")
    >>> columns = find_columns(path, load_task("review_sentiment"))
    >>> identity = run_identity(str(path), {"model": "m"}, columns, Selection(limit=9))
    >>> identity["model"], identity["columns"], identity["selection"]["limit"]
    ('m', {'text': 'text'}, 9)
    """
    return {
        "input": input_identity(source),
        "input encoding": encoding,
        **answers,
        "columns": dict(columns.fields.columns)
        | {f"decimal mark of {n}": mark for n, (mark, _) in sorted(columns.fields.marks.items())},
        "selection": selection.identity(),
        "column of true labels": columns.gold,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The parts of a run that changed, in words.

    >>> differences({"model": "a", "input": {"sha256": "1"}, "retrieval": {"k": 4, "seed": 0}},
    ...             {"model": "b", "input": {"sha256": "2"}, "retrieval": {"k": 8, "seed": 0}})
    ['the model (a → b)', 'the input', 'the retrieval (k: 4 → 8)']
    >>> differences({"selection": None}, {"selection": {"where": [], "limit": 50}})
    ['the selection (limit: none → 50)']
    """
    found = []
    for name in dict.fromkeys((*old, *new)):
        before, after = _without_time(old.get(name)), _without_time(new.get(name))
        if before == after or (name == "model" and _same(before, after)):
            continue
        detail = ""
        if isinstance(before, dict) or isinstance(after, dict):
            # Hashes are not shown.
            parts = (part if isinstance(part, dict) else {} for part in (before, after))
            detail = "" if name == "input" else _parts(*parts)
        elif _short(before) and _short(after):
            detail = f"{_said(before)} → {_said(after)}"
        found.append(f"the {name}" + (f" ({detail})" if detail else ""))
    return found


def _same(before: Any, after: Any) -> bool:
    """Whether both fingerprints may be the same model: readings of a server vary slightly."""
    return isinstance(before, str) and isinstance(after, str) and same_model(before, after)


def _parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The entries of a part that differ, with both values if these are short."""
    changes = []
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        if old == new or not (old or new):
            continue
        shown = _short(old) and _short(new)
        changes.append(f"{key}: {_said(old)} → {_said(new)}" if shown else key)
    return ", ".join(changes)


def _short(value: Any) -> bool:
    """Whether a value can be shown: not a hash, and not a container."""
    if isinstance(value, str):
        return len(value) < 40
    return value is None or isinstance(value, bool | int | float)


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def _without_time(part: Any) -> Any:
    return {k: v for k, v in part.items() if k != "changed"} if isinstance(part, dict) else part


def _rest(value: Pipeline | LanguageSetup, named: set[str]) -> dict[str, Any]:
    """All other fields, so that fields added later are not forgotten. Fields that are ``None`` are
    left out, so that an unused new feature does not change the identity."""
    found = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in named}
    return {name: _plain(part) for name, part in found.items() if part is not None}


def _plain(value: Any, depth: int = 8) -> Any:
    """A value as JSON; other objects are described by their type and attributes."""
    if value is None or isinstance(value, (str, int, bool)) or not depth:
        return value if depth else type(value).__qualname__
    if isinstance(value, float):
        return float(f"{value:.6g}")  # the last digits differ between machines
    if isinstance(value, Mapping):
        return {str(k): _plain(v, depth - 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, depth - 1) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (np.ndarray, np.generic)):
        rounded = np.round(value, 5) if value.dtype.kind == "f" else value
        return [str(value.dtype), _digest(rounded.tolist())]
    if is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: _plain(getattr(value, f.name), depth - 1) for f in fields(value)}
        return [type(value).__qualname__, inner]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    public = {k: v for k, v in getattr(value, "__dict__", {}).items() if not callable(v)}
    return [type(value).__qualname__, _plain(public, depth - 1)]


def _digest(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
