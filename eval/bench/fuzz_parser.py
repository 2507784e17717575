"""Coverage-guided fuzzing of the answer parser; not part of the test suite.

    pip install atheris
    python eval/bench/fuzz_parser.py -max_total_time=600

Checks that for any generated text the parser returns a label of the label space or nothing, never
fails, and returns the same twice. Runs until a property is violated or the time is over.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ecomfs.readout", "ecomfs.task", "ecomfs.io"]):
    from ecomfs.readout import LabelParser, words
    from ecomfs.task import Label, LabelSpace, load_task

SPACES = [
    LabelSpace.resolve(load_task("review_sentiment"), ["Positive", "Negative", "neutral"]),
    LabelSpace.resolve(load_task("query_relevance"), ["match", "not match"]),
    LabelSpace([Label(n) for n in ("Fridges", "Fridge Freezers", "手机", "手机壳", "TVs", "C++")]),
]
PARSERS = [
    LabelParser(space, words(space, language).answers)
    for space in SPACES
    for language in ("en", "zh")
]


def test_one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    which = provider.ConsumeIntInRange(0, len(PARSERS) - 1)
    parser, space = PARSERS[which], SPACES[which // 2]
    answer = provider.ConsumeUnicode(400)
    if provider.ConsumeBool():  # near a label, where the parser has to decide
        label = space.names[provider.ConsumeIntInRange(0, len(space) - 1)]
        answer = answer[: len(answer) // 2] + label + answer[len(answer) // 2 :]
    found = parser.parse(answer)
    if found is not None and not (isinstance(found, int) and 0 <= found < len(space)):
        raise AssertionError(f"{answer!r} is read as {found!r}")
    if parser.parse(answer) != found:
        raise AssertionError(f"{answer!r} is read in two ways")
    index = space.index(answer)
    if index is not None and not 0 <= index < len(space):
        raise AssertionError(f"{answer!r} names label {index!r}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
