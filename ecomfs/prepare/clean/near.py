"""Exact and near duplicates, also between pool and test rows.

Exact: the texts are equal after normalisation (:func:`ecomfs.io.text.same_text`). Near: the Jaccard
similarity of the sets of character shingles reaches a threshold, *and* the numbers, model codes and
symbols of both texts are equal, because "128 GB" and "256 GB" are two products, and "C" and "C#"
two languages. Shingles are three characters of the normalised text, two if most characters are
Han. Candidates come from MinHash with locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman,
Ullman, *Mining of Massive Datasets*, chapter 3). Every candidate is then compared exactly, so
hashing can miss a pair but causes no false positive.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

from ecomfs.io import detect_language, fold, optional_module, same_text

PERMUTATIONS = 128
_BANDS = (32, 4)  # 32 bands of 4 rows: a pair of similarity 0.8 is missed once in 5e7, 0.5 in 8
_PROSE = r"""\w\s.,;:!?'"()\[\]{}…、。·~/\\*-"""  # characters that carry no meaning alone
_CODE = re.compile(
    rf"""
    (?:(?<![^\W_])[-+±])?                            # a sign
    [^{_PROSE}]* [a-z]*\d[a-z\d]*                    # $5, 128gb
    (?:[.,:/×*-]\d[a-z\d]*)*                        # 6.1, 1/2, 3-pack
    (?:\ ?[%°‰$€£¥₹₩]|[+\#′″'"])*                   # 50 %, 5"
    | [a-z]+[+\#*]+                                 # A+, C#
    | (?<!\w)[:;=][-'^o]?[()\[\]dp/\\|]+                   # :) and :(
    | <3+
    | [^{_PROSE}]+                                  # emoji, stars, arrows
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The parts of a text that are compared.

    Attributes:
        key: equal for texts that are equal after normalisation.
        shingles: character n-grams of the normalised text.
        codes: numbers, model codes and symbols ("128gb", "x100s", "-5", "c#") in reading order.
    """

    key: str
    shingles: frozenset[str]
    codes: tuple[str, ...]


def fingerprint(text: str) -> Fingerprint:
    """The fingerprint of a text.

    >>> fingerprint("Great, 10/10!").key, fingerprint("5G 128 GB, C#: -5 €").codes
    ('great, 10/10', ('5g', '128', 'c#', '-5 €'))
    """
    key, folded = same_text(text), fold(text)
    if not folded:
        return Fingerprint(key, frozenset(), ())
    n = 2 if detect_language(folded) == "zh" else 3
    grams = frozenset(folded[i : i + n] for i in range(max(1, len(folded) - n + 1)))
    return Fingerprint(key, grams, tuple(_CODE.findall(key)))


def similarity(one: Fingerprint, other: Fingerprint) -> float:
    """Jaccard similarity of the shingles, 0 when numbers or codes differ.

    >>> a, b = fingerprint("arrived quickly, works well"), fingerprint("Arived quickly. Works well")
    >>> round(similarity(a, b), 2)
    0.86
    """
    if one.codes != other.codes or not one.shingles or not other.shingles:
        return 0.0
    common = len(one.shingles & other.shingles)
    return common / (len(one.shingles) + len(other.shingles) - common)


class NearIndex:
    """An index that finds near duplicates of a text.

    Args:
        threshold: least similarity of near duplicates.

    >>> index = NearIndex(0.8)
    >>> index.add("r1", fingerprint("arrived quickly, works well"))
    >>> index.matches(fingerprint("Arived quickly. Works well"))
    [('r1', 0.86...)]
    >>> index.matches(fingerprint("something else"))
    []
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        library = optional_module("datasketch", need="finding near duplicates", extra="clean")
        self._lsh = library.MinHashLSH(num_perm=PERMUTATIONS, params=_BANDS)
        self._empty = library.MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
        self._prints: list[tuple[Any, Fingerprint]] = []
        self._last: tuple[Fingerprint, Any] | None = None

    def add(self, name: Any, item: Fingerprint) -> None:
        """Add a text; texts without letters or digits have no near duplicates."""
        if item.shingles:
            self._lsh.insert(len(self._prints), self._hash(item), check_duplication=False)
            self._prints.append((name, item))

    def matches(self, item: Fingerprint) -> list[tuple[Any, float]]:
        """Name and similarity of every text that reaches the threshold, the most similar first,
        the earliest first among equals."""
        if not item.shingles or not self._prints:
            return []
        candidates = [self._prints[place] for place in sorted(self._lsh.query(self._hash(item)))]
        scored = [(name, similarity(item, other)) for name, other in candidates]
        near = [pair for pair in scored if pair[1] >= self._threshold]
        return sorted(near, key=lambda pair: -pair[1])

    def _hash(self, item: Fingerprint) -> Any:
        if self._last is None or self._last[0] is not item:  # matches() then add(): hash once
            minhash = self._empty.copy()
            minhash.update_batch([gram.encode("utf-8", "surrogatepass") for gram in item.shingles])
            self._last = item, minhash
        return self._last[1]
