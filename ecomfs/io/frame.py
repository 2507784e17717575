"""A whole table as a pandas DataFrame of text."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from ecomfs.io.reader import MAX_CELL_CHARS, TableReader

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Frame:
    """A table in memory.

    Attributes:
        data: every row, bad ones too; all columns are text, the index is the row's line.
        errors: line → why the row cannot be used.
        notes: line → what had to be done to read it.
        name: what messages call the input.
    """

    data: pd.DataFrame
    errors: dict[int, str]
    notes: dict[int, str]
    name: str


def read_frame(
    path: str | PathLike[str],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    max_cell_chars: int = MAX_CELL_CHARS,
    allow_nul: bool = False,
) -> Frame:
    """Read a whole table; takes and raises what :class:`TableReader` does.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
    >>> _ = path.write_text("id,text\\n1,fine\\n2\\n")
    >>> frame = read_frame(path)
    >>> frame.data["text"].to_list(), frame.errors
    (['fine', ''], {3: 'line 3: 1 cell where the header has 2'})
    """
    import pandas as pd

    reader = TableReader(
        path,
        encoding=encoding,
        delimiter=delimiter,
        max_cell_chars=max_cell_chars,
        allow_nul=allow_nul,
    )
    rows = list(reader.rows())
    data = pd.DataFrame(
        {name: [row.cells[name] for row in rows] for name in reader.header},
        index=pd.Index([row.line for row in rows], name="line"),
        dtype="str",
    )
    errors = {row.line: row.error for row in rows if row.error}
    notes = {row.line: row.note for row in rows if row.note}
    return Frame(data, errors, notes, reader.name)
