"""vLLM in this process compared with the transformers engine (``-m vllm``, in an environment that
has vLLM). Common behaviour is in test_contract.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecomfs.core import event_loop
from ecomfs.engine.factory import open_engine
from ecomfs.engine.models import huggingface_source
from ecomfs.engine.protocol import Sampling
from ecomfs.errors import EngineError, EngineResponseError, EngineUnavailableError
from ecomfs.types import Question, Reading
from prompts import of_tokens, review

SAMPLES = Path(__file__).parents[2] / "samples" / "review_sentiment"
ANSWERS = (" positive", " negative")


def test_without_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "vllm", None)  # importing it now fails
    with pytest.raises(EngineUnavailableError, match="needs vllm") as caught:
        open_engine(f"vllm-local:{tmp_path}")
    assert "ecomfs[vllm]" in caught.value.hint


def test_vllm_opens_no_connection() -> None:
    """The settings are set before vllm is imported."""
    code = (
        "import os, sys\n"
        "sys.modules['vllm'] = None\n"
        "from ecomfs.engine.vllm import local as vllm_runtime\n"
        "from ecomfs.errors import EngineUnavailableError\n"
        "try: vllm_runtime.load('.', 1)\n"
        "except EngineUnavailableError: pass\n"
        "print(os.environ['VLLM_NO_USAGE_STATS'], os.environ['DO_NOT_TRACK'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Any, Any]]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs an environment with vLLM")
    local = open_engine("vllm-local:smollm2?context=1024&kv_cache_gib=1")
    plain = open_engine(f"transformers:{huggingface_source('smollm2')}?context=1024&device=cpu")
    yield local, plain
    event_loop.run(local.aclose())
    event_loop.run(plain.aclose())


@pytest.mark.vllm
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # torch and vllm warn of each other
class TestForReal:
    def test_it_reads_the_labels_that_transformers_reads(self, engines: tuple[Any, Any]) -> None:
        local, plain = engines
        with (SAMPLES / "test.csv").open(encoding="utf-8", newline="") as file:
            rows = [
                next(v for k, v in row.items() if k in ("text", "review"))
                for row in csv.DictReader(file)
            ]
        prompts = [review(plain.tokenizer, text) for text in rows[:10]]
        assert len(prompts) == 10
        assert [p.token_ids for p in prompts] == [
            review(local.tokenizer, text).token_ids for text in rows[:10]
        ]
        codes = tuple(plain.tokenizer.encode(answer)[0] for answer in ANSWERS)
        mine, theirs = (event_loop.run(e.read(prompts, [Question(codes)])) for e in engines)
        for a, b in zip(mine, theirs, strict=True):
            assert a.logprobs[0] == pytest.approx(b.logprobs[0], abs=0.01)
            assert (a.logprobs[0][0] > a.logprobs[0][1]) == (b.logprobs[0][0] > b.logprobs[0][1])

    def test_a_whole_vocabulary_in_parts_sums_to_one(self, engines: tuple[Any, Any]) -> None:
        """Parts of 128 codes are shares of one softmax over all 49,152 tokens."""
        local, _ = engines
        prompt = of_tokens(*local.tokenizer.encode("The capital of France is"))
        likely = list(range(0, 49152, 48))  # 1,024 tokens, eight parts
        paris = local.tokenizer.encode(" Paris")[0]
        answers = event_loop.run(local.read([prompt], [Question(tuple({*likely, paris}))]))
        assert isinstance(answers[0], Reading)
        mass = sum(map(math.exp, answers[0].logprobs[0]))
        (alone,) = event_loop.run(local.read([prompt], [Question((paris,))]))
        assert math.exp(alone.logprobs[0][0]) <= mass <= 1

    def test_cached_tokens_are_reported_for_every_prompt(self, engines: tuple[Any, Any]) -> None:
        local, _ = engines
        prompts = [review(local.tokenizer, f"number {n} broke") for n in range(4)]
        codes = tuple(local.tokenizer.encode(answer)[0] for answer in ANSWERS)
        event_loop.run(local.read(prompts[:1], [Question(codes)]))
        answers = event_loop.run(local.read(prompts, [Question(codes)]))
        assert all(answer.cached_tokens >= 64 for answer in answers)

    def test_a_token_outside_the_vocabulary(self, engines: tuple[Any, Any]) -> None:
        with pytest.raises(EngineResponseError, match="no token 99999999"):
            event_loop.run(engines[0].read([of_tokens(1)], [Question((99999999,))]))

    def test_what_vllm_refuses(self, engines: tuple[Any, Any]) -> None:
        hot = Sampling(temperature=3.0)  # vLLM takes 2 at most
        with pytest.raises(EngineError, match=r"temperature must be in \[0, 2\]") as caught:
            event_loop.run(engines[0].generate([of_tokens(5)], max_tokens=1, sampling=hot))
        assert not caught.value.retryable

    def test_no_telemetry(self, engines: tuple[Any, Any]) -> None:
        usage = importlib.import_module("vllm.usage.usage_lib")
        assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
        assert not usage.is_usage_stats_enabled()
