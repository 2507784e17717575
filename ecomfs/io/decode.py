"""Bytes to lines of text, each decoded strictly in the encoding of its file.

A line that the file's encoding does not explain is tried in the other one and carries a *note*
when that fits; otherwise it carries an *error*, and the bytes that could not be read stand in its
text as visible ``\\xNN`` escapes. Nothing is ever replaced by U+FFFD.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ecomfs.io.encoding import Encoding, is_gb18030, is_utf8

MAX_LINE_BYTES = 1 << 26
"""A longer physical line is cut into pieces of this size, so that memory stays bounded."""


class Line(NamedTuple):
    """One physical line, its terminator included.

    Attributes:
        text: the line; bytes that could not be read stand in it as ``\\xNN``.
        note: set when another encoding than the file's explained the line.
        error: set when none did.
        end: bytes of the file read when the line was complete.
    """

    text: str
    note: str = ""
    error: str = ""
    end: int = 0


def read_lines(
    stream: BinaryIO, encoding: Encoding, *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Line]:
    """Stream the lines of a binary file, each decoded strictly.

    Lines end at a line feed; a carriage return before it stays in the text.

    >>> import io
    >>> mixed = "好\\n".encode() + "质量很好\\n".encode("gb18030")
    >>> [(line.text, line.note) for line in read_lines(io.BytesIO(mixed), Encoding("utf-8"))]
    [('好\\n', ''), ('质量很好\\n', 'decoded as gb18030, the file is utf-8')]
    """
    stream.read(encoding.bom)
    if not encoding.by_line:
        yield from _decode_stream(stream, encoding)
        return
    end = encoding.bom
    while raw := stream.readline(max_line_bytes):
        end += len(raw)
        if raw.isascii():
            yield Line(raw.decode("ascii"), end=end)
        else:
            yield _decode_line(raw, encoding, end)


def _decode_line(raw: bytes, encoding: Encoding, end: int) -> Line:
    name = encoding.name
    if encoding.how == "content" and name != "utf-8" and is_utf8(raw, name):
        return Line(raw.decode("utf-8"), note=f"decoded as utf-8, the file is {name}", end=end)
    try:
        return Line(raw.decode(name), end=end)
    except UnicodeDecodeError as problem:
        if encoding.how != "given" and name == "utf-8" and is_gb18030(raw):
            text = raw.decode("gb18030")
            return Line(text, note="decoded as gb18030, the file is utf-8", end=end)
        bad = raw[problem.start : problem.start + 1].hex().upper()
        error = f"byte {bad} at position {problem.start + 1} of the line is not valid {name}"
        return Line(raw.decode(name, errors="backslashreplace"), error=error, end=end)


def _decode_stream(stream: BinaryIO, encoding: Encoding) -> Iterator[Line]:
    """Lines of an encoding whose line feed is not one byte (UTF-16, UTF-32, ISO-2022)."""
    wide = encoding.name.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(encoding.name)(
        "surrogatepass" if wide else "backslashreplace"
    )
    end, rest, done = encoding.bom, "", False
    while not done:
        raw = stream.read(1 << 16)
        done = not raw
        end += len(raw)
        cut = ""
        try:
            rest += decoder.decode(raw, final=done)
        except UnicodeDecodeError as problem:
            cut = f"the file ends in the middle of a character ({encoding.name})"
            rest += "".join(f"\\x{byte:02x}" for byte in problem.object[problem.start :])
            decoder.reset()
        lines = rest.split("\n")
        rest = "" if done else lines.pop()
        for index, text in enumerate(lines):
            last = done and index == len(lines) - 1
            if last and not text:
                continue
            yield _checked(text if last else text + "\n", cut if last else "", end)


def _checked(text: str, error: str, end: int) -> Line:
    """A line in which lone surrogates, which no file can hold, are shown as escapes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        bad = ord(text[problem.start])
        error = error or f"lone surrogate U+{bad:04X} at character {problem.start + 1} of the line"
        text = text.encode("utf-8", errors="backslashreplace").decode("utf-8")
    return Line(text, error=error, end=end)
