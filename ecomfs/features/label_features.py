"""Features of a pair of row and label: whether the label is the last item of a history, and how
often it is in it.

'Repeat the last category' is one rule for all categories. With features of the row alone it must be
learned separately for every label; a feature of row and label has one weight for all labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ecomfs.features.block import Feature, Floats, Values, title_of, titles_of
from ecomfs.features.histories import run_of_last
from ecomfs.features.items import TEXTUAL, match_key, part_values
from ecomfs.features.texts import containment, words
from ecomfs.features.value_reader import ValueReader
from ecomfs.io import squeeze
from ecomfs.task import FieldSpec, TaskCard, readable
from ecomfs.types import Language, Row

_MEASURES = (
    ("last", "is the last in {}", "是{}的最后一项"),
    ("previous", "is the last but one in {}", "是{}的倒数第二项"),
    ("run", "how often it was last in {} in a row", "在{}末尾连续出现的次数"),
    ("share", "share of it in {}", "在{}中的占比"),
    ("recent", "recent share of it in {}", "在{}近期的占比"),
    ("ever", "is in {}", "在{}中出现过"),
)


class LabelFeatures:
    """Converts rows to numbers for each label.

    It uses histories (or parts of their items) with some label among their values in the pool,
    categories that may equal a label, and texts that may name one. Only the names of the labels are
    used, never the label of a row.

    Args:
        card: the task card.
        labels: the label space.

    >>> from ecomfs.task import load_task
    >>> pool = [{"history": '["bags", "hats", "hats"]'}, {"history": '["bags"]'}]
    >>> features = LabelFeatures(load_task("next_category"), ["bags", "hats"]).fit(pool)
    >>> features.names[:2], features.transform(pool)[0, :, 0].tolist()
    (('history:last', 'history:previous'), [0.0, 1.0])
    >>> features.phrases(pool[0], "hats", "en")[0]
    'history: hats 2 of 3, the last 2 in a row'
    """

    def __init__(self, card: TaskCard, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._keys = [match_key(label) for label in labels]
        self._words = [frozenset(words(label)) for label in labels]
        self._reader = ValueReader(card.specs)
        self._histories: list[tuple[FieldSpec, str]] = []
        self._fields: list[FieldSpec] = []
        self._kept = np.zeros(0, dtype=np.int64)
        self.features: tuple[Feature, ...] = ()

    def fit(self, rows: Sequence[Row]) -> LabelFeatures:
        """Learn which fields have labels among their values.

        Args:
            rows: the rows of the pool; without rows there are no features.
        """
        values = self._reader.fit(rows).read(rows)
        known = set(self._keys)
        self._histories, self._fields = [], []
        for spec in self._reader.specs:
            if spec.kind == "history":
                parts: dict[str, bool] = {}
                for row in values:
                    for item in row[spec.name] or []:
                        for part, text in part_values(spec, item, TEXTUAL).items():
                            parts[part] = parts.get(part, False) or match_key(text) in known
                self._histories += [(spec, part) for part in sorted(parts) if parts[part]]
            elif spec.kind in {"category", "text"}:
                self._fields.append(spec)
        found = [_feature(s, p, m) for s, p in self._histories for m in _MEASURES]
        found += [_field_feature(spec) for spec in self._fields]
        everything = self._values(values, len(found))
        if everything.size:
            differs = everything.max(axis=1) - everything.min(axis=1) > 1e-9  # between labels
            self._kept = np.flatnonzero(differs.any(axis=0))
        else:
            self._kept = np.zeros(0, dtype=np.int64)
        self.features = tuple(found[place] for place in self._kept)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(feature.name for feature in self.features)

    def transform(self, rows: Sequence[Row]) -> Floats:
        """The features of rows with every label.

        Args:
            rows: field → cell.

        Returns:
            Shape (rows, labels, features), without NaN, with values from 0 to 5.
        """
        width = len(_MEASURES) * len(self._histories) + len(self._fields)
        return self._values(self._reader.read(rows), width)[:, :, self._kept]

    def _values(self, rows: Sequence[Values], width: int) -> Floats:
        out = np.zeros((len(rows), len(self.labels), width))
        for i, row in enumerate(rows):
            start = 0
            for spec, part in self._histories:
                own = out[i, :, start : start + len(_MEASURES)]
                self._history(self._kinds(spec, part, row), own)
                start += len(_MEASURES)
            for spec in self._fields:
                out[i, :, start] = self._field(spec, row[spec.name])
                start += 1
        return out

    def _kinds(self, spec: FieldSpec, part: str, row: Values) -> list[str]:
        items = row[spec.name] or []
        found = [part_values(spec, item, TEXTUAL).get(part) for item in items]
        return [match_key(text) for text in found if text is not None]

    def _history(self, kinds: Sequence[str], out: Floats) -> None:
        if not kinds:
            return
        run = min(math.log1p(run_of_last(kinds)), 5.0)
        decay = np.array([0.5**age for age in range(len(kinds))][::-1])
        decay /= decay.sum()
        for place, key in enumerate(self._keys):
            own = np.array([kind == key for kind in kinds])
            if own.any():
                last = float(own[-1])
                previous = float(len(own) > 1 and own[-2])
                out[place] = (last, previous, last * run, own.mean(), own @ decay, 1.0)

    def _field(self, spec: FieldSpec, value: str | None) -> list[float]:
        if value is None:
            return [0.0] * len(self.labels)
        if spec.kind == "category":
            return [float(match_key(value) == key) for key in self._keys]
        said = frozenset(words(value))
        return [containment(own, said) for own in self._words]

    def phrases(self, row: Row, label: str, language: Language) -> list[str]:
        """One phrase per feature about one label.

        Args:
            row: field → cell.
            label: a label of the label space.
            language: language of the phrases.

        Returns:
            Phrases aligned with :attr:`names`; empty if there is nothing to say.
        """
        [values] = self._reader.read([row])
        key = match_key(label)
        said: list[str] = []
        for spec, part in self._histories:
            kinds = self._kinds(spec, part, values)
            title = _titled(spec, part, language)
            said += [_counted(title, label, key, kinds, language)] * len(_MEASURES)
        for spec in self._fields:
            named = self._field(spec, values[spec.name])[self.labels.index(label)] > 0
            title = title_of(spec, language)
            text = f"{title}提到{label}" if language == "zh" else f"{title} names {label}"
            said.append(text if named else "")
        return [said[place] for place in self._kept]


def _titled(spec: FieldSpec, part: str, language: Language) -> str:
    title = title_of(spec, language)
    if not part or (spec.items and part == spec.items[0].name):
        return title
    own = next((p.title(language) for p in spec.items if p.name == part), readable(part))
    return f"{title}的{own}" if language == "zh" else f"{own} in {title}"


def _feature(spec: FieldSpec, part: str, measure: tuple[str, str, str]) -> Feature:
    name, en, zh = measure
    key = f"{spec.name}.{part}" if part else spec.name
    en_title, zh_title = _titled(spec, part, "en"), _titled(spec, part, "zh")
    return Feature(f"{key}:{name}", f"label {en.format(en_title)}", f"标签{zh.format(zh_title)}")


def _field_feature(spec: FieldSpec) -> Feature:
    en, zh = titles_of(spec)
    return Feature(f"{spec.name}:label", f"label named in {en}", f"{zh}提到标签")


def _counted(title: str, label: str, key: str, kinds: Iterable[str], language: Language) -> str:
    own = list(kinds)
    if key not in own:
        return ""
    run = run_of_last(own) if own[-1] == key else 0
    shown, n, of = squeeze(label), own.count(key), len(own)
    if language == "zh":
        return f"{title}：{shown}占{of}项中的{n}项" + (f"，最后连续{run}项" if run else "")
    ending = "" if not run else ", the last" if run == 1 else f", the last {run} in a row"
    return f"{title}: {shown} {n} of {of}{ending}"


__all__ = ["LabelFeatures"]
