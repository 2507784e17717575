"""A report as a document: blocks that every renderer prints in its own format.

>>> blocks = [Paragraph("Two systems."), TableBlock("scores", ["system"], [["A"]])]
>>> Document("Shops", "en", (), (Section("Scores", blocks),)).sections[0].title
'Scores'
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ReportLanguage = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph: plain, ``soft`` (a remark) or ``decision`` (the line to remember)."""

    text: str
    style: Literal["", "soft", "decision"] = ""


@dataclass(frozen=True, slots=True)
class BulletList:
    """Lines of a list."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class TermList:
    """Lines of (term, explanation, source); the source may be empty."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class TableCell:
    """A table cell.

    Attributes:
        text: the value.
        detail: less important text after it, such as an interval.
        tip: tooltip; not in Markdown.
        mark: class of the style sheet (``won``, ``lost``, ``hit3``).
        span: number of columns that it spans.
    """

    text: str
    detail: str = ""
    tip: str = ""
    mark: str = ""
    span: int = 1


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table whose first column names its rows.

    Attributes:
        label: description of the content, for screen readers.
        header: titles of the columns.
        rows: cells; plain text is a cell without attributes.
        caption: a sentence above it.
        text_columns: positions of the columns with text, aligned left; the others are numbers.
        main_rows: positions of the rows to emphasise.
        matrix: whether it is a confusion matrix.
    """

    label: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | TableCell]]
    caption: str = ""
    text_columns: Collection[int] = (0,)
    main_rows: Collection[int] = ()
    matrix: bool = False

    def cells(self) -> list[list[TableCell]]:
        """The rows, with plain texts turned into cells."""
        return [[TableCell(c) if isinstance(c, str) else c for c in row] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing.

    Attributes:
        title: title above the drawing.
        svg: the drawing.
        legend: (style number, name) of each line.
        table: the same numbers, for formats without drawings; ``None`` if there are too many.
        note: a line above the title.
    """

    title: str
    svg: str
    legend: Sequence[tuple[int, str]]
    table: TableBlock | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class FigureGrid:
    """Drawings arranged side by side."""

    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks under a title that can be opened and closed."""

    title: str
    blocks: Sequence[DocumentBlock]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One system's answer to a row: a title, a remark, and named texts (input, prompt)."""

    title: str
    note: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RowEntry:
    """A row of the data to show, such as an error.

    Attributes:
        id: id of the row.
        values: one value for each of the list's columns.
        panels: input and answer of each system.
        kind, tag: class of the style sheet and word for the kind of row, such as ``broken``.
    """

    id: str
    values: Sequence[str]
    panels: Sequence[Panel]
    kind: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class RowList:
    """Rows of the data under common column titles."""

    columns: Sequence[str]
    entries: Sequence[RowEntry]


DocumentBlock = (
    Heading | Paragraph | BulletList | TermList | TableBlock | FigureGrid | Details | RowList
)


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[DocumentBlock]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes:
        title: title of the page.
        language: language of its words.
        intro: remarks under the title.
        sections: the content.
    """

    title: str
    language: ReportLanguage
    intro: Sequence[str] = ()
    sections: Sequence[Section] = field(default=())


class SupportsDocument(Protocol):
    """A result that can be written as a report: a single report, or a suite's board."""

    def document(self) -> Document:
        """The report as blocks."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
