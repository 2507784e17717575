"""Demonstrations that serve all labels of a row at once, so that its prompts share their prefix.

The same examples stand in all prompts of a row, each followed by lines such as ``slow: yes``.
Every label has as many lines with yes as with no.
"""

from __future__ import annotations

from collections.abc import Sequence


def cover(nearest: Sequence[int], sets: Sequence[frozenset[int]], labels: int, k: int) -> list[int]:
    """At most ``k`` examples, nearest first, so that every label is had by some of them and lacked
    by some, and then by two of each, and so on, the nearest that help being taken.

    The nearest examples alone will not do: where all of them have the row's own label, nothing
    tells what lacking it looks like.

    Args:
        nearest: positions of examples, most similar first.
        sets: the labels of every example, by its position.
        labels: how many labels there are.

    >>> cover([0, 1, 2, 3], [frozenset({0}), frozenset({0}), frozenset(), frozenset({1})], 2, 3)
    [0, 2, 3]
    """
    having, lacking = [0] * labels, [0] * labels
    chosen: set[int] = set()
    wanted = 0
    while len(chosen) < min(k, len(nearest)):
        wanted += 1
        short = {label for label in range(labels) if having[label] < wanted}
        long = {label for label in range(labels) if lacking[label] < wanted}
        for position in nearest:
            own = sets[position]
            if len(chosen) == k or not (short or long):
                break
            if position in chosen or not (short & own or long - own):
                continue
            chosen.add(position)
            for label in range(labels):
                counts, open_ = (having, short) if label in own else (lacking, long)
                counts[label] += 1
                if counts[label] >= wanted:
                    open_.discard(label)
    return [position for position in nearest if position in chosen]


def balanced_lines(sets: Sequence[frozenset[int]], labels: int) -> list[list[tuple[int, bool]]]:
    """For each demonstration the labels that are told of it, each with yes or no.

    Every label is told of as many demonstrations that have it as of ones that lack it, the
    nearest ones of each kind. A label that all of them have, or none, is told of none: lines of
    one kind only would teach the model to give that answer.

    Args:
        sets: labels of the demonstrations, least similar first, as they stand in a prompt.
        labels: how many labels there are.

    >>> balanced_lines([frozenset(), frozenset({0}), frozenset({1})], 2)
    [[], [(0, True), (1, False)], [(0, False), (1, True)]]
    """
    told: list[list[tuple[int, bool]]] = [[] for _ in sets]
    for label in range(labels):
        having = [place for place, own in enumerate(sets) if label in own]
        lacking = [place for place, own in enumerate(sets) if label not in own]
        each = min(len(having), len(lacking))
        for place in having[len(having) - each :]:
            told[place].append((label, True))
        for place in lacking[len(lacking) - each :]:
            told[place].append((label, False))
    return told


__all__ = ["balanced_lines", "cover"]
