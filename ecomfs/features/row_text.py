"""Renders a row as text, for the retriever and the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, get_args

from ecomfs.errors import ConfigError, RowError
from ecomfs.features.cells import Price, days_first, read_cell, with_decimals
from ecomfs.features.measure import comparable_value, information
from ecomfs.features.phrases import history_phrase, value_phrase
from ecomfs.features.quantiles import Quantiles
from ecomfs.features.relations import Relations
from ecomfs.io import detect_language, squeeze
from ecomfs.task import CardField, FieldSpec, TaskCard, first_empty, short_repr
from ecomfs.types import Language, NestedText, Row, is_scalar

Rendering = Literal["words", "raw"]

SEARCH_LANGUAGE: Language = "en"
"""Language of the text that the retriever compares."""
_WORDED = frozenset({"text", "category", "history", "json"})


class RowText:
    """Renders the rows of a task as text.

    Rows of text fields are written by :meth:`TaskCard.row_text`. Rows with numbers, categories,
    dates or histories are written in words by a :class:`FeatureRenderer`, which :meth:`fit` fits on
    the pool. Without a pool, missing fields are left out, since the columns of the data are not
    known.

    Args:
        rendering: ``words``, or ``raw``: cells as ``name=value`` with the card's names, for
            comparison.
        with_facts: whether :meth:`facts` returns phrases.

    >>> from ecomfs.task import load_task
    >>> rows = RowText(load_task("next_category"))
    >>> print(rows.render({"history": '["shoes", "bags"]', "device": "mobile"}, "en"))
    Device: mobile phone
    History: 2 items, most recent last: shoes → bags
    """

    def __init__(
        self, card: TaskCard, rendering: Rendering = "words", with_facts: bool = False
    ) -> None:
        if rendering not in get_args(Rendering):
            raise ConfigError(f"rendering {rendering!r}", hint="use words or raw")
        self.card = card
        self.rendering = rendering
        self.with_facts = with_facts
        self._relations = Relations(card.specs)
        self.renderer = self._renderer(known=False) if card.tabular else None

    def fit(self, rows: Sequence[Row], labels: Sequence[str]) -> Self:
        """Fit the :class:`FeatureRenderer` on the pool, and set the decimal marks of its columns in
        ``card``.

        Raises:
            RowError: no cell of a column is of its kind, or its decimal mark is ambiguous or mixed.
        """
        if not self.card.tabular or not rows:
            return self
        specs = with_decimals([spec.rendering for spec in self.card.fields], rows)
        self.card = self.card.with_rendering(specs)
        renderer = self._renderer(known=True).fit(rows, labels)
        present = [s.name for s in self.card.fields if any(str(r.get(s.name, "")) for r in rows)]
        most = self.card.max_fields
        if most is not None and len(present) > most:
            present.sort(key=lambda name: -renderer.information.get(name, 0.0))
            renderer = self._renderer(known=True, only=set(present[:most])).fit(rows, labels)
        self.renderer = renderer
        return self

    def render(self, row: Row, language: Language) -> str:
        """A row as text.

        Raises:
            RowError: a cell is not of its field's kind (the message names the column), no field
                has a value, or the text has an unpaired surrogate, which cannot be encoded.
        """
        for spec in self.card.fields:
            _check(spec, row.get(spec.name, ""))
        if self.renderer is None:
            words = self.card.row_text(row, language)
        else:
            words = self.renderer.render(row, language)  # also checks the cells
            words = words if self.rendering == "words" else self._raw(row)
        if not words.isascii() and any("\ud800" <= c <= "\udfff" for c in words):
            raise RowError("the text of the row has an unpaired surrogate (half a character)")
        return words

    def search_text(self, row: Row) -> str | RowError:
        """The text that the retriever compares, in English; an error if a required field is empty
        or a cell is not of its kind.

        >>> from ecomfs.task import load_task
        >>> RowText(load_task("review_sentiment")).search_text({"text": " "}).message
        "field 'text' is empty"
        """
        empty = first_empty(row, self.card)
        if empty is not None:
            return RowError(f"field {empty!r} is empty")
        try:
            return self.render(row, SEARCH_LANGUAGE)
        except RowError as error:
            return error

    def facts(self, row: Row, language: Language) -> list[str]:
        """Phrases for the prompt on how two fields of the row relate; empty without ``with_facts``.

        >>> from ecomfs.task import load_task
        >>> rows = RowText(load_task("query_relevance"), with_facts=True)
        >>> rows.facts({"query": "red mug", "product": "Mug, red"}, "en")
        ['2 of 2 query words in the product']
        """
        return self._relations.phrases(row, language) if self.with_facts else []

    def language(self, row: Row) -> Language:
        """The language of the words in the cells of a row, without the titles of fields.

        >>> from ecomfs.task import load_task
        >>> RowText(load_task("query_relevance")).language({"query": "杯子", "product": "mug"})
        'zh'
        """
        words: list[str] = []
        for spec in self.card.fields:
            value = row.get(spec.name, "")
            if spec.kind == "text":
                words.append(str(value))
            elif spec.kind in _WORDED:
                try:
                    words.extend(_leaves(read_cell(spec.rendering, value)))
                except RowError:
                    words.append(str(value))  # rendering the row reports the error
        return detect_language(" ".join(words))

    def _raw(self, row: Row) -> str:
        cells = [(spec.name, squeeze(str(row.get(spec.name, "")))) for spec in self.card.fields]
        return ", ".join(f"{name}={cell}" for name, cell in cells if cell)

    def _renderer(self, *, known: bool, only: set[str] | None = None) -> FeatureRenderer:
        specs = [s.rendering for s in self.card.fields if only is None or s.name in only]
        if not known:
            specs = [spec.model_copy(update={"missing": "skip"}) for spec in specs]
        return FeatureRenderer(specs, self.card.layout)


class FeatureRenderer:
    """Renders rows with numbers, categories, dates, histories and JSON as text.

    It learns from the pool: words for numbers ("high, 87th percentile"), whether dates have the day
    first, the decimal mark of numbers, and the order of the fields (texts, then informative fields,
    the most informative first, then the others in the order of the card). Without :meth:`fit` rows
    are rendered without these words, in the order of the card.

    Args:
        specs: the fields; those of kind ``id`` are not rendered.
        layout: one line, the most informative field first; or one field per line, in the card's
            order.

    Attributes:
        information: field name → its mutual information with the label, in nats.

    Raises:
        ConfigError: no field can be rendered, or two fields have the same name.

    >>> fields = [FieldSpec(name="visits", kind="number"), FieldSpec(name="Age", kind="number",
    ...           unit={"en": "years", "zh": "岁"}), FieldSpec(name="plan", kind="category")]
    >>> pool = [{"visits": i, "Age": 20 + i % 9, "plan": "ab"[i % 2]} for i in range(40)]
    >>> renderer = FeatureRenderer(fields).fit(pool, ["yes" if i > 20 else "no" for i in range(40)])
    >>> print(renderer.render({"visits": "35", "Age": "31", "plan": "c"}))
    visits: 35 (high, 88th percentile); age: 31 years (very high, 99th percentile); plan: c
    >>> renderer.render({"visits": "", "Age": 24, "plan": "c"}, "zh")
    'visits：未知；age：24岁（中等，第55百分位）；plan：c'
    """

    def __init__(
        self, specs: Sequence[FieldSpec], layout: Literal["line", "lines"] = "line"
    ) -> None:
        repeated = [name for name, n in Counter(spec.name for spec in specs).items() if n > 1]
        if repeated:
            raise ConfigError(f"two fields have the name {repeated[0]!r}")
        self._specs = tuple(spec for spec in specs if spec.kind != "id")
        if not self._specs:
            raise ConfigError("no field to render", hint="give the card a field that is not an id")
        self._layout = layout
        self._quantiles: dict[str, Quantiles] = {}
        self._day_first: dict[str, bool | None] = {}
        self._absent: set[str] = set()
        self.information: dict[str, float] = {}

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields in the order of the text."""
        return tuple(spec.name for spec in self._specs)

    def fit(self, rows: Sequence[Row], labels: Sequence[str] | None = None) -> Self:
        """Learn from the pool. Cells of the wrong type are skipped; the information about the label
        is learned only with ``labels``.

        Raises:
            ConfigError: the numbers of rows and labels differ.
            RowError: no cell of a column is of its kind, so that the card must be wrong; or its
                decimal mark is ambiguous or mixed.
        """
        if labels is not None and len(labels) != len(rows):
            raise ConfigError(f"{len(rows)} rows but {len(labels)} labels")
        self._specs = with_decimals(self._specs, rows)
        self._day_first = days_first(self._specs, rows)
        for spec in self._specs:
            values = self._typed(spec, [spec.find(row) for row in rows])
            if all(value is None for value in values):
                self._absent.add(spec.name)
            measures = [comparable_value(spec, value) for value in values]
            if spec.kind in {"number", "price"}:
                self._quantiles[spec.name] = Quantiles.of([m for m in measures if m is not None])
            if labels is not None:
                self.information[spec.name] = information(spec, measures, labels)
        if self._layout == "line" and self.information:
            # A stable sort: uninformative fields keep the card's order.
            nats = self.information
            order = sorted(self._specs, key=lambda s: (s.kind != "text", -nats[s.name]))
            self._specs = tuple(order)
        return self

    def render(self, row: Row, language: Language = "en") -> str:
        """A row as text.

        Raises:
            RowError: a cell is not of its field's kind (the message names the column), or no field
                has a value.
        """
        zh = language == "zh"
        parts = []
        missing = 0
        for spec in self._specs:
            value = self._value(spec, spec.find(row))
            if value is not None:
                phrase = self._phrase(spec, value, language)
            else:
                missing += 1
                if spec.missing == "skip" or spec.name in self._absent:
                    continue
                phrase = "未知" if zh else "unknown"
            parts.append(f"{spec.title(language)}{'：' if zh else ': '}{phrase}")
        if missing == len(self._specs):
            raise RowError(f"no field has a value ({', '.join(self.fields)})")
        return ("\n" if self._layout == "lines" else "；" if zh else "; ").join(parts)

    def _value(self, spec: FieldSpec, cell: object) -> Any:
        return read_cell(spec, cell, day_first=self._day_first.get(spec.name))

    def _phrase(self, spec: FieldSpec, value: Any, language: Language) -> str:
        if spec.kind == "history":
            return history_phrase(spec, value, language)
        text = value_phrase(spec, value, language)
        number = value.amount if isinstance(value, Price) else value
        quantiles = self._quantiles.get(spec.name)
        words = quantiles.words(number, language) if quantiles else ""
        if not words:
            return text
        return f"{text}（{words}）" if language == "zh" else f"{text} ({words})"

    def _typed(self, spec: FieldSpec, cells: Sequence[object]) -> list[Any]:
        values: list[Any] = []
        first: RowError | None = None
        for cell in cells:
            try:
                values.append(self._value(spec, cell))
            except RowError as problem:
                first = first or problem
                values.append(None)
        if first is not None and all(value is None for value in values):
            hint = first.hint or f"is {spec.kind!r} the right kind for it?"
            raise RowError(f"{first.message}, nor is any other", hint=hint)
        return values


def _check(spec: CardField, value: Any) -> None:
    """Refuse bytes, and a list or mapping in a field of one value."""
    one = spec.kind in {"text", "category", "id"}
    nested = isinstance(value, NestedText)
    if isinstance(value, bytes | bytearray) or (one and (nested or not is_scalar(value))):
        kind = "list or object" if nested else type(value).__name__
        raise RowError(
            f"column {spec.name!r}: {short_repr(value)} is of type {kind}, not a {spec.kind}",
            hint="decode it" if isinstance(value, bytes | bytearray) else "give one value",
        )


def _leaves(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
