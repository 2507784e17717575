"""The encoding of a file, decided once, and its bytes as lines of text.

A byte-order mark decides, then strict UTF-8, and only then one of the encodings before Unicode
(GB18030, cp1252, Shift-JIS …), where the text reads clearly better in it than in any other
(:mod:`ecomfs.io.legacy`). The decision uses a bounded part of the file. A guess carries a note, and
a file that no encoding explains raises :class:`DecodingError`.

Lines are decoded strictly. A line that the file's encoding does not explain is tried in UTF-8 or
GB18030 and carries a *note* when that fits; otherwise it carries an *error*, and the bytes that
could not be read stand in its text as visible ``\\xNN`` escapes. U+FFFD is never written.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Literal, NamedTuple

from ecomfs.errors import ConfigError, DecodingError
from ecomfs.io.legacy import Guess, guess_encoding

LOOK_BYTES = 1 << 20
"""How many bytes of a file the decision may look at."""

_BOMS = (  # UTF-32-LE begins with UTF-16-LE's mark, so the longer ones come first
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    ("\ufeff".encode("gb18030"), "gb18030"),
)
_GB_NAMES = {"gb2312", "gbk", "cp936", "936", "ms936", "gb18030", "euc-cn", "euc_cn"}
_MAX_ODD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's bytes become text.

    Attributes:
        name: Python codec name.
        bom: length of the byte-order mark in bytes (of all, where there are several); 0 without.
        how: what decided it: a mark, the file's content, or the caller.
        note: how the encoding was found, where that needs a check by the user; else empty.
    """

    name: str
    bom: int = 0
    how: Literal["bom", "content", "given"] = "content"
    note: str = ""

    @property
    def by_line(self) -> bool:
        """Whether a line feed is always the byte ``0A``, so that lines can be split as bytes."""
        if self.name in {"utf-8", "gb18030"}:
            return True
        try:
            return bytes(range(128)).decode(self.name) == "".join(map(chr, range(128)))
        except UnicodeError:
            return False


def encoding_named(name: str) -> Encoding:
    """The encoding a caller asked for by name; GB2312 and GBK become their superset GB18030.

    Parameters
    ----------
    name : str
        Name of a Python codec, or one of its usual aliases.

    Returns
    -------
    Encoding
        The codec to decode with; its byte-order mark is looked for later.

    Raises
    ------
    ConfigError
        Python has no such text encoding.

    Examples
    --------
    >>> encoding_named("GBK").name
    'gb18030'
    >>> encoding_named("UTF8").name
    'utf-8'
    """
    if name.lower() in _GB_NAMES:
        return Encoding("gb18030", how="given")
    try:
        found = codecs.lookup(name).name
        b"a".decode(found, "ignore")
    except LookupError:  # unknown, or not a text encoding
        hint = "use utf-8, gb18030, utf-16, cp1252, big5 or another Python codec"
        raise ConfigError(f"no text encoding is called {name!r}", hint=hint) from None
    return Encoding("utf-8" if found == "utf-8-sig" else found, how="given")


