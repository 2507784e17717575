"""Runs a fuzz run on its seeds and a few random inputs, without atheris.

python few_inputs.py eval/bench/fuzz_reader.py
"""

from __future__ import annotations

import random
import runpy
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

RANDOM = 40
_one: list[Callable[[bytes], None]] = []
_inputs: list[bytes] = []


class Provider:
    """Values drawn with the bytes as the seed; atheris takes them from the bytes."""

    def __init__(self, data: bytes) -> None:
        self._chance = random.Random(data)

    def ConsumeIntInRange(self, low: int, high: int) -> int:  # noqa: N802 (as atheris calls it)
        return self._chance.randint(low, high)

    def ConsumeBool(self) -> bool:  # noqa: N802
        return self._chance.random() < 0.5

    def ConsumeFloat(self) -> float:  # noqa: N802
        return self._chance.choice([0.0, -1.5, 1e308, float("nan"), float("-inf")])

    def ConsumeUnicode(self, most: int) -> str:  # noqa: N802
        marks = "a1 ,;\"'\n\0\ud800很好é{}%[]"
        return "".join(self._chance.choices(marks, k=self._chance.randint(0, most)))

    def ConsumeUnicodeNoSurrogates(self, most: int) -> str:  # noqa: N802
        return self.ConsumeUnicode(most).replace("\ud800", "x")


def set_up(arguments: Sequence[str], one: Callable[[bytes], None]) -> None:
    """Like ``atheris.Setup``: the last argument may be a folder of inputs."""
    _one.append(one)
    folder = Path(arguments[-1])
    if folder.is_dir():
        _inputs.extend(path.read_bytes() for path in sorted(folder.iterdir()))


def run() -> None:
    """Like ``atheris.Fuzz``, but it ends."""
    chance = random.Random(7)
    random_ones = [chance.randbytes(chance.randint(0, 200)) for _ in range(RANDOM)]
    for data in [b"", *_inputs, *random_ones]:
        _one[-1](data)
    print(f"{1 + len(_inputs) + RANDOM} inputs")


def main(script: str) -> None:
    stand_in: Any = ModuleType("atheris")
    stand_in.instrument_imports = lambda **_: nullcontext()
    stand_in.FuzzedDataProvider, stand_in.Setup, stand_in.Fuzz = Provider, set_up, run
    sys.modules["atheris"] = stand_in
    sys.argv = [script]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
