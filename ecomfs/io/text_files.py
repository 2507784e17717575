"""Small text files that are read whole: templates, task cards, suites."""

from __future__ import annotations

import logging
from pathlib import Path

from ecomfs.errors import DecodingError
from ecomfs.io.encoding import detect_encoding

_log = logging.getLogger(__name__)
_said: set[tuple[str, int, str]] = set()


def read_text(path: Path) -> str:
    """The text of a file, decoded as tables are, without its byte-order mark; every line ends in
    a line feed.

    Raises:
        OSError: it cannot be read.
        DecodingError: its encoding cannot be told.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "en.v1.jinja"
    >>> _ = path.write_text("Review: {{ text }}\\r\\n", encoding="utf-16", newline="")
    >>> read_text(path)
    'Review: {{ text }}\\n'
    """
    raw = path.read_bytes()
    hint = "save it as UTF-8"
    try:
        found = detect_encoding(raw, source=str(path))
    except DecodingError as problem:
        raise DecodingError(problem.message, hint=hint) from problem
    try:
        text = raw[found.bom :].decode(found.name)
    except UnicodeDecodeError as problem:
        raise DecodingError(
            f"{path}: byte {found.bom + problem.start + 1} of the file is not {found.name}",
            hint=hint,
        ) from problem
    if found.note:
        say_once(path, f"{found.note}; if that is wrong, {hint}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def say_once(path: Path, note: str) -> None:
    """Log what a person should know about a file; once, though a run opens it several times."""
    key = (str(path.resolve()), path.stat().st_mtime_ns, note)
    if key not in _said:
        _said.add(key)
        _log.warning("%s: %s", path.name, note)


__all__ = ["read_text", "say_once"]
