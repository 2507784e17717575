"""Find out how a delimited file is written, from its first records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from ecomfs.io.decode import Line
from ecomfs.io.records import parse_records
from ecomfs.io.rows import Dialect, Record

DELIMITERS = (",", "\t", ";", "|")
RARE_DELIMITERS = tuple("^~\x01\x02\x1c\x1d\x1e\x1f¦§¬!#%*:@=$&+")
"""Taken only where no usual one is in the header, and every row is as wide as it."""
SNIFF_RECORDS = 200
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)


def sniff_dialect(
    lines: Sequence[Line], *, delimiter: str | None = None, complete: bool = True
) -> Dialect:
    """The dialect under which most records are as wide as the header.

    A delimiter counts only if the header holds it; a header without any is one column, and its
    delimiter is the one that disturbs the rows least.

    Args:
        lines: the first lines of the file.
        delimiter: given by the caller; then only the quoting is found out.
        complete: false when ``lines`` stop before the file does.

    >>> sniff_dialect([Line("id;text\\n"), Line("1;one, two\\n")]).delimiter
    ';'
    >>> sniff_dialect([Line("id^text\\n"), Line("1^one, two\\n")]).delimiter
    '^'
    >>> sniff_dialect([Line('id, "text"\\n'), Line('1, "one, two"\\n')]).spaced
    True
    """
    preamble = 0
    if lines and (told := _SEP_LINE.fullmatch(lines[0].text)):
        preamble, delimiter = 1, delimiter or told[1]
    header = lines[preamble].text if len(lines) > preamble else ""
    quoting = (False, True) if any('\\"' in line.text for line in lines) else (False,)

    def best(marks: Sequence[str]) -> tuple[_Fit, Dialect]:
        candidates = [
            Dialect(mark, backslash, preamble, spaced)
            for mark in marks
            for backslash in quoting
            for spaced in _spacing(lines, mark)
        ]
        fits = [(_fit(lines, dialect, complete), dialect) for dialect in candidates]
        return max(fits, key=lambda found: found[0])  # the first of equals, the comma

    fit, dialect = best([delimiter] if delimiter else DELIMITERS)
    if delimiter is None and not fit.in_header:
        rare = [mark for mark in RARE_DELIMITERS if mark in header]
        if rare:
            other, unusual = best(rare)
            if other.in_header and other.share == 1.0:
                return unusual
    return dialect


class _Fit(NamedTuple):
    in_header: bool
    share: float
    spaced: bool
    plain: bool
    width: int


def _spacing(lines: Sequence[Line], mark: str) -> tuple[bool, ...]:
    """Whether to try a dialect with spaces after the delimiter."""
    spaced = mark + " "
    return (False, True) if any(spaced in line.text for line in lines) else (False,)


def _fit(lines: Sequence[Line], dialect: Dialect, complete: bool) -> _Fit:
    records = list(islice(parse_records(lines, dialect), SNIFF_RECORDS + 1))
    if not complete and 2 < len(records) <= SNIFF_RECORDS:
        records.pop()
    if not records:
        return _Fit(False, 0.0, False, True, 0)
    header, rows = records[0], records[1:]
    if header.error:  # better than no delimiter at all: its message says what to mend
        return _Fit(dialect.delimiter in header.cells[0], 0.0, False, True, 0)
    width = len(header.cells)
    # Cells are kept as they are; spaces belong to the delimiter where the header has them after
    # each one, or most rows have quotes behind them.
    first, *others = [line.text for line in lines[dialect.preamble :]]
    quoted = sum(f'{dialect.delimiter} "' in text for text in others)
    spaced = width > 1 and first.count(dialect.delimiter + " ") == width - 1
    spaced = spaced or quoted * 2 > len(others)
    return _Fit(
        width > 1,
        _share_as_wide(rows, width),
        dialect.spaced == spaced,
        not dialect.backslash,
        width,
    )


def _share_as_wide(rows: Sequence[Record], width: int) -> float:
    if not rows:
        return 1.0
    widths = Counter(len(row.cells) for row in rows if not row.error)
    return widths[width] / len(rows)
