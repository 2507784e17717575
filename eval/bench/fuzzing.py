"""Shared by the fuzz runs (fuzz_*.py): the modules to instrument, almost valid JSON, the start of
atheris.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import atheris


def watched(*names: str) -> AbstractContextManager[Any]:
    """Imports in this context are instrumented by atheris. Otherwise atheris instruments the whole
    package of a module, and most of the time goes into modules that do not read the input.
    """
    spec = find_spec("ecomfs")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    paths = [path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    wanted = {m for m in modules if any(f"{m}.".startswith(f"{name}.") for name in names)}
    context: AbstractContextManager[Any] = atheris.instrument_imports(
        include=["ecomfs"], exclude=sorted(modules - wanted)
    )
    return context


def fuzz(one: Callable[[bytes], None], seeds: Sequence[bytes]) -> None:
    """Run until a property is violated, or the limits of the command line are reached.

    Args:
        one: checks one input; what it raises is a finding.
        seeds: inputs to begin with.
    """
    logging.disable()  # a line for each input would take longer than the input
    with tempfile.TemporaryDirectory(prefix="ecomfs-fuzz-") as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / f"{number:03d}").write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()


ODD = (
    *(None, True, False, 0, -1, 1, 0.5, 10**400, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", "token_id:11", "\x1b[2J", "\ud800", "\u0000", "=1+1", "NaN", "9" * 5000),
    *([], {}, [None], [[]], {"": None}),
)


def odd(provider: Any, value: Any) -> Any:
    """A JSON value with some parts replaced, left out, doubled, or changed in type."""
    what = provider.ConsumeIntInRange(0, 19)
    if what == 0:
        return ODD[provider.ConsumeIntInRange(0, len(ODD) - 1)]
    if what == 1:
        return provider.ConsumeUnicode(20)
    if what == 2:
        return provider.ConsumeFloat()
    if what == 3:
        return [value, value]
    if what == 4:
        return {provider.ConsumeUnicode(8): value}
    if isinstance(value, dict):
        return {
            k: odd(provider, v) for k, v in value.items() if what != 5 or provider.ConsumeBool()
        }
    if isinstance(value, list):
        return [odd(provider, v) for v in value]
    return value


def as_json(value: Any) -> bytes:
    """The value as JSON; values that JSON lacks are written as in Python."""
    return json.dumps(value).encode()
