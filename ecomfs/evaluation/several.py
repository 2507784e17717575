"""Tasks that are not one label of a flat list: predictions with true labels in; label sets or
whole labels of the system and of simple baselines out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecomfs.batch import Gold
from ecomfs.estimators.multilabel.neighbours import shares, vote
from ecomfs.evaluation.evaluate import KNN_NEIGHBOURS
from ecomfs.evaluation.harness import harness_errors, to_harness
from ecomfs.task import label_order
from ecomfs_eval import Predictions
from ecomfs_eval.label_sets import LabelSets

if TYPE_CHECKING:
    from ecomfs.estimators.multilabel.rows import MultiLabelRows
    from ecomfs.estimators.taxonomy.rows import TaxonomyRows


@harness_errors()
def set_systems(gold: Gold, answers: MultiLabelRows) -> dict[str, LabelSets]:
    """The label sets of the system, of the neighbours' vote on each label, and the most common
    set of the labelled examples; on the rows that have true labels.

    Raises:
        EmptyInputError: no row has true labels.
    """
    card, reader, names = answers.card, answers.reader, list(answers.space.names)
    kept = [i for i, cell in enumerate(gold.labels) if cell]
    truth = [card.labels_of(gold.labels[i], gold.ids[i]) for i in kept]
    space = names + label_order({label for own in truth for label in own} - set(names))
    answered = [gold.predictions[i] for i in kept]
    given: dict[str, list[Sequence[str] | None]] = {
        "ecomfs": [p.labels if p.label is not None else None for p in answered]
    }
    if reader.retriever is not None:
        base, scale = shares(reader.sets, len(names)), reader.retriever.similarity_scale
        hits = reader.retriever.neighbours(
            [answers.text(gold.rows[i]) for i in kept],
            KNN_NEIGHBOURS,
            rows=[gold.rows[i] for i in kept],
        )
        votes = [vote(hit, reader.sets, base, scale) for hit in hits]
        given["kNN only"] = [
            [name for name, p in zip(names, own, strict=True) if p >= 0.5] for own in votes
        ]
        [(common, _)] = Counter(reader.sets).most_common(1)
        given["majority"] = [[names[i] for i in sorted(common)]] * len(kept)
    return {name: LabelSets.of(truth, sets, space, name=name) for name, sets in given.items()}


@harness_errors()
def tree_systems(gold: Gold, answers: TaxonomyRows) -> dict[str, Predictions]:
    """The predictions over whole labels, and those of the neighbours' vote and the most common
    label; on the rows that have a true label.

    Raises:
        EmptyInputError: no row has a true label.
    """
    kept = [i for i, label in enumerate(gold.labels) if label]
    truth, names = [gold.labels[i] for i in kept], list(answers.space.names)
    space = names + label_order(set(truth) - set(names))
    ids = [f"{position}:{gold.ids[position]}" for position in kept]
    found = [gold.predictions[i] for i in kept]
    out = {"ecomfs": to_harness(found, truth, space, ids=ids, name="ecomfs")}
    retriever, leaf = answers.retriever, leaves_of(answers)
    if retriever is None:
        return out
    hits = retriever.neighbours(
        [answers.text(gold.rows[i]) for i in kept],
        KNN_NEIGHBOURS,
        rows=[gold.rows[i] for i in kept],
    )
    counts = Counter(leaf.values())
    votes = np.zeros((len(kept), len(space)))
    common = np.zeros_like(votes)
    for row, hit in enumerate(hits):
        for position in hit.positions:
            votes[row, space.index(leaf[retriever.examples[position].id])] += 1
        for name, count in counts.items():
            common[row, space.index(name)] = count
    for name, table in (("kNN only", votes), ("majority", common)):
        p = table / table.sum(axis=1, keepdims=True)
        out[name] = Predictions.of(truth, None, p, labels=space, ids=ids, name=name)
    return out


@harness_errors()
def parents(systems: Mapping[str, Predictions], separator: str) -> dict[str, Predictions]:
    """The same predictions by parent: a child's probability counts for its parent."""
    mark = separator.strip()

    def parent(label: str) -> str:
        return label.partition(mark)[0].strip()

    out = {}
    for name, p in systems.items():
        space = list(dict.fromkeys(parent(label) for label in p.labels))
        gold = [parent(label) for label in p.gold]
        given = [None if label is None else parent(label) for label in p.predicted]
        table = None
        if p.probabilities is not None:
            owner = np.array([space.index(parent(label)) for label in p.labels])
            table = np.stack(
                [p.probabilities[:, owner == at].sum(axis=1) for at in range(len(space))], axis=1
            )
        out[name] = Predictions.of(
            gold, given, table, labels=space, ids=p.ids, name=name, status=p.status
        )
    return out


def leaves_of(answers: TaxonomyRows) -> dict[str, str]:
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


__all__ = ["leaves_of", "parents", "set_systems", "tree_systems"]
