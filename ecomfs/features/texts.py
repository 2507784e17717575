"""Features of two texts, and of a text and the items of histories."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, product

import numpy as np

from ecomfs.errors import ConfigError
from ecomfs.features.block import (
    Block,
    Embed,
    Feature,
    Floats,
    Values,
    columns,
    title_of,
    titles_of,
)
from ecomfs.features.items import item_texts
from ecomfs.io import fold, squeeze
from ecomfs.task import FieldSpec
from ecomfs.types import Language

_HAN = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"(?P<han>[{_HAN}]+)|[^\W_{_HAN}]+")
_CODE = re.compile(r"(?:[a-z]+-?)?\d(?:[a-z0-9]|[-./](?=[a-z0-9]))*")
_MOST_ITEMS = 50  # a text is compared with this many of the latest items of a history


@lru_cache(maxsize=4096)
def grams(text: str, n: int) -> frozenset[str]:
    """The character n-grams of a text: letters and digits only, without case.

    >>> sorted(grams("A-b c", 2))
    ['ab', 'bc']
    """
    kept = fold(text)
    return frozenset(kept[i : i + n] for i in range(len(kept) - n + 1))


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The words of a text in order; a run of Han characters gives its character bigrams.

    >>> words("Red Mug 500ml 大落地窗")
    ('red', 'mug', '500ml', '大落', '落地', '地窗')
    """
    found: list[str] = []
    for match in _WORD.finditer(_plain(text)):
        run = match[0]
        pairs = match["han"] and len(run) > 1
        found += [run[i : i + 2] for i in range(len(run) - 1)] if pairs else [run]
    return tuple(found)


