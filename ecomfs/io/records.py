"""Physical lines to records: the csv module's strict parser, with recovery.

A stray quote must not swallow the rows after it. The parser is strict; when it refuses a record,
or the record grows beyond a limit, only the record's first line becomes an error and parsing
starts again at the next line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from ecomfs.io.decode import Line
from ecomfs.io.rows import Dialect, Record

MAX_RECORD_CHARS = 4_000_000
"""Longest record, in characters; what is longer is taken for an unclosed quote."""

_BACKSLASH_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_MEANINGS = (
    ("unexpected end of data", "a quote that opens in it is never closed"),
    ("expected after", "a quote inside a quoted cell is not doubled"),
    ("new-line character", "a carriage return stands outside quotes"),
    ("field larger", "a cell is too long, or a quote is never closed"),
)


class _RecordTooLongError(Exception):
    pass


class _Feed:
    """Lines for the csv module; remembers those of the record under way and takes them back."""

    def __init__(self, lines: Iterable[Line], backslash: bool, limit: int, first: int) -> None:
        self._lines = iter(lines)
        self._back: deque[Line] = deque()
        self._backslash = backslash
        self._limit = limit
        self._chars = 0
        self.used: list[Line] = []
        self.line = first  # number of the record's first line

    def begin(self) -> None:
        self.line += len(self.used)
        self.used = []
        self._chars = 0

    def restart_after_first(self) -> None:
        self._back.extendleft(reversed(self.used[1:]))
        del self.used[1:]

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self._chars > self._limit:
            raise _RecordTooLongError
        line = self._back.popleft() if self._back else next(self._lines)
        self.used.append(line)
        self._chars += len(line.text)
        if self._backslash and '\\"' in line.text:
            return _BACKSLASH_QUOTE.sub(r'\1""', line.text)
        return line.text


def parse_records(
    lines: Iterable[Line],
    dialect: Dialect,
    *,
    max_record_chars: int = MAX_RECORD_CHARS,
    first_line: int = 1,
) -> Iterator[Record]:
    """Records of a delimited file, the header's first; blank lines are no records. Lines from
    the middle of a file begin with ``first_line``, and have no preamble.

    >>> rows = ['id,text\\n', '1,"two\\n', 'lines"\\n', '2,"bad" quote\\n', '3,ok\\n']
    >>> for r in parse_records([Line(row) for row in rows], Dialect()):
    ...     print(r.line, r.cells, r.error)
    1 ['id', 'text']
    2 ['1', 'two\\nlines']
    4 ['2,"bad" quote'] a quote inside a quoted cell is not doubled
    5 ['3', 'ok']
    """
    if csv.field_size_limit() < max_record_chars:  # process-wide; never lowered
        csv.field_size_limit(max_record_chars)
    feed = _Feed(lines, dialect.backslash, max_record_chars, first_line)
    skip = dialect.preamble if first_line == 1 else 0

    def begin() -> Iterator[list[str]]:
        return csv.reader(
            feed, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced, strict=True
        )

    parser = begin()
    while True:
        feed.begin()
        try:
            record = _record(feed, next(parser))
        except StopIteration:
            return
        except (csv.Error, _RecordTooLongError) as problem:
            feed.restart_after_first()
            parser = begin()
            text = feed.used[0].text.rstrip("\r\n")
            kept = text if len(text) <= max_record_chars else ""
            record = _record(feed, [kept], error=_meaning(problem))
        if skip:
            skip -= 1
        elif record.cells:
            yield record


def _record(feed: _Feed, cells: list[str], error: str = "") -> Record:
    used = feed.used
    error = error or next((line.error for line in used if line.error), "")
    note = next((line.note for line in used if line.note), "")
    return Record(feed.line, cells, error, note, used[-1].end, lines=len(used))


def _meaning(problem: Exception) -> str:
    said = "field larger" if isinstance(problem, _RecordTooLongError) else str(problem)
    return next((text for key, text in _MEANINGS if key in said), said)
