"""One cell of a suite: a data set, a label budget, a seed and options, run once. All systems come
from that run: the final predictions, earlier stages, and baselines."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ecomfs.core import event_loop
from ecomfs.core.json import plain
from ecomfs.core.progress import MEASURING, READING, Progress, part, silent
from ecomfs.embed import Embedder
from ecomfs.engine.protocol import Engine
from ecomfs.estimators import Classifier, FewShotClassifier, classifier_of
from ecomfs.estimators.multilabel.pipeline import MultiLabelPipeline
from ecomfs.estimators.multilabel.prompts import label_template
from ecomfs.estimators.taxonomy.pipeline import TaxonomyPipeline
from ecomfs.estimators.taxonomy.tree import LEVELS
from ecomfs.evaluation.evaluate import unknown_labels, vote
from ecomfs.evaluation.harness import SupportsBaselines, as_predictions, at_stage, structure_of
from ecomfs.evaluation.rules import MAJORITY, RuleAnswers, trivial_rule
from ecomfs.evaluation.trained import baseline_tables
from ecomfs.pipeline import Pipeline, load_template
from ecomfs.suites.config import Dataset, Shots
from ecomfs.suites.data import Data, rows_hash, task_of
from ecomfs.suites.structured import of_sets, set_baselines, set_votes, whole_labels
from ecomfs.task import label_order
from ecomfs.types import Example, Language, Prediction, Row
from ecomfs_eval import Predictions, Undefined
from ecomfs_eval.baselines import BASELINES, run_baselines
from ecomfs_eval.manifest import hash_file

_CHUNK = 64
MAIN = "ecomfs"
AnyPipeline: TypeAlias = Pipeline | TaxonomyPipeline | MultiLabelPipeline
"""The pipeline of any kind of task."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a suite.

    Attributes:
        dataset: the data set.
        shots: number of labelled examples, or ``all``.
        seed: seed of the draw of labelled examples, and of the classifier.
        variant: name of the variant; empty if there is only one.
        options: options of the classifier, merged from suite, data set and variant.
    """

    dataset: Dataset
    shots: Shots
    seed: int
    variant: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder of its results, below that of the suite."""
        name = f"n{self.shots}-s{self.seed}" + (f"-{self.variant}" if self.variant else "")
        return f"cells/{self.dataset.name}/{name}"

    @property
    def title(self) -> str:
        """The title in progress and reports."""
        variant = f" · {self.variant}" if self.variant else ""
        return f"{self.dataset.name} · {self.shots} labelled · seed {self.seed}{variant}"


@dataclass(frozen=True, slots=True)
class CellResult:
    """Results of a cell.

    Attributes:
        systems: the classifier first, then its stages, then the baselines.
        absent: baseline → why it is missing.
        measured: seconds, tokens and counts; they differ between runs.
    """

    systems: tuple[Predictions, ...]
    absent: Mapping[str, str]
    measured: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """The open engine and embedder of a cell."""

    engine: Engine
    embedder: Embedder


def identity(cell: Cell, data: Data, systems: Sequence[str], tools: Tools) -> dict[str, Any]:
    """Everything that determines the result of a cell, as plain values."""
    pool = data.examples(cell.shots, cell.seed)
    named = ("engine", "embedder", "template")  # identified by content, not by name
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
            ref = load_template(data.card, choice, language, task).ref
            # With several labels per row there is one fixed template.
            found[language] = str(label_template(language).ref if data.card.multi_label else ref)
    return found


