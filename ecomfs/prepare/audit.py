"""Finds labelled examples that may be wrong: near copies with different labels, labels that the
other examples contradict, authors who wrote too much of a label, and attacks on the model.

Nothing is changed: a person decides. Contradicted labels are found by confident learning
(Northcutt, Jiang and Chuang 2021, *JAIR* 70): the experts classify each example leave-one-out; it
is reported if another label is at least as probable as that label is, on average, for its own
examples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import Evidence, prior_fusion
from ecomfs.embed import Embedder
from ecomfs.errors import EmptyInputError
from ecomfs.experts import Experts
from ecomfs.pipeline import Options, build_retriever
from ecomfs.prepare.clean.near import fingerprint, similarity
from ecomfs.retrieve import Retriever
from ecomfs.screen import REASONS, Screen
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Example

DoubtKind = Literal["copy", "contradicted", "author", "suspicious"]
KINDS: Mapping[DoubtKind, str] = {
    "copy": "nearly the same text as an example with another label",
    "contradicted": "the other examples predict another label with high confidence",
    "author": "one author wrote more examples of a label than the cap allows",
    "suspicious": "the text looks like an attack on the model",
}
"""Kind of doubt → what it means."""
NEAR = 0.8
"""Least shingle similarity (Jaccard) of two copies."""
LOOK_AT = 8
"""Number of nearest examples that are checked for copies."""
CONFIDENT = 0.6
"""Least probability of the other label."""
FEW = 5
"""An author of fewer examples of a label is never reported."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason to check an example again.

    Attributes:
        id: id of the example.
        label: its label in the pool.
        kind: one of :data:`KINDS`.
        detail: the evidence.
        instead: the likelier label; empty if there is none.
        strength: probability of the other label, or similarity of the copy; else 1.

    >>> Doubt("r1", "good", "copy", "like 'r2'").strength
    1.0
    """

    id: str
    label: str
    kind: DoubtKind
    detail: str
    instead: str = ""
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class PoolAudit:
    """The result of an audit.

    Attributes:
        examples: number of examples checked.
        doubts: the findings, by kind, the strongest first.

    >>> PoolAudit(2, (Doubt("r1", "good", "copy", "like 'r2'"),)).counts["copy"]
    1
    """

    examples: int
    doubts: tuple[Doubt, ...]

    @property
    def counts(self) -> dict[DoubtKind, int]:
        """Kind → number of findings."""
        found = Counter(doubt.kind for doubt in self.doubts)
        return {kind: found[kind] for kind in KINDS}


def audit(
    card: TaskCard,
    examples: Sequence[Example],
    embedder: Embedder,
    *,
    authors: Mapping[str, str] | None = None,
    cap: float = 0.5,
    seed: int = 0,
) -> PoolAudit:
    """Find examples that may be wrong.

    Args:
        card: the task.
        examples: the pool.
        embedder: embedder for the copies and the experts.
        authors: example id → author; ids may be missing.
        cap: largest share of the examples of a label that one author may have written.
        seed: seed of the retriever.

    Returns:
        One doubt per example and kind.

    Raises:
        EmptyInputError: the pool is empty.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.task import load_task
    >>> pool = [Example(f"{label}{n}", {"text": f"{word} {thing}, {word} indeed"}, label)
    ...         for label, word in (("positive", "lovely"), ("negative", "broken"))
    ...         for n, thing in enumerate(("shirt", "coat", "kettle", "lamp", "chair", "box"))]
    >>> pool.append(Example("odd", {"text": "broken cup, broken indeed"}, "positive"))
    >>> found = audit(load_task("review_sentiment"), pool, HashedEmbedder())
    >>> [(d.id, d.kind, d.instead) for d in found.doubts if d.kind == "contradicted"]
    [('odd', 'contradicted', 'negative')]
    """
    if not examples:
        raise EmptyInputError("the pool has no examples", hint="add labelled examples")
    space = LabelSpace.resolve(card, (e.label for e in examples), "pool")
    rows, retriever = build_retriever(card, examples, embedder, Options(seed=seed))
    doubts = [*_attacks(rows.card, space, examples), *_capped(examples, authors or {}, cap)]
    if retriever is not None:
        doubts += [*_copies(retriever), *_contradicted(retriever, space, rows.card)]
    order = {kind: place for place, kind in enumerate(KINDS)}
    doubts.sort(key=lambda d: (order[d.kind], -d.strength, d.id))
    return PoolAudit(len(examples), tuple(doubts))


def _attacks(card: TaskCard, space: LabelSpace, examples: Sequence[Example]) -> list[Doubt]:
    """Examples whose text imitates a prompt; they would appear in the prompts of other rows."""
    screen = Screen.of(card, space, ())
    found = []
    for example in examples:
        reasons = screen.screened(example.fields).reasons
        if reasons:
            said = "; ".join(REASONS[reason] for reason in reasons)
            found.append(Doubt(example.id, example.label, "suspicious", said))
    return found


def _capped(examples: Sequence[Example], authors: Mapping[str, str], cap: float) -> list[Doubt]:
    """Examples of authors who wrote more of a label than the cap allows."""
    labels = Counter(e.label for e in examples if authors.get(e.id))
    wrote: dict[tuple[str, str], list[str]] = defaultdict(list)
    for example in examples:
        if author := authors.get(example.id):
            wrote[author, example.label].append(example.id)
    return [
        Doubt(
            id_,
            label,
            "author",
            f"{author} wrote {len(ids)} of the {labels[label]} examples with an author",
            strength=len(ids) / labels[label],
        )
        for (author, label), ids in wrote.items()
        if len(ids) >= FEW and len(ids) > cap * labels[label] and len({a for a, _ in wrote}) > 1
        for id_ in ids
    ]


def _copies(retriever: Retriever) -> list[Doubt]:
    """Near copies with different labels; both examples of a pair are reported."""
    examples, texts = retriever.examples, retriever.texts
    prints = [fingerprint(text) for text in texts]
    hits = retriever.neighbours(
        texts,
        min(LOOK_AT, len(examples)),
        rows=[e.fields for e in examples],
        exclude_ids=[{e.id} for e in examples],
    )
    best: dict[int, tuple[float, int]] = {}
    for place, found in enumerate(hits):
        for other in found.positions.tolist():
            if examples[other].label == examples[place].label:
                continue
            alike = similarity(prints[place], prints[other])
            if alike >= NEAR:
                for one, two in ((place, other), (other, place)):
                    best[one] = max(best.get(one, (0.0, two)), (alike, two))
    return [
        Doubt(
            examples[one].id,
            examples[one].label,
            "copy",
            f"like {examples[two].id!r}, similarity {alike:.2f}",
            examples[two].label,
            alike,
        )
        for one, (alike, two) in best.items()
    ]


def _contradicted(retriever: Retriever, space: LabelSpace, card: TaskCard) -> list[Doubt]:
    """Examples whose label the others contradict."""
    examples, names = retriever.examples, space.names
    p = leave_one_out(retriever, space, card)
    given = np.array([space.require(e.label, e.id) for e in examples])
    own = p[np.arange(len(given)), given]
    counts = np.bincount(given, minlength=len(names))
    # Mean probability of a label for its own examples: the threshold of confident learning. It is
    # unknown for a label with one example.
    usual = np.array(
        [own[given == label].mean() if counts[label] > 1 else np.inf for label in range(len(names))]
    )
    sure = np.where(p >= usual, p, -1.0)
    sure[np.arange(len(given)), given] = -1.0
    instead = sure.argmax(axis=1)
    strength = sure[np.arange(len(given)), instead]
    return [
        Doubt(
            example.id,
            example.label,
            "contradicted",
            f"probability {own[row]:.2f} without this example",
            names[instead[row]],
            float(strength[row]),
        )
        for row, example in enumerate(examples)
        if strength[row] >= CONFIDENT and counts[given[row]] > 1
    ]


def leave_one_out(retriever: Retriever, space: LabelSpace, card: TaskCard) -> NDArray[np.float64]:
    """Leave-one-out probabilities of every example, without its copies, shape (pool, labels): from
    all experts, or from the neighbours' vote for examples on which the experts were not fitted.

    >>> from ecomfs.embed import HashedEmbedder
    >>> from ecomfs.task import load_task
    >>> pool = [Example(str(n), {"text": t}, "positive" if n < 3 else "negative") for n, t in
    ...         enumerate(("soft shirt", "soft coat", "soft hat", "torn bag", "torn box", "torn"))]
    >>> card = load_task("review_sentiment")
    >>> _, retriever = build_retriever(card, pool, HashedEmbedder(), Options())
    >>> space = LabelSpace.resolve(card, ["positive", "negative"])
    >>> leave_one_out(retriever, space, card).argmax(axis=1).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    experts = Experts(retriever, space.names, card)
    places = experts.data.places
    scores, _ = experts.leave_one_out()
    out = np.zeros((len(retriever), len(space)))
    rest = np.setdiff1d(np.arange(len(retriever)), places)
    if len(places):
        out[places] = prior_fusion(scores).apply(Evidence(scores))
    if len(rest):
        vote = retriever.vote(
            [retriever.texts[p] for p in rest],
            rows=[retriever.examples[p].fields for p in rest],
            exclude_ids=[{retriever.examples[p].id} for p in rest],
            leave_self_out=True,
        )
        columns = np.array([space.require(label, "the pool") for label in retriever.labels])
        out[np.ix_(rest, columns)] = vote
    return out


__all__ = ["KINDS", "Doubt", "PoolAudit", "audit", "leave_one_out"]
