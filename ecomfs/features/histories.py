"""Features of histories and of pairs of histories."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecomfs.features.block import Block, Feature, Floats, Values, columns, title_of, titles_of
from ecomfs.features.items import item_day, item_kind, item_numbers
from ecomfs.features.scalars import Scale, frequent
from ecomfs.task import FieldSpec, readable
from ecomfs.types import Language


def run_of_last(kinds: Sequence[str]) -> int:
    """Number of items at the end that are of one kind.

    >>> run_of_last(["a", "b", "b"]), run_of_last([])
    (2, 0)
    """
    length = 0
    for kind in reversed(kinds):
        if kind != kinds[-1]:
            break
        length += 1
    return length


class HistoryBlock(Block):
    """Features of one history: its length and variety, its kinds of item, its last items, and the
    numbers in its items.

    Args:
        spec: a field of kind ``history``.

    >>> block = HistoryBlock(FieldSpec(name="seen", kind="history"))
    >>> block.fit([{"seen": ["a", "a", "b"]}, {"seen": ["b", "a"]}])
    >>> block.phrases({"seen": ["a", "b", "b", "b"]}, "en")[0]
    'seen: 4 items, the last 3 b'
    """

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec

    def fit(self, rows: Sequence[Values]) -> None:
        histories = [row[self.spec.name] or [] for row in rows]
        kinds = [{item_kind(self.spec, item) for item in h} - {""} for h in histories]
        self.kinds = frequent((k for own in kinds for k in sorted(own)), len(rows))
        numbers: dict[str, list[float]] = {}
        named: Counter[str] = Counter()
        for history in histories:
            means = self._means(history)
            named.update(means.keys())
            for part, (mean, _) in means.items():
                numbers.setdefault(part, []).append(mean)
        parts = frequent(named.elements(), len(rows))
        self.scales = {part: Scale(numbers[part]) for part in sorted(parts)}
        days = [day for h in histories for day in [self._last_day(h)] if day is not None]
        self.latest = max(days, default=0.0)
        self.features = self._features()

    def _features(self) -> tuple[Feature, ...]:
        (en, zh), key = titles_of(self.spec), self.spec.name
        found = [
            Feature(f"{key}:count", f"length of {en}", f"{zh}的项数"),
            Feature(f"{key}:different", f"different kinds in {en}", f"{zh}的种类"),
            Feature(f"{key}:run", f"run of the last kind in {en}", f"{zh}最后一种的连续次数"),
            Feature(f"{key}:repeats", f"repeats in {en}", f"{zh}的重复"),
            Feature(f"{key}:last_share", f"share of the last kind in {en}", f"{zh}最后一种的占比"),
            Feature(f"{key}:days", f"days since the last of {en}", f"{zh}最后一项距今天数"),
        ]
        for kind in self.kinds:
            found += [
                Feature(f"{key}:share={kind}", f"{kind} in {en}", f"{zh}中的{kind}"),
                Feature(f"{key}:last={kind}", f"{kind} last in {en}", f"{zh}最后是{kind}"),
            ]
        for part in self.scales:
            x, own = readable(part), f"{key}.{part}"
            found += [
                Feature(f"{own}:mean", f"mean {x} in {en}", f"{zh}的{x}平均"),
                Feature(f"{own}:mean_rank", f"rank of mean {x} in {en}", f"{zh}的{x}平均的排名"),
                Feature(
                    f"{own}:last", f"last {x} beside the mean in {en}", f"{zh}最后的{x}与平均之差"
                ),
            ]
        return tuple(found)

    def values(self, rows: Sequence[Values]) -> Floats:
        found = [self._values(row[self.spec.name] or []) for row in rows]
        return columns(found, len(self.features))

    def _values(self, history: Sequence[Any]) -> list[float]:
        kinds = [item_kind(self.spec, item) for item in history]
        counts, size = Counter(kinds), max(1, len(kinds))
        last = kinds[-1] if kinds else ""
        day = self._last_day(history)
        out = [
            math.log1p(len(kinds)),
            len(counts) / size,
            math.log1p(run_of_last(kinds)),
            (len(kinds) - len(counts)) / size,
            counts[last] / size if kinds else 0.0,
            math.log1p(max(0.0, self.latest - day)) if day is not None else 0.0,
        ]
        for kind in self.kinds:
            out += [counts[kind] / size, float(kind == last)]
        means = self._means(history)
        for part, scale in self.scales.items():
            mean, final = means.get(part, (None, None))
            place, rank, _ = scale.places(mean)
            out += [place, rank, scale.places(final)[0] - place]
        return out

    def _means(self, history: Sequence[Any]) -> dict[str, tuple[float, float]]:
        """Part of the items → mean and last value of its numbers."""
        numbers: dict[str, list[float]] = {}
        for item in history:
            for part, number in item_numbers(self.spec, item).items():
                numbers.setdefault(part, []).append(min(max(number, -1e100), 1e100))
        return {part: (float(np.mean(own)), own[-1]) for part, own in numbers.items()}

    def _last_day(self, history: Sequence[Any]) -> float | None:
        days = [day for item in history for day in [item_day(self.spec, item)] if day is not None]
        return max(days) if days else None

    def phrases(self, row: Values, language: Language) -> list[str]:
        kinds = [item_kind(self.spec, item) for item in row[self.spec.name] or []]
        title, size, run = title_of(self.spec, language), len(kinds), run_of_last(kinds)
        if not size:
            said = f"{title}：无" if language == "zh" else f"{title}: none"
        elif language == "zh":
            ending = f"，最后{run}项是{kinds[-1]}" if kinds[-1] else ""
            said = f"{title}：共{size}项{ending}"
        else:
            which = f"the last {run}" if run > 1 else "the last"
            ending = f", {which} {kinds[-1]}" if kinds[-1] else ""
            said = f"{title}: {size} item{'s' if size > 1 else ''}{ending}"
        return [said] * len(self.features)


class HistoryPairBlock(Block):
    """Features of two histories, such as liked and disliked, bought and returned.

    Args:
        first, second: fields of kind ``history``.

    >>> block = HistoryPairBlock(FieldSpec(name="liked", kind="history"),
    ...                          FieldSpec(name="disliked", kind="history"))
    >>> block.phrases({"liked": list("abcdefg"), "disliked": list("xyz")}, "en")[0]
    'liked 7 of 10, disliked 3'
    """

    def __init__(self, first: FieldSpec, second: FieldSpec) -> None:
        self.first, self.second = first, second
        (a, one), (b, two) = titles_of(first), titles_of(second)
        key = f"{first.name}/{second.name}"
        self.features = (
            Feature(f"{key}:ratio", f"{a} against {b}", f"{one}与{two}之比"),
            Feature(f"{key}:common", f"kinds in both {a} and {b}", f"{one}与{two}共有"),
        )

    def values(self, rows: Sequence[Values]) -> Floats:
        return columns([self._values(row) for row in rows], 2)

    def _values(self, row: Values) -> list[float]:
        one, two = (row[spec.name] or [] for spec in (self.first, self.second))
        a = {item_kind(self.first, item) for item in one} - {""}
        b = {item_kind(self.second, item) for item in two} - {""}
        ratio = math.log((len(one) + 1) / (len(two) + 1))
        return [ratio, len(a & b) / max(1, len(a | b))]

    def phrases(self, row: Values, language: Language) -> list[str]:
        if row[self.first.name] is None or row[self.second.name] is None:
            return ["", ""]  # a history is missing
        one, two = (len(row[spec.name]) for spec in (self.first, self.second))
        if not one + two:
            return ["", ""]
        a, b = (title_of(spec, language) for spec in (self.first, self.second))
        if language == "zh":
            return [f"共{one + two}项：{a}{one}项，{b}{two}项"] * 2
        return [f"{a} {one} of {one + two}, {b} {two}"] * 2


__all__ = ["HistoryBlock", "HistoryPairBlock", "run_of_last"]
