"""Which encoding a file is in: byte-order mark, then strict UTF-8, then GB18030, decided once.

The decision is made from a bounded look at the head of the file; nothing is guessed silently: a
file that neither encoding explains raises :class:`DecodingError`.

GB18030 accepts almost any bytes, so validity alone proves little. A line counts as GB18030 only
if most of its multi-byte characters lie in the GB2312 plane (both bytes from ``A1`` up) or are
four bytes long; Western single-byte text and Big5 fail that test.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import BinaryIO, Literal

from ecomfs.errors import ConfigError, DecodingError

LOOK_BYTES = 1 << 20
"""How many bytes of a file the decision may look at."""

_BOMS = (  # UTF-32-LE begins with UTF-16-LE's mark, so the longer ones come first
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GB_NAMES = {"gb2312", "gbk", "cp936", "936", "ms936", "gb18030", "euc-cn", "euc_cn"}
_MIN_GB2312_SHARE = 0.8
_MAX_ODD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's bytes become text.

    Attributes:
        name: Python codec name.
        bom: length of the byte-order mark in bytes; 0 without one.
        how: what decided it: a mark, the file's content, or the caller.
    """

    name: str
    bom: int = 0
    how: Literal["bom", "content", "given"] = "content"

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

    Raises:
        ConfigError: Python has no such text encoding.

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
        DecodingError: more lines are neither UTF-8 nor plausible GB18030 than are (up to one
            line in a hundred may be; such a line is an error of its own when it is read).

    >>> detect_encoding("id,评论".encode("gb18030")).name
    'gb18030'
    >>> detect_encoding(b"\\xef\\xbb\\xbfid").bom
    3
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, bom=len(mark), how="bom")
    if wide := _wide(head):
        return Encoding(wide)
    if _valid(head, "utf-8", cut=True):
        return Encoding("utf-8")
    kinds = {"utf-8": 0, "gb18030": 0, "": 0}
    lines = [line for line in head.splitlines() if not line.isascii()]
    if len(lines) > 1 and not head.endswith((b"\n", b"\r")):
        lines.pop()  # the look may have cut it in the middle of a character
    for line in lines:
        kinds[encoding_of_line(line, cut=len(lines) == 1)] += 1
    odd = kinds[""]
    if odd > kinds["utf-8"] + kinds["gb18030"] and odd > _MAX_ODD_SHARE * (head.count(b"\n") + 1):
        raise DecodingError(
            f"{source}: the text is neither UTF-8 nor GB18030",
            hint="save it as UTF-8: iconv -f cp1252 -t UTF-8 (or -f latin1, big5); in Python, "
            "name its encoding='cp1252'",
        )
    return Encoding("gb18030" if kinds["gb18030"] > kinds["utf-8"] else "utf-8")


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
    """The caller's encoding, with the mark skipped and the byte order read from it."""
    for mark, name in _BOMS:
        if head.startswith(mark) and name.startswith(given.name):
            return Encoding(name, bom=len(mark), how="given")
    wide = given.name in {"utf-16", "utf-32"}
    return Encoding(given.name + "-le" if wide else given.name, how="given")


def encoding_of_line(line: bytes, *, cut: bool = False) -> Literal["utf-8", "gb18030", ""]:
    """Which encoding explains a non-ASCII line; ``cut`` tolerates an incomplete last character."""
    if _valid(line, "utf-8", cut=cut):
        return "utf-8"
    plausible = _valid(line, "gb18030", cut=cut) and gb2312_share(line) >= _MIN_GB2312_SHARE
    return "gb18030" if plausible else ""


def _valid(line: bytes, name: str, *, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder(name)("strict").decode(line, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def gb2312_share(line: bytes) -> float:
    """Share of multi-byte GB18030 characters in the GB2312 plane or four bytes long."""
    usual = total = position = 0
    while position < len(line):
        if line[position] < 0x80:
            position += 1
            continue
        second = line[position + 1] if position + 1 < len(line) else 0
        four = 0x30 <= second <= 0x39
        usual += four or (line[position] >= 0xA1 and second >= 0xA1)
        total += 1
        position += 4 if four else 2
    return usual / total if total else 0.0


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: it begins with a pair of ASCII characters, and read as UTF-16 it is
    text in lines. UTF-8 may hold zero bytes, too, but its line ends are no pairs."""
    if len(head) < LOOK_BYTES and len(head) % 2:
        return ""
    for name, high in (("utf-16-le", slice(1, 4, 2)), ("utf-16-be", slice(0, 4, 2))):
        first = head[:4].replace(b"\0", b"")
        if head[high] != b"\0\0" or len(first) != 2 or not first.isascii():
            continue
        text = head.decode(name, "replace")  # a broken character is its row's affair, later
        if (
            first.decode().isprintable()
            and "\0" not in text
            and ("\n" in text or b"\n" not in head)
        ):
            return name
    return ""
