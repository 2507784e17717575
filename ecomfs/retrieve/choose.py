"""Chooses the similarity for a pool: of texts, of fields, or a mix.

Each example is classified by the vote of its neighbours, once with every candidate. The weights of
the fields are learned from labels, so they are cross-fitted: otherwise a field that fits the
example's label by chance would find neighbours that fit it too. No model is called.

Of the candidates within one standard error of the least log loss, the one nearest to the default is
chosen (the one-standard-error rule, Breiman et al. 1984, section 3.4.3), so that a small pool
usually keeps the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.embed import Embedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve.index import kernel_vote
from ecomfs.retrieve.retriever import DuplicateFinder
from ecomfs.retrieve.tabular import TabularSpace, deviation, mixed_share, sample_places
from ecomfs.task import FieldSpec
from ecomfs.types import Example

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of the fields to try."""
DEFAULT_WEIGHT = 0.5
"""Default weight of the fields: fields and text count the same."""
RELATED_WEIGHT = 1.0
"""Default weight for tasks with two texts, or a text and a history: such rows are similar if their
fields relate in the same way, whatever their words."""
LEAST_EXAMPLES = 16
"""With fewer examples the default is used."""
_FOLDS = 8
_NEIGHBOURS = 8


@dataclass(frozen=True, slots=True)
class Trial:
    """Leave-one-out results of one candidate.

    Attributes:
        weight: weight of the fields; 0: text alone, 1: fields alone.
        log_loss: log loss of the neighbours' vote, in nats.
        accuracy: accuracy of the vote.
        behind: its log loss minus that of the best candidate.
        error: standard error of ``behind``.
    """

    weight: float
    log_loss: float
    accuracy: float
    behind: float
    error: float