@lru_cache(maxsize=4096)
def codes(text: str) -> frozenset[str]:
    """Numbers, sizes and model codes of a text: its words with a digit.

    >>> sorted(codes("WSC-301 pot, 5L, v2.0."))
    ['5l', 'v2.0', 'wsc-301']
    """
    return frozenset(_CODE.findall(_plain(text)))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def containment(part: frozenset[str], whole: frozenset[str]) -> float:
    """Share of ``part`` that is in ``whole``; 0 if ``part`` is empty.

    >>> containment(frozenset("ab"), frozenset("bcd"))
    0.5
    """
    return len(part & whole) / len(part) if part else 0.0


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity; 0 when both are empty."""
    return len(one & other) / len(one | other) if one or other else 0.0


def lookup(texts: Sequence[str], embed: Embed) -> dict[str, Floats]:
    """Text → unit vector (or zeros); each different text is embedded once.

    Raises:
        ConfigError: the embedder does not give one vector per text.
    """
    different = [text for text in dict.fromkeys(texts) if text]
    if not different:
        return {}
    vectors = np.nan_to_num(np.asarray(embed(different), dtype=np.float64))
    if vectors.ndim != 2 or len(vectors) != len(different):
        raise ConfigError(
            f"the embedder gave an array of shape {vectors.shape} for {len(different)} texts",
            hint="return one vector per text",
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return dict(zip(different, vectors, strict=True))


def _text(spec: FieldSpec, row: Values) -> str:
    return squeeze(row[spec.name] or "")


class TextPairBlock(Block):
    """Features of two texts: their overlap, in both directions.

    Args:
        first, second: fields of kind ``text``.
        embed: if given, adds the cosine of their vectors.

    >>> block = TextPairBlock(FieldSpec(name="query", kind="text"),
    ...                       FieldSpec(name="title", kind="text"))
    >>> block.phrases({"query": "red coffee mug", "title": "Mug, red, for coffee"}, "en")[0]
    '3 of 3 query words in the title'
    """

    def __init__(self, first: FieldSpec, second: FieldSpec, embed: Embed | None = None) -> None:
        self.first, self.second, self.embed = first, second, embed
        self.features = tuple(self._features())

    def _features(self) -> list[Feature]:
        (a, one), (b, two) = titles_of(self.first), titles_of(self.second)
        first, second = self.first.name, self.second.name
        key, back, both = f"{first}>{second}", f"{second}>{first}", f"{first}~{second}"
        found = [
            Feature(f"{key}:words", f"words of the {a} in the {b}", f"{one}的词见于{two}"),
            Feature(f"{back}:words", f"words of the {b} in the {a}", f"{two}的词见于{one}"),
        ]
        for n in (1, 2, 3):
            found += [
                Feature(f"{x}:chars{n}", f"spelling {en} ({n})", f"{zh}（{n}）")
                for x, en, zh in (
                    (key, f"of the {a} in the {b}", f"{one}的字见于{two}"),
                    (back, f"of the {b} in the {a}", f"{two}的字见于{one}"),
                    (both, f"that {a} and {b} share", f"{one}与{two}共有的字"),
                )
            ]
        found += [
            Feature(f"{key}:codes", f"numbers of the {a} in the {b}", f"{one}的数字型号见于{two}"),
            Feature(f"{back}:codes", f"numbers of the {b} in the {a}", f"{two}的数字型号见于{one}"),
            Feature(
                f"{both}:codes_differ",
                f"{a} and {b} have other numbers",
                f"{one}与{two}的数字型号不同",
            ),
            Feature(f"{both}:lead", f"{a} and {b} begin alike", f"{one}与{two}开头相同"),
            Feature(f"{key}:lead", f"first word of the {a} in the {b}", f"{one}的首词见于{two}"),
            Feature(f"{back}:lead", f"first word of the {b} in the {a}", f"{two}的首词见于{one}"),
            Feature(f"{both}:length", f"length of the {a} beside the {b}", f"{one}与{two}的长度比"),
        ]
        if self.embed is not None:
            found.append(
                Feature(f"{both}:meaning", f"{a} and {b} mean alike", f"{one}与{two}意思相近")
            )
        return found

    def values(self, rows: Sequence[Values]) -> Floats:
        pairs = [(_text(self.first, row), _text(self.second, row)) for row in rows]
        out = np.zeros((len(rows), len(self.features)))
        for i, (a, b) in enumerate(pairs):
            own = self._values(a, b)
            out[i, : len(own)] = own
        if self.embed is not None:
            vectors = lookup([text for pair in pairs for text in pair], self.embed)
            out[:, -1] = [float(vectors[a] @ vectors[b]) if a and b else 0.0 for a, b in pairs]
        return out

    @staticmethod
    def _values(a: str, b: str) -> list[float]:
        one, two = words(a), words(b)
        first, second = frozenset(one), frozenset(two)
        out = [containment(first, second), containment(second, first)]
        for n in (1, 2, 3):
            x, y = grams(a, n), grams(b, n)
            out += [containment(x, y), containment(y, x), jaccard(x, y)]
        x, y = codes(a), codes(b)
        out += [containment(x, y), containment(y, x), float(bool(x and y) and not x & y)]
        out += [
            float(bool(one and two) and one[0] == two[0]),
            float(bool(one) and one[0] in second),
            float(bool(two) and two[0] in first),
            math.log((len(a) + 1) / (len(b) + 1)),
        ]
        return out

    def phrases(self, row: Values, language: Language) -> list[str]:
        a, b = _text(self.first, row), _text(self.second, row)
        if not a or not b:
            return [""] * len(self.features)
        title, other = title_of(self.first, language), title_of(self.second, language)
        zh = language == "zh"

        def share(own: frozenset[str], there: frozenset[str], en: str, in_chinese: str) -> str:
            if not own:
                return ""
            n, of = len(own & there), len(own)
            if zh:
                return f"{title}的{of}个{in_chinese}中有{n}个见于{other}"
            return f"{n} of {of} {title} {en} in the {other}"

        same = share(frozenset(words(a)), frozenset(words(b)), "words", "词")
        numbers = share(codes(a), codes(b), "numbers", "数字型号")
        lead = ""
        if words(a) and words(a)[:1] == words(b)[:1]:
            lead = f"{title}与{other}开头相同" if zh else f"{title} and {other} begin alike"
        out = [same] * 11 + [numbers] * 3 + [lead] * 3 + [""]
        return out + [""] * (len(self.features) - len(out))


class TextHistoryBlock(Block):
    """Features of a text or category: its similarity to the items of every history.

    Args:
        spec: a field of kind ``text`` or ``category``.
        histories: fields of kind ``history``.
        embed: if given, adds cosines of vectors to the similarity of spelling.

    >>> block = TextHistoryBlock(FieldSpec(name="item", kind="text"),
    ...                          [FieldSpec(name="liked", kind="history")])
    >>> block.phrases({"item": "Star Wars (1977)", "liked": ["Heat", "Star Wars"]}, "en")
    ['item nearest in liked: Star Wars', 'item nearest in liked: Star Wars']
    """

    def __init__(
        self, spec: FieldSpec, histories: Sequence[FieldSpec], embed: Embed | None = None
    ) -> None:
        self.spec, self.histories, self.embed = spec, tuple(histories), embed
        self._pairs = list(combinations(range(len(self.histories)), 2))
        measures = [("chars", "spelling", "字面"), ("meaning", "meaning", "意思")]
        summaries = [("mean", "on average", "平均"), ("most", "at most", "最大")]
        mine, zh_mine = titles_of(spec)
        titles = [titles_of(h) for h in self.histories]
        found = []
        for (key, en, zh), (part, what, zh_what) in product(
            measures if embed is not None else measures[:1], summaries
        ):
            for h, (title, zh_title) in zip(self.histories, titles, strict=True):
                found.append(
                    Feature(
                        f"{spec.name}~{h.name}:{key}_{part}",
                        f"{en} of {mine} like {title} {what}",
                        f"{zh_mine}与{zh_title}的{zh}相似（{zh_what}）",
                    )
                )
            for i, j in self._pairs:
                found.append(
                    Feature(
                        f"{spec.name}~{self.histories[i].name}/{self.histories[j].name}:{key}_{part}",
                        f"{en} of {mine} nearer to {titles[i][0]} than to {titles[j][0]} {what}",
                        f"{zh_mine}在{zh}上更近{titles[i][1]}而非{titles[j][1]}（{zh_what}）",
                    )
                )
        self.features = tuple(found)

    def values(self, rows: Sequence[Values]) -> Floats:
        vectors: dict[str, Floats] = {}
        if self.embed is not None:
            vectors = lookup([text for row in rows for text in self._texts(row)], self.embed)
        return columns([self._values(row, vectors) for row in rows], len(self.features))

    def _items(self, history: FieldSpec, row: Values) -> list[list[str]]:
        found = [item_texts(history, item) for item in (row[history.name] or [])[-_MOST_ITEMS:]]
        return [texts for texts in found if texts]

    def _texts(self, row: Values) -> list[str]:
        own = [_text(self.spec, row)]
        return own + [", ".join(t) for h in self.histories for t in self._items(h, row)]

    def _values(self, row: Values, vectors: dict[str, Floats]) -> list[float]:
        text = _text(self.spec, row)
        items = [self._items(h, row) for h in self.histories]
        out = self._compared([[_spelt(text, t) for t in own] for own in items])
        if self.embed is not None:
            here = vectors.get(text)
            meant = [
                [float(here @ vectors[", ".join(t)]) if here is not None else 0.0 for t in own]
                for own in items
            ]
            out += self._compared(meant)
        return out

    def _compared(self, similar: Sequence[Sequence[float]]) -> list[float]:
        out = []
        for summary in (_mean, _most):
            found = [summary(own) for own in similar]
            out += found + [found[i] - found[j] for i, j in self._pairs]
        return out

    def phrases(self, row: Values, language: Language) -> list[str]:
        text = _text(self.spec, row)
        said = [self._nearest(text, h, row, language) for h in self.histories]
        once = said + [said[i] for i, _ in self._pairs]
        return once * (len(self.features) // len(once))

    def _nearest(self, text: str, history: FieldSpec, row: Values, language: Language) -> str:
        items = self._items(history, row)
        if not text or not items:
            return ""
        best = max(items, key=lambda texts: _spelt(text, texts))
        if not _spelt(text, best):
            return ""
        mine, theirs = title_of(self.spec, language), title_of(history, language)
        if language == "zh":
            return f"{mine}与{theirs}中最接近的是{best[0]}"
        return f"{mine} nearest in {theirs}: {best[0]}"


def _spelt(text: str, others: Sequence[str]) -> float:
    """Similarity of spelling of a text and the most similar text of an item."""
    return max(jaccard(_runs(text), _runs(other)) for other in others)


def _runs(text: str) -> frozenset[str]:
    return grams(text, 2) | grams(text, 3)


def _mean(similar: Sequence[float]) -> float:
    return float(np.mean(similar)) if similar else 0.0


def _most(similar: Sequence[float]) -> float:
    return max(similar, default=0.0)


__all__ = ["TextHistoryBlock", "TextPairBlock", "codes", "containment", "grams", "jaccard", "words"]