def detect_encoding(head: bytes, *, source: str = "input") -> Encoding:
    """Decide a file's encoding from its first bytes.

    Args:
        head: the first bytes; a last incomplete line is tolerated.
        source: the file's name, for the message.

    Raises:
        DecodingError: most lines are not UTF-8, and they read clearly best in no other encoding
            (up to one line in a hundred may; such a line is an error of its own when it is read).

    >>> detect_encoding("id,评论".encode("gb18030")).name
    'gb18030'
    >>> detect_encoding(b"\\xef\\xbb\\xbfid").bom
    3
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, bom=_marks(head, mark), how="bom")
    if wide := _wide(head):
        return Encoding(wide)
    cut = len(head) >= LOOK_BYTES
    if _valid(head, "utf-8", cut=cut):
        return Encoding("utf-8")
    lines = [line for line in head.splitlines() if not line.isascii()]
    if cut and len(lines) > 1 and not head.endswith((b"\n", b"\r")):
        lines.pop()  # the look may have cut it in the middle of a character
    others = [line for line in lines if not _valid(line, "utf-8", cut=cut and len(lines) == 1)]
    as_utf8 = len(lines) - len(others)
    if as_utf8 >= len(others):
        return Encoding("utf-8")
    found = guess_encoding(others)
    if found.name:
        read = sum(_valid(line, found.name, cut=cut and len(lines) == 1) for line in others)
        return Encoding(found.name, note=_note(found)) if read > as_utf8 else Encoding("utf-8")
    if len(others) <= _MAX_ODD_SHARE * (head.count(b"\n") + 1):
        return Encoding("utf-8")
    likely = ", ".join(found.likely)
    first = found.likely[0] if likely else "cp1252"
    raise DecodingError(
        f"{source}: the text is not UTF-8, and no other encoding reads clearly best"
        + (f"; likely are {likely}" if likely else ""),
        hint=f"name it with --input-encoding {first} (in Python, encoding={first!r}), or "
        f"save it as UTF-8: iconv -f {first} -t UTF-8",
    )


def _marks(head: bytes, mark: bytes) -> int:
    """Bytes of the byte-order marks at the start: some programs write a second one."""
    end = 0
    while head.startswith(mark, end):
        end += len(mark)
    return end


def _note(found: Guess) -> str:
    others = [name for name in found.likely if name != found.name]
    also = f" (the next would be {', '.join(others)})" if others else ""
    return f"read as {found.name}, in which its bytes read best{also}"


def choose_encoding(
    stream: BinaryIO, given: str | None = None, *, source: str = "input"
) -> tuple[Encoding, bytes]:
    """The encoding of a stream opened at its start, and the head that was read to find it.

    An all-ASCII head proves nothing about what follows, so without ``given`` reading goes on,
    block by block and without keeping them, to the first block that holds another byte.

    Args:
        given: an encoding the caller insists on; only a byte-order mark is looked for then.

    Raises:
        DecodingError: see :func:`detect_encoding`.
        ConfigError: see :func:`encoding_named`.
    """
    head = block = stream.read(LOOK_BYTES)
    if given is not None:
        return _as_given(encoding_named(given), head), head
    line_start = b""
    while block and block.isascii() and b"\0" not in block:
        line_start = block[block.rfind(b"\n") + 1 :]
        block = stream.read(LOOK_BYTES)
    decisive = head if block is head else line_start + block
    return detect_encoding(decisive, source=source), head


def _as_given(given: Encoding, head: bytes) -> Encoding:
    """The caller's encoding, with the mark skipped and the byte order read from it.

    A file that is UTF-8 beyond doubt is read as such, and noted: one encoding is named for all
    tables of a command, and UTF-8 read as cp1252 is no error but wrong characters.
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            if name.startswith(given.name):
                return Encoding(name, bom=_marks(head, mark), how="given")
            if not given.name.startswith(("utf-16", "utf-32")):
                why = f"read as {name}, as its byte-order mark says, not as {given.name}"
                return Encoding(name, bom=_marks(head, mark), how="bom", note=why)
    wide = given.name in {"utf-16", "utf-32"}
    if given.by_line and given.name not in {"ascii", "utf-8"} and is_utf8(head, given.name):
        return Encoding("utf-8", note=f"read as UTF-8, which it is, not as {given.name}")
    return Encoding(given.name + "-le" if wide else given.name, how="given")


def is_utf8(raw: bytes, instead_of: str) -> bool:
    """Whether bytes are UTF-8 beyond doubt, in a file whose encoding was given as another one.

    Short words of two-byte encodings can be valid two-byte UTF-8 (the two characters of "联通"
    are, in GBK), so there every other character must take three bytes or more.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")("strict").decode(raw)
    except UnicodeDecodeError:
        return False
    if text.isascii():
        return False
    return is_single_byte(instead_of) or all(c < "\x80" or c >= "\u0800" for c in text)


@lru_cache(maxsize=64)
def is_single_byte(name: str) -> bool:
    """Whether every character of an encoding is one byte."""
    try:
        return len(bytes(range(256)).decode(name, "replace")) == 256
    except LookupError:
        return False


def is_gb18030(line: bytes) -> bool:
    """Whether a line that is not UTF-8 reads clearly best as GB18030."""
    return _valid(line, "gb18030", cut=False) and guess_encoding([line]).name == "gb18030"


def _valid(line: bytes, name: str, *, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder(name)("strict").decode(line, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: it begins with a pair of ASCII characters, and read as UTF-16 it is
    text in lines. UTF-8 may hold zero bytes, too, but its line ends are no pairs."""
    if len(head) < LOOK_BYTES and len(head) % 2:
        return ""
    for name, high in (("utf-16-le", slice(1, 4, 2)), ("utf-16-be", slice(0, 4, 2))):
        first = head[:4].replace(b"\0", b"")
        if head[high] != b"\0\0" or len(first) != 2 or not first.isascii():
            continue
        text = head.decode(name, "replace")  # a broken character is an error of its row, later
        if (
            first.decode().isprintable()
            and "\0" not in text
            and ("\n" in text or b"\n" not in head)
        ):
            return name
    return ""


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
            yield Line(raw.decode("ascii"), "", "", end)
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
