"""What every engine must do.

Engines of this machine always run; real vLLM runs with ``-m vllm``: served if
``ECOMFS_VLLM_PYTHON`` names an environment that has it, in-process if it can be imported.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stand_in_model import serving
from tiny import tiny_model

from ecomfs.core import event_loop
from ecomfs.engine.canary import canary
from ecomfs.engine.factory import open_engine
from ecomfs.engine.packaged import packaged_model
from ecomfs.engine.protocol import (
    ChosenAnswer,
    Engine,
    Sampling,
    SupportsChoice,
    SupportsPricing,
    SupportsTokenConstraint,
    SupportsTopTokens,
    Tokenizer,
    TopTokens,
    encode_all,
    read_each,
)
from ecomfs.errors import ContextOverflowError, EngineError, EngineUnavailableError
from ecomfs.types import Generation, Prompt, Question, Reading
from prompts import PREFIX, TEMPLATE

TINY_VOCABULARY = 259
SLACK = 1e-3  # nats; batches of other shapes add up in another order


@dataclass
class Subject:
    """The engine under test, and a second instance of it."""

    engine: Any
    again: Callable[[], Any]
    whole: int | None  # its vocabulary, where all of it may be asked about
    sensible: bool  # a trained model: the canary must pass


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    folder = tiny_model(tmp_path_factory.mktemp("tiny"), context=2048)
    server = serving(open_engine(f"transformers:{folder}?device=cpu"), folder, TINY_VOCABULARY)
    yield folder, server
    event_loop.run(server.stop())
    event_loop.run(server.engine.aclose())


def gguf(_: pytest.FixtureRequest) -> Subject:
    spec = f"gguf:{packaged_model('smollm2')}?context=1024"
    return Subject(open_engine(spec), lambda: open_engine(spec), None, sensible=True)


def transformers(request: pytest.FixtureRequest) -> Subject:
    folder, _ = request.getfixturevalue("tiny")
    spec = f"transformers:{folder}?device=cpu"
    return Subject(open_engine(spec), lambda: open_engine(spec), TINY_VOCABULARY, sensible=False)


def vllm(request: pytest.FixtureRequest) -> Subject:
    _, server = request.getfixturevalue("tiny")
    spec = f"vllm:{server.url}"
    return Subject(open_engine(spec), lambda: open_engine(spec), TINY_VOCABULARY, sensible=False)


def litellm_chat(request: pytest.FixtureRequest) -> Subject:
    return _litellm(request.getfixturevalue("tiny")[1].url, "hosted_vllm/tiny", sensible=False)


def litellm_text(request: pytest.FixtureRequest) -> Subject:
    url = request.getfixturevalue("tiny")[1].url
    return _litellm(url, "text-completion-openai/tiny", sensible=False)


def _litellm(url: str, model: str, *, sensible: bool) -> Subject:
    pytest.importorskip("litellm", reason="needs the litellm extra")
    os.environ.setdefault("OPENAI_API_KEY", "none")
    spec = f"litellm:{model}?api_base={url}/v1&context=1024"
    return Subject(open_engine(spec), lambda: open_engine(spec), None, sensible)


def vllm_served(request: pytest.FixtureRequest) -> Subject:
    spec = f"vllm:{request.getfixturevalue('vllm_url')}"
    return Subject(open_engine(spec), lambda: open_engine(spec), None, sensible=True)


def litellm_served(request: pytest.FixtureRequest) -> Subject:
    url = request.getfixturevalue("vllm_url")
    return _litellm(url, "text-completion-openai/smollm2", sensible=True)


def vllm_local(_: pytest.FixtureRequest) -> Subject:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs an environment with vLLM")
    spec = "vllm-local:smollm2?context=1024&kv_cache_gib=1"
    engine = open_engine(spec)
    return Subject(engine, lambda: engine, None, sensible=True)  # one at a time fits


@pytest.fixture(scope="session")
def vllm_url() -> Iterator[str]:
    """A real vLLM server with SmolLM2."""
    from ecomfs.engine.vllm.server import start_vllm

    if url := os.environ.get("ECOMFS_TEST_VLLM_URL"):
        yield url
        return
    if "ECOMFS_VLLM_PYTHON" not in os.environ:
        pytest.skip("set ECOMFS_VLLM_PYTHON to the python of an environment with vLLM")
    with start_vllm("smollm2", context=1024, kv_cache_gib=1, served_name="smollm2") as server:
        yield server.url


# litellm and vllm import as they go, and what they import warns.
QUIET = pytest.mark.filterwarnings("ignore")
OPENERS = [
    pytest.param(gguf, marks=pytest.mark.model),
    pytest.param(transformers, marks=pytest.mark.torch),
    pytest.param(vllm, marks=pytest.mark.torch),
    pytest.param(litellm_chat, marks=[pytest.mark.torch, QUIET]),
    pytest.param(litellm_text, marks=[pytest.mark.torch, QUIET]),
    pytest.param(vllm_served, marks=[pytest.mark.vllm, pytest.mark.timeout(900)]),
    pytest.param(litellm_served, marks=[QUIET, pytest.mark.vllm, pytest.mark.timeout(900)]),
    pytest.param(vllm_local, marks=[QUIET, pytest.mark.vllm, pytest.mark.timeout(900)]),
]


@pytest.fixture(scope="module", params=OPENERS, ids=lambda opener: opener.__name__)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    opened: Subject = request.param(request)
    yield opened
    event_loop.run(opened.engine.aclose())
    del opened
    with warnings.catch_warnings():
        # litellm opens a connection a text completion and leaves it to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def engine(subject: Subject) -> Any:
    return subject.engine


@pytest.fixture
def reads(engine: Any) -> Any:
    if not engine.capabilities.logprobs:
        pytest.skip("cannot be asked about named tokens")
    return engine


@pytest.fixture
def lists(engine: Any) -> Any:
    if not engine.capabilities.top_logprobs:
        pytest.skip("lists no likely tokens")
    return engine


@pytest.fixture
def chooses(engine: Any) -> Any:
    if not engine.capabilities.choice:
        pytest.skip("cannot be kept to answers")
    return engine


def prompt(engine: Engine, review: str, prefix: str = PREFIX) -> Prompt:
    text = f"{prefix}Review: {review}\nLabel:"
    ids = tuple(engine.tokenizer.encode(text, bos=True)) if engine.tokenizer else ()
    return Prompt(text, TEMPLATE, ids)


def some(engine: Engine) -> list[Prompt]:
    return [prompt(engine, text) for text in ("broke at once", "a fine lamp", "very good, 10/10")]


def codes(engine: Any) -> tuple[int, ...]:
    tokenizer: Tokenizer = engine.tokenizer
    return tuple(dict.fromkeys(tokenizer.encode(f"Label: {c}")[-1] for c in "ABCDEF"))


def read(engine: Any, prompts: list[Prompt], *questions: Question) -> list[Any]:
    return event_loop.run(engine.read(prompts, questions))


class TestIdentity:
    def test_it_is_an_engine(self, engine: Any) -> None:
        assert isinstance(engine, Engine)
        assert engine.spec
        assert engine.fingerprint.isprintable()
        assert " " not in engine.fingerprint
        assert engine.capabilities.generates
        assert engine.capabilities.batch >= 1
        assert engine.capabilities.context_tokens >= 512

    def test_every_stated_capability_has_a_method(self, engine: Any) -> None:
        can = engine.capabilities
        assert isinstance(engine, SupportsTopTokens) or not can.top_logprobs
        assert isinstance(engine, SupportsChoice) or not can.choice
        assert (engine.tokenizer is not None) or not can.logprobs

    def test_the_fingerprint_is_the_same_when_it_is_opened_again(self, subject: Subject) -> None:
        other = subject.again()
        try:
            assert other.fingerprint == subject.engine.fingerprint
        finally:
            if other is not subject.engine:
                event_loop.run(other.aclose())

    def test_the_canary(self, subject: Subject) -> None:
        report = event_loop.run(canary(subject.engine))
        failed = [c.name for c in report.checks if not c.ok and c.required]
        # An untrained model is uninformative, and " A" is two bytes to it.
        known = {"codes are single tokens", "beginning of sequence"}
        assert set(failed) <= (set() if subject.sensible else known)
        whole = json.loads(json.dumps(report.as_dict()))
        assert (whole["ok"], whole["fingerprint"]) == (report.ok, subject.engine.fingerprint)
        assert len(whole["checks"]) == len(report.checks)
        assert whole["moment"].endswith("+00:00")


class TestReading:
    def test_values_are_log_probabilities_in_order(self, reads: Any) -> None:
        asked = codes(reads)
        prompts = some(reads)
        answers = read(reads, prompts, Question(asked), Question(asked[::-1]))
        assert all(isinstance(a, Reading) for a in answers), answers
        for answer, one in zip(answers, prompts, strict=True):
            first, turned = answer.logprobs
            assert turned == pytest.approx(first[::-1], abs=SLACK)
            assert all(value <= SLACK for value in first)
            assert sum(map(math.exp, first)) <= 1 + SLACK
            assert answer.prompt_tokens == len(one.token_ids)
            assert 0 <= answer.cached_tokens <= answer.prompt_tokens
        assert len({answer.logprobs for answer in answers}) == len(prompts)

    def test_a_prompt_reads_the_same_alone_and_with_others(self, reads: Any) -> None:
        asked = Question(codes(reads))
        together = read(reads, some(reads), asked)
        alone = [read(reads, [one], asked)[0] for one in some(reads)]
        for a, b in zip(together, alone, strict=True):
            assert a.logprobs[0] == pytest.approx(b.logprobs[0], abs=0.05)

    def test_prompts_with_questions_of_their_own(self, reads: Any) -> None:
        asked = codes(reads)
        suffix = tuple(reads.tokenizer.encode(" good"))
        own = [
            [Question(asked[:2])],
            [Question(asked[1:]), Question(asked[:3], suffix)],
            [Question(asked[2:5])],
        ]
        together = event_loop.run(read_each(reads, some(reads), own))
        for answer, one, questions in zip(together, some(reads), own, strict=True):
            (alone,) = read(reads, [one], *questions)
            assert isinstance(answer, Reading), answer
            assert answer.prompt_tokens == alone.prompt_tokens
            for mine, theirs in zip(answer.logprobs, alone.logprobs, strict=True):
                assert mine == pytest.approx(theirs, abs=0.05)

    def test_texts_have_the_same_tokens_alone_and_together(self, reads: Any) -> None:
        texts = ["", "a", "质量很好", "a fine lamp\n", "<|im_start|>"]
        for bos in (False, True):
            together = encode_all(reads.tokenizer, texts, bos=bos)
            assert together == [reads.tokenizer.encode(text, bos=bos) for text in texts]

    def test_a_suffix_is_a_longer_prompt(self, reads: Any) -> None:
        one = some(reads)[0]
        suffix = tuple(reads.tokenizer.encode(" good"))
        asked = codes(reads)
        (answer,) = read(reads, [one], Question(asked), Question(asked, suffix))
        longer = Prompt("", TEMPLATE, (*one.token_ids, *suffix))
        (other,) = read(reads, [longer], Question(asked))
        assert answer.logprobs[1] == pytest.approx(other.logprobs[0], abs=0.05)
        assert answer.prompt_tokens == len(one.token_ids)

    def test_more_codes_than_fit_one_look(self, reads: Any) -> None:
        """Parts put together are exact: nothing is normalised within a part."""
        one = some(reads)[:1]
        many = tuple(range(10, 210))
        (whole,) = read(reads, one, Question(many))
        (half,) = read(reads, one, Question(many[::2]), Question(many[1::2]))
        assert whole.logprobs[0][::2] == pytest.approx(half.logprobs[0], abs=0.05)
        assert whole.logprobs[0][1::2] == pytest.approx(half.logprobs[1], abs=0.05)
        assert sum(map(math.exp, whole.logprobs[0])) <= 1 + SLACK

    def test_the_whole_vocabulary_sums_to_one(self, subject: Subject, reads: Any) -> None:
        if subject.whole is None:
            pytest.skip("too large")
        (answer,) = read(reads, some(reads)[:1], Question(tuple(range(subject.whole))))
        assert sum(map(math.exp, answer.logprobs[0])) == pytest.approx(1, abs=1e-4)

    def test_a_prompt_that_is_too_long_fails_alone(self, reads: Any) -> None:
        limit = reads.capabilities.context_tokens
        (token,) = codes(reads)[:1]
        long = Prompt("", TEMPLATE, (token,) * (limit + 1))
        first, second = read(reads, [long, some(reads)[0]], Question((token,)))
        assert isinstance(first, ContextOverflowError)
        assert not first.retryable
        assert isinstance(second, Reading)

    def test_text_is_encoded_where_there_are_no_tokens(self, reads: Any) -> None:
        asked = Question(codes(reads))
        one = some(reads)[0]
        (given,) = read(reads, [one], asked)
        (encoded,) = read(reads, [Prompt(one.text, TEMPLATE)], asked)
        assert encoded.logprobs[0] == pytest.approx(given.logprobs[0], abs=0.05)

    def test_nothing(self, reads: Any) -> None:
        assert read(reads, [], Question((1,))) == []

    def test_a_pick_is_the_likeliest_of_the_allowed(self, reads: Any) -> None:
        if not isinstance(reads, SupportsTokenConstraint):
            pytest.skip("reads the distribution itself")
        one, asked = some(reads)[0], codes(reads)
        (answer,) = read(reads, [one], Question(asked))
        best = asked[answer.logprobs[0].index(max(answer.logprobs[0]))]
        assert event_loop.run(reads.pick(one, asked)) == best


def test_an_engine_that_cannot_read_says_so_for_every_prompt(engine: Any) -> None:
    if engine.capabilities.logprobs:
        pytest.skip("it can")
    answers = read(engine, some(engine), Question((1,)))
    assert len(answers) == 3
    assert all(isinstance(a, EngineError) and not a.retryable for a in answers)


class TestLikelyTokens:
    def test_they_are_ordered_log_probabilities(self, lists: Any) -> None:
        for answer in event_loop.run(lists.top(some(lists))):
            assert isinstance(answer, TopTokens), answer
            values = list(answer.logprobs.values())
            assert values == sorted(values, reverse=True)
            assert 2 <= len(values) <= lists.capabilities.top_logprobs
            assert sum(map(math.exp, values)) <= 1 + SLACK
            assert answer.prompt_tokens > 0

    def test_they_agree_with_the_reading(self, lists: Any) -> None:
        if not lists.capabilities.logprobs:
            pytest.skip("cannot be asked about named tokens")
        one = some(lists)[0]
        (answer,) = event_loop.run(lists.top([one]))
        plain = {t: p for t, p in answer.logprobs.items() if len(lists.tokenizer.encode(t)) == 1}
        ids = tuple(lists.tokenizer.encode(token)[0] for token in plain)
        (reading,) = read(lists, [one], Question(ids))
        agree = [
            abs(a - b) < 0.05 for a, b in zip(plain.values(), reading.logprobs[0], strict=True)
        ]
        assert sum(agree) >= 2  # texts of several tokens (halves of characters) are put together


class TestGenerating:
    def test_greedy_text_repeats_itself(self, engine: Any) -> None:
        first = event_loop.run(engine.generate(some(engine), max_tokens=4))
        again = event_loop.run(engine.generate(some(engine), max_tokens=4))
        assert all(isinstance(a, Generation) for a in first), first
        assert [a.text for a in first] == [a.text for a in again]
        assert all(a.prompt_tokens > 0 for a in first)

    def test_it_ends_before_a_stop(self, engine: Any) -> None:
        (free,) = event_loop.run(engine.generate(some(engine)[:1], max_tokens=8))
        letter = next(c for c in free.text if c.isascii() and c.isprintable())
        (cut,) = event_loop.run(engine.generate(some(engine)[:1], max_tokens=8, stop=[letter]))
        assert letter not in cut.text

    def test_a_drawn_text(self, engine: Any) -> None:
        sampling = Sampling(temperature=1.0, seed=3)
        (answer,) = event_loop.run(
            engine.generate(some(engine)[:1], max_tokens=4, sampling=sampling)
        )
        assert isinstance(answer, Generation)

    def test_one_of_the_answers(self, chooses: Any) -> None:
        answers = [" positive", " negative", " possible"]
        for choice in event_loop.run(chooses.choose(some(chooses), answers)):
            assert isinstance(choice, ChosenAnswer), choice
            assert choice.text in answers
            assert choice.prompt_tokens > 0

    def test_steps_list_the_likely_tokens_at_each_position(self, chooses: Any) -> None:
        answers = [" positive", " negative", " possible"]
        for choice in event_loop.run(chooses.choose(some(chooses), answers)):
            assert "".join(token for token, _ in choice.steps).startswith(choice.text)
            for token, listed in choice.steps:
                assert listed[token] == max(listed.values())  # greedy
                assert sum(map(math.exp, listed.values())) <= 1 + SLACK


def test_what_was_spent_is_counted(engine: Any) -> None:
    if not isinstance(engine, SupportsPricing):
        pytest.skip("costs nothing")
    before = engine.spending
    event_loop.run(engine.generate(some(engine), max_tokens=2))
    spent = engine.spending - before
    assert spent.calls == 3
    assert spent.prompt_tokens > 3
    assert spent.answer_tokens >= 3
    assert (spent.usd, spent.unpriced) == (0.0, 3)  # a model of one's own has no price
    assert engine.price(1000, 1) is None


def test_closed(subject: Subject) -> None:
    other = subject.again()
    if other is subject.engine:
        pytest.skip("one at a time fits the machine")
    prompts = some(other)
    event_loop.run(other.aclose())
    event_loop.run(other.aclose())
    with pytest.raises(EngineUnavailableError, match="closed"):
        event_loop.run(other.generate(prompts, max_tokens=1))
