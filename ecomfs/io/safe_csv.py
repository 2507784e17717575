"""Cells of CSV and TSV files that a spreadsheet would run, marked so that it shows them.

Excel, LibreOffice and Google Sheets compute a cell that begins with ``=``, ``+``, ``-`` or ``@``
(also full-width), or with a tab or a line break before one, whether it is quoted or not. An
apostrophe in front makes it text (OWASP, "CSV Injection"). Cells that begin with apostrophes
before such a character get one too, so that taking one away gives every cell back exactly.

Numbers are no formulas and stay as they are, and so does a single character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_RUN = re.compile("['\\s\ufeff]*[=+\\-@＝＋－＠]|['\\s]*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)(e[+-]?\d+)?%?", re.IGNORECASE)

_written: ContextVar[bool] = ContextVar("written", default=False)
_read: ContextVar[bool] = ContextVar("read", default=False)


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet runs.

    Parameters
    ----------
    text : str
        The cell.

    Returns
    -------
    str
        With an apostrophe in front where a spreadsheet would run it.

    Examples
    --------
    >>> [safe_cell(t) for t in ("=1+1", "@sum", "-5.3", "fits", "-", "'=1")]
    ["'=1+1", "'@sum", '-5.3', 'fits', '-', "''=1"]
    """
    if text[:1].isalnum():  # so it is with nearly all
        return text
    # A lone sign computes nothing; a lone apostrophe would be taken for the mark.
    lone = len(text.strip()) == 1 and not text.startswith("'")
    if not _RUN.match(text) or _NUMBER.fullmatch(text) or lone:
        return text
    return f"'{text}"


def plain_cell(text: str) -> str:
    """The cell that :func:`safe_cell` was given.

    Parameters
    ----------
    text : str
        What :func:`safe_cell` returned.

    Returns
    -------
    str
        Without the apostrophe.

    Examples
    --------
    >>> [plain_cell(t) for t in ("'=1+1", "-5.3", "''=1", "'tis fine")]
    ['=1+1', '-5.3', "'=1", "'tis fine"]
    """
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


@contextmanager
def safe_csv(*, written: bool = False, read: bool = False) -> Iterator[None]:
    """While the block runs, all cells of CSV and TSV files are marked or unmarked.

    Parameters
    ----------
    written : bool
        Cells that are written are marked, headers included.
    read : bool
        Marks are taken away from cells that are read, headers included.

    Returns
    -------
    Iterator[None]
        A context manager.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from ecomfs.io import AtomicWriter, TableReader
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "out.csv"
    >>> with safe_csv(written=True), AtomicWriter(path, ["text"]) as out:
    ...     out.write([["=1+1"]])
    >>> path.read_text().split()
    ['text', "'=1+1"]
    >>> with safe_csv(read=True):
    ...     [row.cells["text"] for row in TableReader(path).rows()]
    ['=1+1']
    """
    tokens = _written.set(written), _read.set(read)
    try:
        yield
    finally:
        _written.reset(tokens[0])
        _read.reset(tokens[1])


def is_written_safe() -> bool:
    """Whether all cells that are written are marked (:func:`safe_csv`)."""
    return _written.get()


def is_read_safe() -> bool:
    """Whether marks are taken away from cells that are read (:func:`safe_csv`)."""
    return _read.get()


__all__ = ["is_read_safe", "is_written_safe", "plain_cell", "safe_cell", "safe_csv"]
