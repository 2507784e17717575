"""A row of a task as the text that the retriever compares and the model reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, get_args

from ecomfs.errors import ConfigError, RowError
from ecomfs.features.cells import read_cell, with_decimals
from ecomfs.features.renderer import FeatureRenderer
from ecomfs.io import detect_language, squeeze
from ecomfs.task import TaskCard, is_scalar, shown
from ecomfs.task.card import FieldSpec
from ecomfs.types import Language, Row

Rendering = Literal["words", "raw"]

_WORDED = frozenset({"text", "category", "history", "json"})


class RowText:
    """Rows of a task as text.

    Rows of text fields are laid out by :meth:`TaskCard.row_text`. Rows with numbers, categories,
    dates or histories are put into words by a :class:`~ecomfs.features.FeatureRenderer`, which
    :meth:`fit` shows the pool; without a pool no field is said to be unknown, since which columns
    the data have is unknown too.

    Args:
        rendering: ``words``; or ``raw``: the cells of such rows as ``name=value``, with the card's
            names, as a comparison.

    >>> from ecomfs.task import load_task
    >>> rows = RowText(load_task("next_category"))
    >>> print(rows.render({"history": '["shoes", "bags"]', "device": "mobile"}, "en"))
    Device: mobile phone
    History: 2 items, most recent last: shoes → bags
    """

    def __init__(self, card: TaskCard, rendering: Rendering = "words") -> None:
        if rendering not in get_args(Rendering):
            raise ConfigError(f"rendering {rendering!r}", hint="use words or raw")
        self.card = card
        self.rendering = rendering
        self.renderer = self._renderer(known=False) if card.tabular else None

    def fit(self, rows: Sequence[Row], labels: Sequence[str]) -> Self:
        """Learn from the pool what :class:`~ecomfs.features.FeatureRenderer` learns;
        ``card`` then has the decimal marks of its columns.

        Raises:
            RowError: a column has no cell of its kind at all; or its numbers do not say their
                decimal mark, or say two.
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
                has a value, or the text holds half a character, which no model can be sent.
        """
        for spec in self.card.fields:
            _check(spec, row.get(spec.name, ""))
        if self.renderer is None:
            words = self.card.row_text(row, language)
        else:
            words = self.renderer.render(row, language)  # also checks the cells
            words = words if self.rendering == "words" else self._raw(row)
        if not words.isascii() and any("\ud800" <= c <= "\udfff" for c in words):
            raise RowError("the row holds half a character (a lone surrogate)")
        return words

    def language(self, row: Row) -> Language:
        """The language of the words in a row's own cells, titles of fields left out.

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
                    words.append(str(value))  # the row fails when it is rendered
        return detect_language(" ".join(words))

    def _raw(self, row: Row) -> str:
        cells = [(spec.name, squeeze(str(row.get(spec.name, "")))) for spec in self.card.fields]
        return ", ".join(f"{name}={cell}" for name, cell in cells if cell)

    def _renderer(self, *, known: bool, only: set[str] | None = None) -> FeatureRenderer:
        specs = [s.rendering for s in self.card.fields if only is None or s.name in only]
        if not known:
            specs = [spec.model_copy(update={"missing": "skip"}) for spec in specs]
        lines = self.card.layout == "lines"
        return FeatureRenderer(
            specs,
            order="given" if lines else "information",
            separator="\n" if lines else None,
        )


def _check(spec: FieldSpec, value: Any) -> None:
    """Refuse a cell whose text is not what it says."""
    one = spec.kind in {"text", "category", "id"}
    if isinstance(value, bytes | bytearray) or (one and not is_scalar(value)):
        raise RowError(
            f"column {spec.name!r}: {shown(value)} is of type {type(value).__name__}, not a "
            f"{spec.kind}",
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