@dataclass(frozen=True, slots=True)
class ChosenSimilarity:
    """A retrieval mode and weight, and how they were chosen.

    Attributes:
        mode: ``dense``, ``tabular`` or ``mixed``, for :class:`ecomfs.retrieve.Retriever`.
        weight: weight of the fields, its ``tabular_weight``.
        reason: why they were chosen, one phrase.
        examples: number of examples classified leave-one-out.
        trials: the candidates by weight; empty if nothing was tried.

    >>> ChosenSimilarity("mixed", 0.5, "as asked for").to_dict()["mode"]
    'mixed'
    """

    mode: str
    weight: float
    reason: str
    examples: int = 0
    trials: tuple[Trial, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return asdict(self)


def choose_similarity(
    examples: Sequence[Example],
    texts: Sequence[str],
    embedder: Embedder,
    fields: Sequence[FieldSpec],
    *,
    weights: Sequence[float] = WEIGHTS,
    default: float | None = None,
) -> ChosenSimilarity:
    """Choose the weight of the fields for a pool.

    Parameters
    ----------
    examples
        The pool without its synthetic examples; of more than 512, an evenly spread sample is used.
    texts
        The examples as text.
    embedder
        The embedder for the texts; it is fitted here.
    fields
        The fields to compare. If none can be compared, text is chosen.
    weights
        Candidates; ``default`` is added.
    default
        Kept unless another weight is better by more than a standard error; ``None``: 1 for tasks
        with two texts or a text and a history, else 0.5.

    Raises
    ------
    ConfigError
        The numbers of texts and examples differ, or a weight is not between 0 and 1.

    Examples
    --------
    >>> from ecomfs.embed.hashed import HashedEmbedder
    >>> pool = [Example(str(i), {"n": i}, "high" if i > 19 else "low") for i in range(40)]
    >>> texts = [f"visit {i * 7 % 40}" for i in range(40)]  # unrelated to the label
    >>> fields = [FieldSpec(name="n", kind="number")]
    >>> choose_similarity(pool, texts, HashedEmbedder(256), fields).mode
    'tabular'
    """
    if len(examples) != len(texts):
        raise ConfigError(f"{len(examples)} examples but {len(texts)} texts")
    # A synthetic example reveals the label of the one it was made from.
    real = [p for p, example in enumerate(examples) if not example.synthetic]
    if default is None:
        default = default_weight(fields)
    tried = sorted({*weights, default})
    if not all(0 <= weight <= 1 for weight in tried):
        raise ConfigError("the weights of the fields must be between 0 and 1")
    try:
        TabularSpace(fields)
    except ConfigError:
        return ChosenSimilarity("dense", 0.0, "no field can be compared but by its text")
    places = [real[p] for p in sample_places(len(real))]
    labels = [examples[p].label for p in places]
    if len(places) < LEAST_EXAMPLES or len(set(labels)) < 2:
        return ChosenSimilarity(
            mode_of(default), default, "the default: too few examples to choose by"
        )
    losses, right = _trials(
        [examples[p] for p in places], [texts[p] for p in places], embedder, fields, tried
    )
    means = losses.mean(axis=1)
    best = int(means.argmin())
    behind = losses - losses[best]
    errors = behind.std(axis=1, ddof=1) / np.sqrt(len(places))
    found = tuple(
        Trial(weight, *map(float, numbers))
        for weight, *numbers in zip(
            tried, means, right.mean(axis=1), behind.mean(axis=1), errors, strict=True
        )
    )
    near = [trial for trial in found if trial.behind <= trial.error]
    chosen = min(near, key=lambda t: (abs(t.weight - default), t.log_loss))
    reason = "least log loss, leave-one-out"
    if chosen.weight == default:
        reason = "the default: no other is better by more than a standard error"
    elif chosen is not found[best]:
        reason = "nearest to the default within a standard error of the least log loss"
    return ChosenSimilarity(mode_of(chosen.weight), chosen.weight, reason, len(places), found)


def default_weight(fields: Sequence[FieldSpec]) -> float:
    """The default weight of the fields.

    >>> default_weight([FieldSpec(name="q", kind="text"), FieldSpec(name="title", kind="text")])
    1.0
    >>> default_weight([FieldSpec(name="age", kind="number"), FieldSpec(name="note", kind="text")])
    0.5
    """
    kinds = [spec.kind for spec in fields]
    texts = kinds.count("text")
    related = texts > 1 or (texts and "history" in kinds)
    return RELATED_WEIGHT if related else DEFAULT_WEIGHT


def mode_of(weight: float) -> str:
    """The retrieval mode for a weight of the fields.

    >>> [mode_of(weight) for weight in (0, 0.5, 1)]
    ['dense', 'mixed', 'tabular']
    """
    return "dense" if weight == 0 else "tabular" if weight == 1 else "mixed"


def _trials(
    examples: Sequence[Example],
    texts: Sequence[str],
    embedder: Embedder,
    fields: Sequence[FieldSpec],
    weights: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log loss and correctness of every example with every weight, both (weights, examples)."""
    names = sorted({e.label for e in examples})
    labels = np.array([names.index(e.label) for e in examples], dtype=np.int64)
    finder = DuplicateFinder(texts)
    copies = [finder.find(text) for text in texts]
    fitted = embedder.fit(texts)
    known = fitted.embed(texts, query=False)
    words = fitted.embed(texts, query=True) @ known.T
    word_spread = deviation(words)
    folds = _folds(labels, copies)
    named = [e.label for e in examples]
    rows = TabularSpace(fields).fit([e.fields for e in examples]).read([e.fields for e in examples])
    losses = np.zeros((len(weights), len(examples)))
    right = np.zeros((len(weights), len(examples)), dtype=bool)
    for fold in np.unique(folds):
        rest = np.flatnonzero(folds != fold)
        space = TabularSpace(fields).fit_read([rows[p] for p in rest], [named[p] for p in rest])
        vectors = space.embed_read(rows)
        by_fields = vectors @ vectors.T
        field_spread = deviation(by_fields)
        for number, weight in enumerate(weights):
            share = mixed_share(weight, field_spread, word_spread)
            mixed = np.float32(share) * by_fields + np.float32(1 - share) * words
            temperature = deviation(mixed)
            for place in np.flatnonzero(folds == fold):
                similar = mixed[place].astype(np.float64)
                similar[list(copies[place])] = -np.inf
                top = np.argsort(-similar, kind="stable")[:_NEIGHBOURS]
                top = top[np.isfinite(similar[top])]
                vote = kernel_vote(similar[top], labels[top], len(names), temperature)
                losses[number, place] = -np.log(vote[labels[place]])
                right[number, place] = vote.argmax() == labels[place]
    return losses, right


def _folds(labels: NDArray[np.int64], copies: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The fold of each example: stratified by label, with copies in the same fold."""
    folds = np.full(len(labels), -1, dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    folds[order] = np.arange(len(labels)) % min(_FOLDS, len(labels))
    for same in copies:
        folds[list(same)] = folds[same[0]]
    return folds


__all__ = ["DEFAULT_WEIGHT", "ChosenSimilarity", "Trial", "choose_similarity"]
