"""Answers of a vLLM server that broke the parser in fuzzing (eval/bench/fuzz_vllm.py)."""

from __future__ import annotations

from typing import Any

import pytest

from ecomfs.engine.vllm import wire
from ecomfs.errors import EngineError

PROMPTS = ([1, 2],)


def answer(index: Any = 0, value: Any = -0.5, usage: Any = None) -> dict[str, Any]:
    logprobs = {"tokens": ["token_id:7"], "top_logprobs": [{"token_id:7": value}]}
    return {"choices": [{"index": index, "logprobs": logprobs}], "usage": usage}


@pytest.mark.parametrize(
    "usage",
    [
        [],
        7,
        "much",
        {"prompt_tokens_details": [1]},
        {"prompt_tokens_details": {"cached_tokens": "x"}},
        {"prompt_tokens_details": {"cached_tokens": float("inf")}},
        {"prompt_tokens_details": {"cached_tokens": float("nan")}},
        {"prompt_tokens_details": {"cached_tokens": -16}},
    ],
)
def test_a_use_that_cannot_be_read_is_none(usage: Any) -> None:
    (found,) = wire.part_answers(answer(usage=usage), PROMPTS, (7,))
    assert isinstance(found, wire.PartAnswer)
    assert found.cached_tokens == 0


@pytest.mark.parametrize("index", [[], {}, None, "0", 0.0, False, 1])
def test_an_answer_without_its_number_is_an_error(index: Any) -> None:
    with pytest.raises(EngineError, match="not numbered"):
        wire.part_answers(answer(index), PROMPTS, (7,))


@pytest.mark.parametrize("value", [10**400, [], {}, "x"])
def test_a_value_that_is_no_number_is_an_error(value: Any) -> None:
    with pytest.raises(EngineError, match="no log-probabilities"):
        wire.part_answers(answer(value=value), PROMPTS, (7,))
    with pytest.raises(EngineError, match="no likely tokens"):
        wire.top_tokens(answer(value=value), PROMPTS)


@pytest.mark.parametrize("value", ["32.'", "nan", "inf", "x"])
def test_counters_that_are_no_numbers_are_none(value: str) -> None:
    page = f"vllm:prefix_cache_hits_total {value}\nvllm:prefix_cache_queries_total 1\n"
    assert wire.cache_counters(page) is None
