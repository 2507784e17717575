"""Two systems in, the rows that they answer differently out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ecomfs_eval.predictions import Predictions

FlipKind = Literal["fixed", "broken", "changed"]


@dataclass(frozen=True, slots=True)
class Flip:
    """One row with two answers.

    Attributes:
        id, gold: of the row.
        kind: ``fixed`` (A wrong, B right), ``broken`` (A right, B wrong), ``changed`` (both
            wrong, differently).
        a, b: the answers; the status in brackets where there is none.
        p_a, p_b: probability each gave the gold label, or ``None``.
        extra_a, extra_b: the other text columns of the row (input, prompt, demonstrations).
    """

    id: str
    gold: str
    kind: FlipKind
    a: str
    b: str
    p_a: float | None
    p_b: float | None
    extra_a: Mapping[str, str]
    extra_b: Mapping[str, str]


def answer_text(p: Predictions, row: int) -> str:
    """The answer of a row, or its status in brackets."""
    answer = p.predicted[row]
    if p.status[row] == "ok" and answer is not None:
        return answer
    return f"[{p.status[row]}]"


def gold_probability(p: Predictions, row: int) -> float | None:
    """Probability of the gold label, or ``None`` where the row has no distribution."""
    if p.probabilities is None or not p.has_distribution[row]:
        return None
    return float(p.probabilities[row, p.labels.index(p.gold[row])])


def flips(a: Predictions, b: Predictions) -> tuple[Flip, ...]:
    """Every row with different answers: broken ones first, then fixed, then changed.

    >>> from ecomfs_eval import Predictions
    >>> a = Predictions.of(["x", "y", "z"], ["x", "x", "x"])
    >>> b = Predictions.of(["x", "y", "z"], ["y", "y", "y"])
    >>> [(f.id, f.kind) for f in flips(a, b)]
    [('1', 'broken'), ('2', 'fixed'), ('3', 'changed')]
    """
    found: dict[FlipKind, list[Flip]] = {"broken": [], "fixed": [], "changed": []}
    left, right = a.predicted_index, b.predicted_index
    gold = a.gold_index
    for row in range(len(a)):
        x, y = answer_text(a, row), answer_text(b, row)
        if x == y:
            continue
        kind: FlipKind = "changed"
        if left[row] == gold[row]:
            kind = "broken"
        elif right[row] == gold[row]:
            kind = "fixed"
        found[kind].append(
            Flip(
                a.ids[row],
                a.gold[row],
                kind,
                x,
                y,
                gold_probability(a, row),
                gold_probability(b, row),
                {k: v[row] for k, v in a.extra.items()},
                {k: v[row] for k, v in b.extra.items()},
            )
        )
    return tuple(f for group in found.values() for f in group)
