"""Rows of fields as compact, readable text."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from ecomfs.errors import ConfigError, RowError
from ecomfs.features.cells import Price, guess_day_first, read_cell, with_decimals
from ecomfs.features.measure import information, measured
from ecomfs.features.phrases import history_phrase, value_phrase
from ecomfs.features.quantiles import Quantiles
from ecomfs.task import FieldSpec
from ecomfs.types import Language, Row

Order = Literal["information", "given"]
Detail = Literal["percentile", "word", "none"]
MAX_CATEGORIES = 1000
"""Categories of one field that are remembered, the most frequent ones."""
_STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Rendering:
    """A rendered row.

    Attributes:
        text: what the model reads.
        missing: fields without a value.
        unseen: category fields whose value the pool does not have.
    """

    text: str
    missing: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


class FeatureRenderer:
    """Renders rows by their fields' specs and what it learned from the pool.

    From the pool come the words for numbers ("high, 87th percentile"), the known categories,
    whether dates have the day first, the decimal mark of numbers, and the order of the fields:
    texts, then fields that tell about the label, the most telling first, then the others as the
    card lists them. Without :meth:`fit` rows are rendered plainly, in the card's order.

    Args:
        specs: the fields; those of kind ``id`` are not rendered.
        language: of the text.
        order: ``information``, or always as given.
        detail: what follows a number: word and ``percentile``, the ``word`` only, or ``none``.
        separator: between fields; ``"; "`` in English and ``"；"`` in Chinese by default.

    Raises:
        ConfigError: no field can be rendered, or two have the same name.

    >>> fields = [FieldSpec(name="visits", kind="number"), FieldSpec(name="Age", kind="number",
    ...           unit={"en": "years", "zh": "岁"}), FieldSpec(name="plan", kind="category")]
    >>> pool = [{"visits": i, "Age": 20 + i % 9, "plan": "ab"[i % 2]} for i in range(40)]
    >>> renderer = FeatureRenderer(fields).fit(pool, ["yes" if i > 20 else "no" for i in range(40)])
    >>> print(renderer.render({"visits": "35", "Age": "31", "plan": "c"}))
    visits: 35 (high, 88th percentile); age: 31 years (very high, 99th percentile); plan: c
    >>> row = renderer.inspect({"visits": "", "Age": 24, "plan": "c"}, "zh")
    >>> row.text, row.missing, row.unseen
    ('visits：未知；age：24岁（中等，第55百分位）；plan：c', ('visits',), ('plan',))
    """

    def __init__(
        self,
        specs: Sequence[FieldSpec],
        language: Language = "en",
        *,
        order: Order = "information",
        detail: Detail = "percentile",
        separator: str | None = None,
    ) -> None:
        doubled = [name for name, n in Counter(spec.name for spec in specs).items() if n > 1]
        if doubled:
            raise ConfigError(f"two fields are called {doubled[0]!r}")
        if all(spec.kind == "id" for spec in specs):
            raise ConfigError("no field to render", hint="give the card a field that is not an id")
        self.specs = tuple(specs)
        self.language: Language = language
        self.order: Order = order
        self.detail: Detail = detail
        self.separator = separator
        self.problems: tuple[str, ...] = ()
        self.information: dict[str, float] = {}
        self._quantiles: dict[str, Quantiles] = {}
        self._categories: dict[str, frozenset[str]] = {}
        self._day_first: dict[str, bool | None] = {}
        self._absent: frozenset[str] = frozenset()
        self._shown = tuple(spec for spec in self.specs if spec.kind != "id")

    def fit(self, rows: Sequence[Row], labels: Sequence[str] | None = None) -> Self:
        """Learn from the pool.

        Cells of the wrong type are left out and listed in ``problems``; which fields tell about
        the label is learned only with ``labels`` (``information``: nats a field).

        Raises:
            ConfigError: as many labels as rows are needed.
            RowError: a column has no cell of its kind at all: the card is wrong; or its numbers
                do not say their decimal mark, or say two.
        """
        if labels is not None and len(labels) != len(rows):
            raise ConfigError(f"{len(rows)} rows but {len(labels)} labels")
        self.specs = with_decimals(self.specs, rows)
        self._shown = tuple(spec for spec in self.specs if spec.kind != "id")
        problems: list[str] = []
        absent = set()
        for spec in self._shown:
            raw = [spec.find(row) for row in rows]
            if spec.kind == "date":
                self._day_first[spec.name] = guess_day_first(spec, raw)
            values = self._typed(spec, raw, problems)
            if all(value is None for value in values):
                absent.add(spec.name)
            measures = [measured(spec, value) for value in values]
            self._learn(spec, measures)
            if labels is not None:
                self.information[spec.name] = information(spec, measures, labels)
        self.problems = tuple(problems)
        self._absent = frozenset(absent)
        self._shown = self._in_order()
        return self

    def render(self, row: Row, language: Language | None = None) -> str:
        """A row as text; raises what :meth:`inspect` raises."""
        return self.inspect(row, language).text

    def inspect(self, row: Row, language: Language | None = None) -> Rendering:
        """A row as text, with the fields that are missing or have an unseen category.

        Raises:
            RowError: a cell is not of its field's kind (the message names the column), or no
                field has a value.
        """
        language = language or self.language
        colon = "：" if language == "zh" else ": "
        unknown = "未知" if language == "zh" else "unknown"
        parts, missing, unseen = [], [], []
        for spec in self._shown:
            value = self._value(spec, row)
            if value is None:
                missing.append(spec.name)
                if spec.missing == "say" and spec.name not in self._absent:
                    parts.append(f"{spec.title(language)}{colon}{unknown}")
                continue
            known = self._categories.get(spec.name)
            if known is not None and value not in known:
                unseen.append(spec.name)
            parts.append(f"{spec.title(language)}{colon}{self._phrase(spec, value, language)}")
        if len(missing) == len(self._shown):
            names = ", ".join(missing)
            raise RowError(f"no field has a value ({names})")
        separator = self.separator or ("；" if language == "zh" else "; ")
        return Rendering(separator.join(parts), tuple(missing), tuple(unseen))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the rendered fields in the order of the text."""
        return tuple(spec.name for spec in self._shown)

    @property
    def fingerprint(self) -> str:
        """12 hex digits that change whenever a text could change."""
        state = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(state.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """All state as JSON values."""
        return {
            "version": _STATE_VERSION,
            "specs": [spec.model_dump(mode="json") for spec in self.specs],
            "language": self.language,
            "order": self.order,
            "detail": self.detail,
            "separator": self.separator,
            "fields": list(self.fields),
            "information": self.information,
            "quantiles": {name: list(q.values) for name, q in self._quantiles.items()},
            "categories": {name: sorted(known) for name, known in self._categories.items()},
            "day_first": self._day_first,
            "absent": sorted(self._absent),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> FeatureRenderer:
        """The renderer that :meth:`to_dict` described.

        Raises:
            ConfigError: the state is of another version.
        """
        if state.get("version") != _STATE_VERSION:
            hint = "fit the renderer again"
            raise ConfigError("the renderer's state is of another version", hint=hint)
        specs = [FieldSpec.model_validate(spec) for spec in state["specs"]]
        options = {name: state[name] for name in ("order", "detail", "separator")}
        made = cls(specs, state["language"], **options)
        by_name = {spec.name: spec for spec in specs}
        made._shown = tuple(by_name[name] for name in state["fields"])
        made.information = dict(state["information"])
        made._quantiles = {n: Quantiles(tuple(v)) for n, v in state["quantiles"].items()}
        made._categories = {n: frozenset(v) for n, v in state["categories"].items()}
        made._day_first = dict(state["day_first"])
        made._absent = frozenset(state["absent"])
        return made

    def _value(self, spec: FieldSpec, row: Row) -> Any:
        return read_cell(spec, spec.find(row), day_first=self._day_first.get(spec.name))

    def _phrase(self, spec: FieldSpec, value: Any, language: Language) -> str:
        if spec.kind == "history":
            return history_phrase(spec, value, language)
        text = value_phrase(spec, value, language)
        quantiles = self._quantiles.get(spec.name)
        number = value.amount if isinstance(value, Price) else value
        if quantiles is None or self.detail == "none":
            return text
        words = quantiles.words(number, language, percent=self.detail == "percentile")
        if not words:
            return text
        return f"{text}（{words}）" if language == "zh" else f"{text} ({words})"

    def _typed(self, spec: FieldSpec, raw: list[object], problems: list[str]) -> list[Any]:
        values: list[Any] = []
        first: RowError | None = None
        for row, cell in enumerate(raw, 1):
            try:
                value = read_cell(spec, cell, day_first=self._day_first.get(spec.name))
            except RowError as problem:
                first = first or problem
                problems.append(f"row {row}: {problem.message}")
                value = None
            values.append(value)
        if first is not None and all(value is None for value in values):
            hint = first.hint or f"is {spec.kind!r} the right kind for it?"
            raise RowError(f"{first.message}, nor is any other", hint=hint)
        return values

    def _learn(self, spec: FieldSpec, measures: list[Any]) -> None:
        known = [measure for measure in measures if measure is not None]
        if spec.kind in {"number", "price"}:
            self._quantiles[spec.name] = Quantiles.of(known)
        elif spec.kind == "category":
            frequent = Counter(known).most_common(MAX_CATEGORIES)
            self._categories[spec.name] = frozenset(name for name, _ in frequent)

    def _in_order(self) -> tuple[FieldSpec, ...]:
        shown = [spec for spec in self.specs if spec.kind != "id"]
        if self.order == "given" or not self.information:
            return tuple(shown)
        # A stable sort: fields that tell nothing keep the card's order.
        return tuple(
            sorted(shown, key=lambda s: (s.kind != "text", -self.information.get(s.name, 0.0)))
        )
