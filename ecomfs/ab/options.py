"""The options a variant may have: those of the classifier, as its signature declares them."""

from __future__ import annotations

import typing
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from ecomfs.errors import ConfigError

COMMON = frozenset({"task", "fields", "label_names", "seed"})
"""Parameters that all variants share, or the rows and the labels would not be the same ones."""


@cache
def _declared() -> dict[str, tuple[frozenset[type], tuple[str, ...]]]:
    """Option → the plain types it takes, and the words where only some are allowed."""
    from ecomfs.estimators import FewShotClassifier

    hints = typing.get_type_hints(FewShotClassifier.__init__)
    found = {}
    for name, hint in hints.items():
        if name in COMMON or name == "return":
            continue
        types: set[type] = set()
        words: tuple[str, ...] = ()
        for part in _parts(hint):
            if typing.get_origin(part) is Literal:
                words += typing.get_args(part)
            elif part is Path:
                types.add(str)
            elif part in (str, int, float, bool, NoneType):
                types.add(part)
        found[name] = (frozenset(types), words)
    return found


def _parts(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, type(int | str)):
        return tuple(p for arg in typing.get_args(hint) for p in _parts(arg))
    return (hint,)


def option_names() -> list[str]:
    """What a variant may name.

    >>> {"k", "template", "engine", "embedder", "readout", "profile"} <= set(option_names())
    True
    """
    return list(_declared())


def check_option(name: str, value: Any, where: str) -> Any:
    """The value of an option, from a word of the command line or a YAML value.

    Args:
        where: what to call the variant in errors.

    Raises:
        ConfigError: it is not of the option's type.

    >>> check_option("k", "4", "B"), check_option("fusion", "no", "B"), check_option("k", None, "B")
    (4, False, None)
    >>> check_option("k", "four", "B")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: B: k = 'four' (k is a whole number)
    """
    import yaml

    types, words = _declared()[name]
    read = value
    if isinstance(value, str) and value and str not in types:
        try:
            read = yaml.safe_load(value)  # so that "4", "no" and "null" mean what they do in YAML
        except yaml.YAMLError:
            read = value
    if isinstance(read, bool):
        fits = bool in types
    elif isinstance(read, int):
        fits = int in types or float in types
    elif read is None:
        fits = NoneType in types
    else:
        fits = type(read) in types or read in words
    if not fits or read == "":
        raise ConfigError(f"{where}: {name} = {value!r}", hint=f"{name} is {_kind(types, words)}")
    return read


def _kind(types: frozenset[type], words: tuple[str, ...]) -> str:
    named = {str: "text", float: "a number", int: "a whole number", bool: "yes or no"}
    if words:
        return f"one of {', '.join(words)}"
    return " or ".join(text for kind, text in named.items() if kind in types)