def _name(value: Any) -> str:
    """The name of an option value without a plain form, in the identity of a cell."""
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
        progress: called with the progress.

    Raises:
        EcomfsError: the labelled examples or the options do not fit the task, or the engine is
            unavailable. A row that fails stays in the results, as failed.
    """
    pool = data.examples(cell.shots, cell.seed)
    card = data.card
    # A stage is the answer of every row after it.
    whole = "stages" in systems and not card.multi_label and card.hierarchy is None
    chosen = {
        **({"cascade": False} if whole else {}),
        **cell.options,
        "engine": tools.engine,
        "embedder": tools.embedder,
        "seed": cell.seed,
    }
    clf = classifier_of(task_of(cell.dataset), **chosen)
    started = time.monotonic()
    clf.fit(pool, progress=progress)
    fitted = time.monotonic()
    found = _classify(clf, data.test, progress)
    done = time.monotonic()
    progress(MEASURING)
    scored = ScoredRows(clf.pipeline_, data.test, data.groups)
    kept, partial = answers(scored, found, stages="stages" in systems)
    others, absent = baselines(scored, pool, systems, cell.seed)
    measured = {
        "fit_seconds": round(fitted - started, 3),
        "seconds": round(done - fitted, 3),
        "prompt_tokens": sum(p.prompt_tokens for p in found),
        "cached_tokens": sum(p.cached_tokens for p in found),
        "unknown_labels": unknown_labels(
            [name for cell in scored.gold for name in data.card.labels_of(cell, cell)],
            clf.pipeline_.space,
        ),
        "status": dict(Counter(str(p.status) for p in found)),
        "templates": sorted({str(p.template) for p in found if p.template}),
        "pool_version": clf.pipeline_.pool_version,
        "k": clf.pipeline_.k,
        # With the current defaults, which are not part of the cell's identity.
        "parameters": plain(
            {k: v for k, v in clf.get_params().items() if k not in ("task", "fields")},
            fallback=_name,
        ),
    }
    return CellResult((*kept, *others), {**partial, **absent}, measured)


def _classify(clf: Classifier, rows: Sequence[Example], progress: Progress) -> list[Prediction]:
    """Classify rows in chunks, for the progress; rows of one chunk may share prompt prefixes."""
    found: list[Prediction] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        fields, ids = [dict(r.fields) for r in chunk], [r.id for r in chunk]
        if isinstance(clf, FewShotClassifier):
            progressed = part(progress, READING, start, len(rows))
            found += clf.classify(fields, ids, progress=progressed)
        else:
            progress(READING, start, len(rows))
            found += event_loop.run(_answered(clf.pipeline_, fields, ids))
    return found


async def _answered(
    answers: MultiLabelPipeline | TaxonomyPipeline, rows: Sequence[Row], ids: Sequence[str]
) -> list[Prediction]:
    states: Sequence[Any] = await asyncio.to_thread(answers.prepare, rows, ids)
    return [prediction for _, _, prediction in await answers.answer(states)]


class ScoredRows:
    """Makes predictions of systems on the test rows; ``groups`` has one group per row."""

    def __init__(
        self, pipeline: AnyPipeline, test: Sequence[Example], groups: Sequence[str] | None
    ) -> None:
        self.pipeline = pipeline
        self.test = test
        self.gold = [row.label for row in test]
        self.rows = [row.fields for row in test]
        names = pipeline.space.names
        self.labels = [*names, *label_order(set(self.gold) - set(names))]
        self.common: dict[str, Any] = {
            "ids": [row.id for row in test],
            "positive": _positive(pipeline, self.labels),
        }
        if groups is not None:
            self.common["groups"] = tuple(groups)

    def of(self, name: str, predicted: Any, probabilities: Any) -> Predictions:
        """Predictions on these rows, one label per row."""
        made = structure_of(self.pipeline.card, self.labels)
        return Predictions.of(
            self.gold,
            predicted,
            probabilities,
            labels=self.labels,
            name=name,
            structure=made,
            **self.common,
        )

    def answered(self, found: Sequence[Prediction], **columns: Any) -> Predictions:
        """The answers of the classifier, or of one of its stages."""
        card, names = self.pipeline.card, self.pipeline.space.names
        return as_predictions(found, self.gold, card, names, **self.common, **columns)


def answers(
    scored: ScoredRows, found: Sequence[Prediction], *, stages: bool
) -> tuple[list[Predictions], dict[str, str]]:
    """The final predictions, one system for each earlier stage, and why a stage is missing. Failed
    rows are kept, as failed."""
    final = scored.answered(
        found,
        name=MAIN,
        extra={
            "text": tuple(scored.pipeline.text(row.fields) for row in scored.test),
            "error": tuple(p.error for p in found),
            "note": tuple(p.note for p in found),
            "demonstrations": tuple(" ".join(p.demonstration_ids) for p in found),
        },
    )
    if not stages:
        return [final], {}
    systems, absent = [final], {}
    # The last level of a hierarchy is the final prediction.
    same = {LEVELS[-1]} if isinstance(scored.pipeline, TaxonomyPipeline) else set()
    for name in dict.fromkeys(name for p in found for name in p.stages if name not in same):
        title, chain = f"{MAIN}:{name}", _chain(name)
        if any(p.probabilities and not set(chain) & set(p.stages) for p in found):
            absent[title] = "some rows were answered without this step"
            continue
        then = [at_stage(p, chain) for p in found]
        systems.append(scored.answered(then, tokens=False, name=title))
    return systems, absent


_BEFORE = {"fused": "calibrated", "calibrated": "read"}
"""A row that skipped a step has the distribution of the previous step (for example, if a language
has too few examples to calibrate)."""


def _chain(name: str) -> list[str]:
    """A step and all earlier ones."""
    return [name, *(_chain(_BEFORE[name]) if name in _BEFORE else ())]


def baselines(
    scored: ScoredRows, pool: Sequence[Example], wanted: Collection[str], seed: int
) -> tuple[list[Predictions], dict[str, str]]:
    """The baselines that the data allow, and why others are missing."""
    pipeline = scored.pipeline
    found: dict[str, Predictions | Undefined]
    if isinstance(pipeline, MultiLabelPipeline):
        found = _of_sets(scored, pipeline, pool, wanted, seed)
    elif isinstance(pipeline, TaxonomyPipeline):
        found = _of_labels(scored, whole_labels(pipeline), pool, wanted, seed)
    else:
        found = _of_labels(scored, pipeline, pool, wanted, seed)
    systems = [p for p in found.values() if isinstance(p, Predictions)]
    return systems, {n: u.reason for n, u in found.items() if isinstance(u, Undefined)}


def _of_labels(
    scored: ScoredRows,
    pipeline: SupportsBaselines,
    pool: Sequence[Example],
    wanted: Collection[str],
    seed: int,
) -> dict[str, Predictions | Undefined]:
    """The baselines for one label per row."""
    found: dict[str, Predictions | Undefined] = {}
    if "knn" in wanted and pipeline.retriever is not None:
        texts = [pipeline.text(row) for row in scored.rows]
        votes = vote(pipeline, texts, scored.labels, scored.rows)
        found["knn"] = scored.of("knn", None, votes)
    names = _trained(wanted)
    if names and pool:
        train, test = baseline_tables(pipeline, pool, scored.test, wanted)
        for name, got in run_baselines(train, test, names, seed=seed).items():
            found[name] = (
                got
                if isinstance(got, Undefined)
                else scored.of(
                    name, list(got.predicted), got.with_labels(scored.labels).probabilities
                )
            )
    if "rule" in wanted and pipeline.retriever is not None:
        rule = trivial_rule(pipeline, scored.rows)
        if rule.name not in found:
            found[rule.name] = _ruled(scored, rule)
    return found


def _of_sets(
    scored: ScoredRows,
    answers: MultiLabelPipeline,
    pool: Sequence[Example],
    wanted: Collection[str],
    seed: int,
) -> dict[str, Predictions | Undefined]:
    """The baselines for several labels per row: one classifier per label, except for those that
    ignore the row. The most common set is also the trivial rule."""
    if not pool:
        return {}
    cells: dict[str, list[str] | Undefined] = {}
    if "knn" in wanted:
        cells["knn"] = set_votes(answers, scored.rows)
    train, test = baseline_tables(answers, pool, scored.test, wanted)
    names = dict.fromkeys([*_trained(wanted), *([MAJORITY] if "rule" in wanted else ())])
    cells |= set_baselines(answers, train, test, list(names), seed=seed)
    ids, groups = scored.common["ids"], scored.common.get("groups")
    return {
        name: own
        if isinstance(own, Undefined)
        else of_sets(answers, scored.gold, own, ids=ids, groups=groups, name=name)
        for name, own in cells.items()
    }


def _trained(wanted: Collection[str]) -> list[str]:
    return [name for name in BASELINES if name in wanted and name != "knn"]


def _ruled(scored: ScoredRows, rule: RuleAnswers) -> Predictions:
    """The trivial rule as a system; without probabilities if it only names labels."""
    names = scored.pipeline.space.names
    answers = [names[place] for place in rule.probabilities.argmax(axis=1)]
    if not rule.scored:
        return scored.of(rule.name, answers, None)
    table = np.zeros((len(answers), len(scored.labels)))
    table[:, : len(names)] = rule.probabilities
    return scored.of(rule.name, answers, table)


def _positive(pipeline: AnyPipeline, labels: Sequence[str]) -> str | None:
    """The card's positive label in the pool's spelling, for binary metrics."""
    name = pipeline.card.positive
    if name is None or isinstance(pipeline, MultiLabelPipeline):
        return None
    found = pipeline.space.index(name)
    return None if found is None else labels[found]
