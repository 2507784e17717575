"""One cell of a suite: a data set, a label budget, a seed and options, run once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecomfs.core.json import plain
from ecomfs.core.progress import MEASURING, READING, Progress, part, silent
from ecomfs.embed import Embedder
from ecomfs.engine.protocol import Engine
from ecomfs.estimators import FewShotClassifier
from ecomfs.evaluation.evaluate import strangers
from ecomfs.evaluation.suites.config import Dataset, Shots
from ecomfs.evaluation.suites.data import Data, rows_hash, task_of
from ecomfs.evaluation.suites.systems import MAIN, Scored, answers, baselines
from ecomfs.pipeline import load_template
from ecomfs.types import Example, Language, Prediction
from ecomfs_eval import Predictions
from ecomfs_eval.manifest import hash_file

_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run.

    Attributes:
        dataset: of the suite.
        shots: labelled examples, or ``all``.
        seed: of the draw of labelled examples, and of the classifier.
        variant: name of the options; empty for the only ones.
        options: of the classifier: the suite's, the data set's and the variant's.
    """

    dataset: Dataset
    shots: Shots
    seed: int
    variant: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where its results are, below those of the suite."""
        name = f"n{self.shots}-s{self.seed}" + (f"-{self.variant}" if self.variant else "")
        return f"cells/{self.dataset.name}/{name}"

    @property
    def title(self) -> str:
        """For people."""
        variant = f" · {self.variant}" if self.variant else ""
        return f"{self.dataset.name} · {self.shots} labelled · seed {self.seed}{variant}"


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell gave.

    Attributes:
        systems: the classifier first, then its stages, then the baselines.
        absent: baseline → why it is not there.
        measured: seconds, tokens and counts, for the record; no two runs have the same.
    """

    systems: tuple[Predictions, ...]
    absent: Mapping[str, str]
    measured: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a cell reads and searches with, opened."""

    engine: Engine
    embedder: Embedder


def identity(cell: Cell, data: Data, systems: Sequence[str], tools: Tools) -> dict[str, Any]:
    """Everything that decides what a cell gives, as plain values: a cell with another identity
    is another result."""
    pool = data.examples(cell.shots, cell.seed)
    named = ("engine", "embedder", "template")  # told apart by what they are, not how called
    chosen = {k: v for k, v in sorted(cell.options.items()) if k not in named}
    options: dict[str, Any] = plain(chosen, fallback=_name)
    if isinstance(profile := cell.options.get("profile"), str | Path):
        options["profile"] = hash_file(profile).sha256[:16]
    return {
        "dataset": cell.dataset.name,
        "task": data.card.name,
        "shots": cell.shots,
        "seed": cell.seed,
        "variant": cell.variant,
        "options": options,
        "systems": list(systems),
        "pool": rows_hash(pool),
        "pool_rows": len(pool),
        "test": rows_hash(data.test),
        "test_rows": len(data.test),
        "left_out": data.left_out,
        "card": _card_hash(data),
        "templates": _templates(cell, data),
        "engine": tools.engine.spec,
        "engine_fingerprint": tools.engine.fingerprint,
        "embedder_fingerprint": tools.embedder.fingerprint,
        "ecomfs": importlib.metadata.version("ecomfs"),
    }


def _card_hash(data: Data) -> str:
    return hashlib.sha256(data.card.model_dump_json().encode()).hexdigest()[:16]


def _templates(cell: Cell, data: Data) -> dict[str, str]:
    """The templates that may be used, by language, with their hashes."""
    chosen = cell.options.get("language") or data.card.language
    languages: tuple[Language, ...] = ("en", "zh")
    found: dict[str, str] = {}
    for language in languages:
        if chosen in ("auto", language):
            choice, task = cell.options.get("template"), task_of(cell.dataset)
            found[language] = str(load_template(data.card, choice, language, task).ref)
    return found


def _name(value: Any) -> str:
    """What an option without a plain form is called in a cell's identity."""
    if isinstance(value, Path):
        return str(value)
    return str(getattr(value, "fingerprint", type(value).__name__))


def run_cell(
    cell: Cell,
    data: Data,
    systems: Sequence[str],
    tools: Tools,
    *,
    progress: Progress = silent,
) -> CellResult:
    """Fit a classifier on the labelled examples, classify the test rows, and derive every system.

    Args:
        progress: told how far it is.

    Raises:
        EcomfsError: the labelled examples or the options do not fit the task, or the engine is
            gone. A row's failure is that row's, and stays in the results.
    """
    pool = data.examples(cell.shots, cell.seed)
    chosen = {
        **cell.options, "engine": tools.engine, "embedder": tools.embedder, "seed": cell.seed,
    }  # fmt: skip
    clf = FewShotClassifier(task_of(cell.dataset), **chosen)
    started = time.monotonic()
    clf.fit(pool, progress=progress)
    fitted = time.monotonic()
    found = _classify(clf, data.test, progress)
    done = time.monotonic()
    progress(MEASURING)
    scored = Scored(clf.pipeline_, data.test, data.groups)
    kept, partial = answers(scored, found, stages="stages" in systems)
    others, absent = baselines(scored, pool, systems, cell.seed)
    measured = {
        "fit_seconds": round(fitted - started, 3),
        "seconds": round(done - fitted, 3),
        "prompt_tokens": sum(p.prompt_tokens for p in found),
        "cached_tokens": sum(p.cached_tokens for p in found),
        "unheard_of": strangers(scored.gold, clf.pipeline_.space),
        "status": _counts(str(p.status) for p in found),
        "templates": sorted({str(p.template) for p in found if p.template}),
        "pool_version": clf.pipeline_.pool_version,
        "k": clf.pipeline_.k,
        # With the defaults of the day, which the cell's identity does not hold.
        "parameters": plain(
            {k: v for k, v in clf.get_params().items() if k not in ("task", "fields")},
            fallback=_name,
        ),
    }
    return CellResult((*kept, *others), {**partial, **absent}, measured)


def _classify(
    clf: FewShotClassifier, rows: Sequence[Example], progress: Progress
) -> list[Prediction]:
    """In chunks, so that progress can be seen; rows of one chunk may share prompts."""
    found: list[Prediction] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        told = part(progress, READING, start, len(rows))
        found += clf.classify([dict(r.fields) for r in chunk], [r.id for r in chunk], progress=told)
    return found


def _counts(values: Any) -> dict[str, int]:
    out: dict[str, int] = {}
    for value in values:
        out[value] = out.get(value, 0) + 1
    return out


__all__ = ["MAIN", "Cell", "CellResult", "Tools", "identity", "run_cell"]
