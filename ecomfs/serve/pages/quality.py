"""Conflicting and duplicate examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs.errors import ConfigError
from ecomfs.io import same_text
from ecomfs.types import Example

MOST = 5000
"""Most examples that are compared."""
_NEAR = 0.8  # Jaccard similarity of shingles, as prepare clean uses it


@dataclass(frozen=True, slots=True)
class Pair:
    """Two examples with the same or nearly the same text.

    Attributes:
        similarity: similarity of the texts; 1 if equal after normalisation.
    """

    one: Example
    other: Example
    similarity: float


def duplicates(examples: Sequence[Example], texts: Sequence[str]) -> tuple[list[Pair], list[Pair]]:
    """Pairs with different labels, and pairs with the same label, the most similar first. Without
    the ``clean`` extra only texts that are equal after normalisation are found.

    >>> a, b = Example("a", {"text": "Fits!"}, "x"), Example("b", {"text": "fits"}, "y")
    >>> [(p.one.id, p.other.id, p.similarity) for p in duplicates([a, b], ["Fits!", "fits"])[0]]
    [('a', 'b', 1.0)]
    """
    pairs: list[Pair] = []
    by_text: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        by_text[same_text(text)].append(place)
    firsts = [places[0] for places in by_text.values()]
    for first, *others in by_text.values():
        pairs += [Pair(examples[first], examples[other], 1.0) for other in others]
    pairs += _near(examples, texts, firsts)
    pairs.sort(key=lambda pair: -pair.similarity)
    apart = [pair for pair in pairs if pair.one.label != pair.other.label]
    return apart, [pair for pair in pairs if pair.one.label == pair.other.label]


def _near(examples: Sequence[Example], texts: Sequence[str], places: Sequence[int]) -> list[Pair]:
    from ecomfs.prepare.clean.near import NearIndex, fingerprint

    try:
        index = NearIndex(_NEAR)
    except ConfigError:  # the extra is not installed
        return []
    out = []
    for place in places:
        mark = fingerprint(texts[place])
        out += [Pair(examples[known], examples[place], s) for known, s in index.matches(mark)]
        index.add(place, mark)
    return out
