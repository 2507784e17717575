"""Parts of messages: the nearest name, a shortened list, an error on one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
_IN_QUERY = re.compile(
    r"(?<=[?&])(\w*(?:password|passwd|pwd|token|secret|api_?key))=[^&#\s]+", re.IGNORECASE
)


def did_you_mean(word: str, known: Iterable[str], *, fold: bool = False) -> str:
    """``did you mean 'x'? `` with the nearest known name, to begin a hint; empty when none is
    near.

    Args:
        fold: ignore case and surrounding space.

    >>> did_you_mean("postive", ["positive", "negative"]), did_you_mean("x", ["positive"])
    ("did you mean 'positive'? ", '')
    >>> did_you_mean("LABL ", ["Label", "Text"], fold=True)
    "did you mean 'Label'? "
    """
    names = {name.strip().casefold() if fold else name: name for name in [*known][::-1]}
    near = get_close_matches(word.strip().casefold() if fold else word, names, n=1)
    return f"did you mean {names[near[0]]!r}? " if near else ""


def mask_passwords(text: str) -> str:
    """A text with the passwords in its URLs masked, also those given as parameters.

    >>> mask_passwords("sql:postgresql://me:secret@host/shop#t")
    'sql:postgresql://me:***@host/shop#t'
    >>> mask_passwords("sql:postgresql://host/shop?user=me&password=secret#t")
    'sql:postgresql://host/shop?user=me&password=***#t'
    """
    return _IN_QUERY.sub(r"\1=***", _IN_URL.sub(r"\1:***@", text))


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first names, with commas; an ellipsis stands for the others.

    >>> listed(["a", "b", "c"], most=2), listed(["a", "b"], most=2)
    ('a, b …', 'a, b')
    """
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def first_line(error: BaseException) -> str:
    """The first line of an error's message; without a message, the error's type.

    >>> first_line(ValueError("too large\\nin detail")), first_line(ValueError())
    ('too large', 'ValueError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def one_line(error: BaseException, most: int = 300) -> str:
    """The message of an error, on one line of at most ``most`` characters.

    >>> one_line(ValueError("too\\nlong")), one_line(RecursionError())
    ('too long', 'RecursionError')
    """
    if isinstance(error, RecursionError):
        return "RecursionError" if not error.args else "nested too deeply"
    text = "".join(c if c.isprintable() else " " for c in str(error)) or type(error).__name__
    return " ".join(text.split())[:most]
