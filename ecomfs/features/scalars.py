"""Features of fields with one value: numbers, prices, dates, categories."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from ecomfs.features.block import Block, Feature, Floats, Values, columns, title_of, titles_of
from ecomfs.features.cells import day_number
from ecomfs.features.measure import comparable_value
from ecomfs.features.phrases import category_phrase, value_phrase
from ecomfs.features.quantiles import Quantiles
from ecomfs.task import FieldSpec
from ecomfs.types import Language

MOST_LEVELS = 20
LEAST_ROWS = 2
LEAST_SHARE = 0.02
_LARGEST = 1e100  # beyond it, the difference of two numbers would overflow
_FURTHEST = 10.0  # largest distance from the median, in scales


class Scale:
    """The position of a number among those of the pool, as three features.

    Args:
        numbers: the numbers of the pool without missing ones; may be empty.

    >>> Scale([0.0, 10.0, 20.0, 30.0, 40.0]).places(30.0)[:1]
    [0.5]
    >>> Scale([]).places(None)
    [0.0, 0.0, 0.0]
    """

    def __init__(self, numbers: Sequence[float]) -> None:
        known = np.clip(np.asarray(numbers, dtype=np.float64), -_LARGEST, _LARGEST)
        self.quantiles = Quantiles.of(known.tolist())
        self._linear = _middle(known)
        self._log = _middle(_signed_log(known))

    def places(self, number: float | None) -> list[float]:
        """The distance from the median in interquartile ranges, the rank minus one half, and the
        distance on a logarithmic scale; all 0 for a missing number."""
        if number is None or not self.quantiles.values:
            return [0.0, 0.0, 0.0]
        x = min(max(number, -_LARGEST), _LARGEST)
        log = float(_signed_log(np.array(x)))
        return [_place(x, self._linear), self.quantiles.rank(x) - 0.5, _place(log, self._log)]


def _middle(numbers: Floats) -> tuple[float, float]:
    if not len(numbers):
        return 0.0, 1.0
    low, median, high = np.quantile(numbers, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore"):
        width = float(high - low) or float(numbers.std())
    return float(median), width if math.isfinite(width) and width > 0 else 1.0


def _place(x: float, middle: tuple[float, float]) -> float:
    return min(max((x - middle[0]) / middle[1], -_FURTHEST), _FURTHEST)


def _signed_log(numbers: Floats) -> Floats:
    return np.asarray(np.sign(numbers) * np.log1p(np.abs(numbers)))


def _placed(key: str, en: str, zh: str) -> tuple[Feature, ...]:
    return (
        Feature(f"{key}:value", en, zh),
        Feature(f"{key}:rank", f"rank of {en}", f"{zh}的排名"),
        Feature(f"{key}:log", f"logarithm of {en}", f"{zh}的对数"),
    )


class NumberBlock(Block):
    """Features of a number or price.

    Args:
        spec: a field of kind ``number`` or ``price``.

    >>> block = NumberBlock(FieldSpec(name="age", kind="number"))
    >>> block.fit([{"age": float(x)} for x in range(20, 60)])
    >>> block.phrases({"age": 57.0}, "en")[0]
    'age: 57 (very high, 93rd percentile)'
    """

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        self.features = _placed(spec.name, *titles_of(spec))

    def fit(self, rows: Sequence[Values]) -> None:
        numbers = [comparable_value(self.spec, row[self.spec.name]) for row in rows]
        self.scale = Scale([x for x in numbers if x is not None])

    def values(self, rows: Sequence[Values]) -> Floats:
        found = [self.scale.places(comparable_value(self.spec, r[self.spec.name])) for r in rows]
        return columns(found, 3)

    def phrases(self, row: Values, language: Language) -> list[str]:
        value = row[self.spec.name]
        if value is None:
            return ["", "", ""]
        words = self.scale.quantiles.words(comparable_value(self.spec, value), language)
        said = value_phrase(self.spec, value, language)
        title = title_of(self.spec, language)
        if language == "zh":
            return [f"{title}：{said}（{words}）" if words else f"{title}：{said}"] * 3
        return [f"{title}: {said} ({words})" if words else f"{title}: {said}"] * 3


class DateBlock(Block):
    """Features of a date: days before the latest date of the pool, weekday, month, hour.

    Args:
        spec: a field of kind ``date``.

    >>> block = DateBlock(FieldSpec(name="joined", kind="date"))
    >>> block.fit([{"joined": datetime(2024, 5, day)} for day in (1, 9)])
    >>> block.phrases({"joined": datetime(2024, 5, 2)}, "en")[0]
    'joined: 2024-05-02 (Thu), 7 days before the latest'
    """

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec
        (en, zh), key = titles_of(spec), spec.name
        cycles = [("weekday", "day of the week", "星期"), ("month", "month", "月份")]
        cycles.append(("hour", "hour", "时刻"))
        turned = [
            Feature(f"{key}:{name}_{wave}", f"{what_en} of {en}", f"{zh}的{what_zh}")
            for name, what_en, what_zh in cycles
            for wave in ("sin", "cos")
        ]
        weekend = Feature(f"{key}:weekend", f"{en} on a weekend", f"{zh}在周末")
        self.features = (*_placed(f"{key}:age", f"age of {en}", f"{zh}距今"), *turned, weekend)

    def fit(self, rows: Sequence[Values]) -> None:
        days = [day_number(r[self.spec.name]) for r in rows if r[self.spec.name] is not None]
        self.latest = max(days, default=0.0)
        self.scale = Scale([self.latest - day for day in days])

    def values(self, rows: Sequence[Values]) -> Floats:
        return columns([self._values(row[self.spec.name]) for row in rows], 10)

    def _values(self, moment: datetime | None) -> list[float]:
        if moment is None:
            return [0.0] * 10
        hours = moment.hour + moment.minute / 60
        turns = [moment.weekday() / 7, (moment.month - 1) / 12, hours / 24]
        waves = [f(2 * math.pi * turn) for turn in turns for f in (math.sin, math.cos)]
        age = self.scale.places(self.latest - day_number(moment))
        return [*age, *waves, float(moment.weekday() >= 5)]

    def phrases(self, row: Values, language: Language) -> list[str]:
        moment = row[self.spec.name]
        if moment is None:
            return [""] * 10
        age = round(self.latest - day_number(moment))
        said = value_phrase(self.spec, moment, language)
        if language == "zh":
            side = "早" if age >= 0 else "晚"
            return [f"{title_of(self.spec, 'zh')}：{said}，比最近的{side}{abs(age)}天"] * 10
        days = f"{abs(age)} day{'' if abs(age) == 1 else 's'}"
        side = "before" if age >= 0 else "after"
        return [f"{title_of(self.spec, 'en')}: {said}, {days} {side} the latest"] * 10


def frequent(values: Iterable[str], rows: int) -> tuple[str, ...]:
    """The frequent values, most frequent first.

    Args:
        values: values of the rows without missing ones, each at most once per row.
        rows: number of rows of the pool.

    Returns:
        At most 20 values, each in at least two rows and 2 % of the rows; values with equal counts
        in alphabetical order, so that the order of rows does not matter.

    >>> frequent(["b", "a", "b", "a", "c"], rows=5)
    ('a', 'b')
    """
    least = max(LEAST_ROWS, LEAST_SHARE * rows)
    counts = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(value for value, count in counts[:MOST_LEVELS] if count >= least)


class CategoryBlock(Block):
    """Features of a category: one per frequent value, and one for all others.

    Args:
        spec: a field of kind ``category``.

    >>> block = CategoryBlock(FieldSpec(name="plan", kind="category"))
    >>> block.fit([{"plan": p} for p in ("a", "a", "b", "b", "c")])
    >>> [f.name for f in block.features], block.values([{"plan": "new"}]).tolist()
    (['plan=a', 'plan=b', 'plan:rare'], [[0.0, 0.0, 1.0]])
    """

    def __init__(self, spec: FieldSpec) -> None:
        self.spec = spec

    def fit(self, rows: Sequence[Values]) -> None:
        known = [row[self.spec.name] for row in rows if row[self.spec.name] is not None]
        self.levels = frequent(known, len(rows))
        (en, zh), key = titles_of(self.spec), self.spec.name
        named = [
            Feature(
                f"{key}={level}",
                f"{en}: {category_phrase(self.spec, level, 'en')}",
                f"{zh}：{category_phrase(self.spec, level, 'zh')}",
            )
            for level in self.levels
        ]
        self.features = (*named, Feature(f"{key}:rare", f"{en}: a rare one", f"{zh}：少见"))

    def values(self, rows: Sequence[Values]) -> Floats:
        out = np.zeros((len(rows), len(self.features)))
        places = {level: place for place, level in enumerate(self.levels)}
        for i, row in enumerate(rows):
            value = row[self.spec.name]
            if value is not None:
                out[i, places.get(value, len(self.levels))] = 1.0
        return out

    def phrases(self, row: Values, language: Language) -> list[str]:
        value = row[self.spec.name]
        said = ""
        if value is not None:
            colon = "：" if language == "zh" else ": "
            phrase = category_phrase(self.spec, value, language)
            said = f"{title_of(self.spec, language)}{colon}{phrase}"
        return [said] * len(self.features)


class MissingBlock(Block):
    """Features for missing values, one per field.

    Args:
        specs: fields of any kind.

    >>> block = MissingBlock([FieldSpec(name="age", kind="number")])
    >>> block.values([{"age": 3.0}, {"age": None}]).ravel().tolist()
    [0.0, 1.0]
    """

    def __init__(self, specs: Sequence[FieldSpec]) -> None:
        self.specs = tuple(specs)
        titles = [titles_of(s) for s in specs]
        self.features = tuple(
            Feature(f"{s.name}:missing", f"{en} unknown", f"{zh}未知")
            for s, (en, zh) in zip(specs, titles, strict=True)
        )

    def values(self, rows: Sequence[Values]) -> Floats:
        found = [[float(row[s.name] is None) for s in self.specs] for row in rows]
        return columns(found, len(self.specs))

    def phrases(self, row: Values, language: Language) -> list[str]:
        pairs = zip(self.specs, self.features, strict=True)
        return [f.title(language) if row[s.name] is None else "" for s, f in pairs]


__all__ = ["CategoryBlock", "DateBlock", "MissingBlock", "NumberBlock", "Scale", "frequent"]
