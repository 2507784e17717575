"""Find out how a delimited file is written, from its first records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from ecomfs.table.records import parse_records
from ecomfs.table.rows import Dialect, Record
from ecomfs.text.decode import Line

DELIMITERS = (",", "\t", ";", "|")
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
    """
    preamble = 0
    if lines and (told := _SEP_LINE.fullmatch(lines[0].text)):
        preamble, delimiter = 1, delimiter or told[1]
    quoting = (False, True) if any('\\"' in line.text for line in lines) else (False,)
    candidates = [
        Dialect(mark, backslash, preamble)
        for mark in ([delimiter] if delimiter else DELIMITERS)
        for backslash in quoting
    ]
    # max() keeps the first of equals, the comma.
    return max(candidates, key=lambda dialect: _fit(lines, dialect, complete))


def _fit(lines: Sequence[Line], dialect: Dialect, complete: bool) -> tuple[bool, float, bool, int]:
    records = list(islice(parse_records(lines, dialect), SNIFF_RECORDS + 1))
    if not complete and 2 < len(records) <= SNIFF_RECORDS:
        records.pop()
    if not records:
        return (False, 0.0, True, 0)
    header, rows = records[0], records[1:]
    if header.error:  # better than no delimiter at all: its message says what to mend
        return (dialect.delimiter in header.cells[0], 0.0, True, 0)
    width = len(header.cells)
    return (width > 1, _share_as_wide(rows, width), not dialect.backslash, width)


def _share_as_wide(rows: Sequence[Record], width: int) -> float:
    if not rows:
        return 1.0
    widths = Counter(len(row.cells) for row in rows if not row.error)
    return widths[width] / len(rows)
