"""Predictions and simple baselines for tasks with several labels per row, or a hierarchy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecomfs.batch import Gold
from ecomfs.estimators.multilabel.neighbours import shares, vote
from ecomfs.estimators.multilabel.pipeline import MultiLabelPipeline
from ecomfs.estimators.taxonomy.pipeline import TaxonomyPipeline
from ecomfs.evaluation import evaluate
from ecomfs.evaluation.harness import as_predictions, harness_errors, structure_of
from ecomfs.retrieve import Retriever
from ecomfs.task import LabelSpace, TaskCard, join_labels, label_order
from ecomfs.types import Row
from ecomfs_eval import Predictions, Undefined
from ecomfs_eval.baselines import LabelledRows, run_baselines

Flags: TypeAlias = NDArray[np.bool_]
WHOLE = ("majority", "prior_random")
"""Baselines that predict a whole set as one label; the others predict label by label."""


@harness_errors()
def structured_systems(
    gold: Gold, answers: MultiLabelPipeline | TaxonomyPipeline
) -> dict[str, Predictions]:
    """The predictions, the neighbours' vote, and the most common label or set of the labelled
    examples, on the rows that have a true label.

    Raises:
        EmptyInputError: no row has a true label.
    """
    gold = gold.scored()
    truth, rows, ids = gold.labels, gold.rows, tuple(gold.ids)
    card, names = answers.card, answers.space.names
    out = {"ecomfs": as_predictions(gold.predictions, truth, card, names, ids=ids, name="ecomfs")}
    if answers.retriever is None:
        return out
    if isinstance(answers, MultiLabelPipeline):
        common = Counter(answers.sets).most_common(1)[0][0]
        cell = join_labels([names[i] for i in sorted(common)], answers.space.separator)
        for name, given in (
            ("kNN only", set_votes(answers, rows)),
            ("majority", [cell] * len(rows)),
        ):
            out[name] = of_sets(answers, truth, given, ids=ids, name=name)
        return out
    flat = whole_labels(answers)
    space = [*names, *label_order(set(truth) - set(names))]
    shared: dict[str, Any] = {"labels": space, "ids": ids, "structure": structure_of(card, space)}
    votes = evaluate.vote(flat, [flat.text(row) for row in rows], space, rows)
    counts = Counter(e.label for e in flat.retriever.examples)
    total = counts.total()
    prior = [[counts[label] / total for label in space]] * len(rows)
    for name, table in (("kNN only", votes), ("majority", prior)):
        out[name] = Predictions.of(truth, None, table, name=name, **shared)
    return out


def of_sets(
    answers: MultiLabelPipeline,
    gold: Sequence[str],
    given: Sequence[str | None],
    *,
    ids: Sequence[str],
    name: str,
    groups: Sequence[str] | None = None,
) -> Predictions:
    """Cells with sets of labels, as predictions of the harness."""
    labels = label_order({*gold, *(cell for cell in given if cell is not None)})
    made = structure_of(answers.card, labels, answers.space.names)
    return Predictions.of(
        gold,
        given,
        labels=labels,
        ids=ids,
        structure=made,
        name=name,
        groups=None if groups is None else tuple(groups),
    )


def as_sets(scores: NDArray[np.float64], examples: Sequence[Collection[object]]) -> Flags:
    """Turn scores into label sets with one threshold, chosen so that rows have as many labels on
    average as the labelled examples. (With few examples of each label, hardly any score is above
    one half.)

    Source: Read et al. 2011, doi:10.1007/s10994-011-5256-5.

    Args:
        scores: shape (rows, labels).
        examples: the labels of each example.

    >>> as_sets(np.array([[0.4, 0.1], [0.3, 0.2]]), [{"a"}, {"b"}]).tolist()
    [[True, False], [True, False]]
    """
    wanted = round(len(scores) * sum(map(len, examples)) / len(examples))
    if not wanted:
        return np.zeros(scores.shape, dtype=np.bool_)
    return np.asarray(scores >= np.sort(scores, axis=None)[-min(wanted, scores.size)])


def set_votes(answers: MultiLabelPipeline, rows: Sequence[Row]) -> list[str]:
    """The label sets by the vote of the nearest examples, as cells.

    Raises:
        ValueError: there are no labelled examples.
    """
    retriever, names = answers.retriever, answers.space.names
    if retriever is None:
        raise ValueError("no labelled examples")
    base, scale = shares(answers.sets, len(names)), retriever.similarity_scale
    texts = [answers.text(row) for row in rows]
    hits = retriever.neighbours(texts, evaluate.KNN_NEIGHBOURS, rows=rows)
    votes = np.array([vote(hit, answers.sets, base, scale) for hit in hits])
    return [_cell(answers, own) for own in as_sets(votes, answers.sets)]


def set_baselines(
    answers: MultiLabelPipeline,
    train: LabelledRows,
    test: LabelledRows,
    names: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, list[str] | Undefined]:
    """Baselines of the harness for several labels per row: one binary classifier per label.

    Args:
        train, test: examples whose labels are cells.

    Returns:
        Name → a cell per row, or why the baseline is missing.
    """
    whole = run_baselines(train, test, [n for n in names if n in WHOLE], seed=seed)
    out: dict[str, list[str] | Undefined] = {
        name: got if isinstance(got, Undefined) else [str(cell) for cell in got.predicted]
        for name, got in whole.items()
    }
    sets = [answers.card.labels_of(cell, cell) for cell in train.labels]
    nobody = ("no",) * len(test)
    for name in (n for n in names if n not in WHOLE):
        scores = np.zeros((len(test), len(answers.space)))
        reason = ""
        for place, label in enumerate(answers.space.names):
            has = tuple("yes" if label in own else "no" for own in sets)
            if len(set(has)) < 2:  # all examples have the label, or none
                scores[:, place] = has[0] == "yes"
                continue
            asked = replace(train, labels=has), replace(test, labels=nobody)
            got = run_baselines(*asked, [name], seed=seed)[name]
            if isinstance(got, Undefined):
                reason = got.reason
                break
            if got.probabilities is not None:
                scores[:, place] = got.probabilities[:, got.labels.index("yes")]
        given = as_sets(scores, sets)
        out[name] = Undefined(reason) if reason else [_cell(answers, own) for own in given]
    return out


def _cell(answers: MultiLabelPipeline, has: NDArray[np.bool_]) -> str:
    names = [name for name, own in zip(answers.space.names, has, strict=True) if own]
    return join_labels(names, answers.space.separator)


@dataclass(frozen=True, slots=True)
class WholeLabels:
    """A hierarchy as a task with one label per row, its whole labels, for baselines."""

    card: TaskCard
    space: LabelSpace
    retriever: Retriever
    answers: TaxonomyPipeline

    def text(self, row: Row, /) -> str:
        """A row as the retriever sees it."""
        return self.answers.text(row)


def whole_labels(answers: TaxonomyPipeline) -> WholeLabels:
    """A fitted hierarchy as a task with one label per row.

    Raises:
        ValueError: there are no labelled examples.
    """
    first, leaf = answers.retriever, leaves_of(answers)
    if first is None:
        raise ValueError("no labelled examples")
    examples = [replace(e, label=leaf[e.id]) for e in first.examples]
    retriever = first.updated(examples, first.texts)
    return WholeLabels(answers.card, answers.space, retriever, answers)


def leaves_of(answers: TaxonomyPipeline) -> Mapping[str, str]:
    """Id of an example → its whole label."""
    out = {}
    for at, branch in enumerate(answers.branches):
        level = answers.below.get(at)
        if level is not None and level.retriever is not None:
            for e in level.retriever.examples:
                out[e.id] = branch.leaves[branch.children.index(e.label)]
        elif answers.root is not None and answers.root.retriever is not None:
            for e in answers.root.retriever.examples:
                if e.label == branch.name:
                    out[e.id] = branch.leaves[0]
    return out


__all__ = ["of_sets", "set_baselines", "set_votes", "structured_systems", "whole_labels"]
