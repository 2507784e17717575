"""Coverage-guided fuzzing of answers of a vLLM server; not part of the test suite.

    pip install atheris
    python eval/bench/fuzz_vllm.py -runs=1000000

Checks that for any bytes of an answer its parser returns one distribution or one error per prompt,
or raises an EngineError; and that a reading is never NaN and never sums to more than one.
"""

from __future__ import annotations

import json
import math

import atheris
from fuzzing import as_json, fuzz, odd, watched

with watched("ecomfs.engine", "ecomfs.core.http"):
    from ecomfs.core.http import Response
    from ecomfs.engine.logprobs import SLACK
    from ecomfs.engine.vllm import wire
    from ecomfs.errors import EngineError

CODES = (11, 12, 13)
PROMPTS = ([1, 2], [3])


def answer(*values: object, texts: bool = False) -> bytes:
    top = dict(zip(("token_id:11", "token_id:12", "token_id:13"), values, strict=False))
    logprobs = {"tokens": ["token_id:11"], "top_logprobs": [top]}
    choices = [
        {"index": i, "text": "positive" if texts else "", "logprobs": logprobs} for i in (1, 0)
    ]
    usage = {"prompt_tokens_details": {"cached_tokens": 16}}
    return json.dumps({"choices": choices, "usage": usage}).encode()


COUNTERS = (
    b'vllm:prefix_cache_queries_total{e="0"} 40.0\nvllm:prefix_cache_hits_total{e="0"} 32.0\n'
)
NEARLY = (answer(-0.5, -1.5, -3.0), answer(texts=True), answer(None, -0.25))
SEEDS = [
    bytes([kind]) + text
    for kind in range(5)
    for text in (answer(-0.5, -1.5, -3.0), answer(None, float("nan"), -1e400), answer(texts=True))
] + [b"\x05" + COUNTERS, *(bytes([kind]) + bytes(range(8, 60)) for kind in range(128, 140))]


def finite(values: list[float]) -> None:
    if any(map(math.isnan, values)) or sum(map(math.exp, values)) > 1 + SLACK:
        raise AssertionError(f"{values!r} passed as a distribution")


def read(kind: int, body: bytes) -> None:
    if kind == 5:
        wire.cache_counters(body.decode("utf-8", "replace"))
        return
    response = Response("http://server", 200, {}, body)
    found = response.json_object()
    if found is None:
        return
    if kind == 0:
        for got in wire.part_answers(found, PROMPTS, CODES):
            if not isinstance(got, EngineError):
                finite([*got.logprobs.values()])
    elif kind == 1:
        for listed in wire.top_tokens(found, PROMPTS):
            if not isinstance(listed, EngineError):
                finite([*listed.logprobs.values()])
    elif kind == 2:
        for choice in wire.chosen(found, PROMPTS):
            if not isinstance(choice, EngineError):
                for _, step in choice.steps:
                    finite([*step.values()])
    elif kind == 3:
        wire.texts(found, PROMPTS)
    else:
        wire.sampled(found)


def test_one_input(data: bytes) -> None:
    if not data:
        return
    body = data[1:]
    if data[0] >= 128:  # an answer that is nearly right
        provider = atheris.FuzzedDataProvider(body)
        body = as_json(odd(provider, json.loads(NEARLY[data[0] % len(NEARLY)])))
    try:
        read(data[0] % 6, body)
    except EngineError:
        return


if __name__ == "__main__":
    fuzz(test_one_input, SEEDS)
