"""The embedded engine on a real model."""

from __future__ import annotations

import asyncio
import math
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.packaged import packaged_model
from ecomfs.engine.protocol import Engine, Sampling
from ecomfs.errors import (
    ConfigError,
    ContextOverflowError,
    EngineResponseError,
    EngineUnavailableError,
    MissingFileError,
    ModelError,
)
from ecomfs.types import Generation, Prompt, Question, Reading
from prompts import of_tokens, review

pytestmark = pytest.mark.model

_NO_SHRINK = (Phase.explicit, Phase.generate)  # shrinking reads a model hundreds of times
REVIEWS = ("it broke at once", "lovely", "meh, it is okay I guess, not more", "nope")


def codes_of(engine: GgufEngine, *words: str) -> tuple[int, ...]:
    return tuple(engine.tokenizer.encode(word)[0] for word in words)


def read(engine: GgufEngine, prompts: list[Prompt], *questions: Question) -> list[Reading]:
    answers = asyncio.run(engine.read(prompts, questions))
    assert all(isinstance(a, Reading) for a in answers), answers
    return [a for a in answers if isinstance(a, Reading)]


def whole_distribution(engine: GgufEngine, prompt: Prompt) -> dict[int, float]:
    """Every token's log-probability, in one expensive request to llama.cpp itself."""
    server = engine._server
    answer = server._complete(
        prompt.token_ids, n_predict=1, n_probs=server.vocabulary, logit_bias=[[server._plain, 1000]]
    )
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {t["id"]: t["logprob"] for t in top}


def test_it_is_an_engine(smollm2: GgufEngine) -> None:
    assert isinstance(smollm2, Engine)
    assert smollm2.capabilities.logprobs
    assert smollm2.capabilities.context_tokens == 1024


@pytest.mark.parametrize("name", ["smollm2", "gemma"])
def test_log_probabilities_are_those_of_the_whole_distribution(
    name: str, request: pytest.FixtureRequest
) -> None:
    engine = request.getfixturevalue(name)
    prompt = review(engine.tokenizer, REVIEWS[0])
    everything = whole_distribution(engine, prompt)
    ranked = sorted(everything, key=everything.__getitem__, reverse=True)
    assert sum(map(math.exp, everything.values())) == pytest.approx(1, abs=2e-3)
    # The likeliest, some within the top list, some far outside it, and the least likely of all.
    codes = tuple(ranked[n] for n in (0, 1, 50, 511, 512, 5000, 20000, len(ranked) - 1))
    (reading,) = read(engine, [prompt], Question(codes))
    assert reading.logprobs[0] == pytest.approx([everything[c] for c in codes], abs=1e-4)


def test_only_far_outside_codes_are_exact_too(smollm2: GgufEngine) -> None:
    prompt = review(smollm2.tokenizer, REVIEWS[1])
    everything = whole_distribution(smollm2, prompt)
    worst = sorted(everything, key=everything.__getitem__)[:4]
    (reading,) = read(smollm2, [prompt], Question(tuple(worst)))
    assert reading.logprobs[0] == pytest.approx([everything[c] for c in worst], abs=1e-4)


def test_codes_that_are_parts_of_characters_are_read(smollm2: GgufEngine) -> None:
    """Chinese labels are bytes to this model; llama.cpp returns no text when it samples one."""
    parts = tuple(smollm2.tokenizer.encode("好评"))
    assert len(parts) > 3
    prompt = review(smollm2.tokenizer, "质量很好")
    halfway = of_tokens(*prompt.token_ids, *parts[:1])
    readings = read(smollm2, [prompt, halfway], Question(parts))
    for reading, asked in zip(readings, (prompt, halfway), strict=True):
        everything = whole_distribution(smollm2, asked)
        assert reading.logprobs[0] == pytest.approx([everything[c] for c in parts], abs=1e-4)


def test_answers_come_in_the_order_of_the_prompts(smollm2: GgufEngine) -> None:
    question = Question(codes_of(smollm2, " positive", " negative"))
    prompts = [review(smollm2.tokenizer, text) for text in REVIEWS]
    forward = read(smollm2, prompts, question)
    backward = read(smollm2, prompts[::-1], question)
    assert [r.logprobs for r in forward] == [r.logprobs for r in backward[::-1]]
    assert len({r.logprobs for r in forward}) == len(prompts)


@settings(
    max_examples=5,
    deadline=None,
    phases=_NO_SHRINK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cut=st.integers(1, 90), other=st.lists(st.integers(100, 2000), max_size=40))
def test_a_reading_does_not_depend_on_what_was_read_before(
    smollm2: GgufEngine, cut: int, other: list[int]
) -> None:
    question = Question(codes_of(smollm2, " positive", " negative"))
    prompt = review(smollm2.tokenizer, REVIEWS[2])
    smollm2._server._held = ()  # nothing is in the cache
    (alone,) = read(smollm2, [prompt], question)
    read(smollm2, [of_tokens(*prompt.token_ids[:cut], *other)], question)
    (after,) = read(smollm2, [prompt], question)
    assert after.logprobs == alone.logprobs


def test_threads_and_context_do_not_change_a_reading(smollm2: GgufEngine) -> None:
    question = Question(codes_of(smollm2, " positive", " negative"))
    prompt = review(smollm2.tokenizer, REVIEWS[0])
    other = GgufEngine(packaged_model("smollm2"), context=512, threads=1)
    try:
        assert other.fingerprint == smollm2.fingerprint
        (here,), (there,) = (read(e, [prompt], question) for e in (smollm2, other))
        assert here.logprobs == there.logprobs
    finally:
        asyncio.run(other.aclose())


def test_free_order_has_a_fingerprint_of_its_own(smollm2: GgufEngine) -> None:
    free = GgufEngine(packaged_model("smollm2"), context=512, repeatable=False)
    try:
        assert free.fingerprint != smollm2.fingerprint
        (reading,) = read(free, [review(free.tokenizer, "fine")], Question((1, 2)))
        assert len(reading.logprobs[0]) == 2
    finally:
        asyncio.run(free.aclose())


def test_a_shared_prefix_is_not_computed_again(smollm2: GgufEngine) -> None:
    question = Question(codes_of(smollm2, " positive"))
    read(smollm2, [review(smollm2.tokenizer, REVIEWS[0])], question)
    (reading,) = read(smollm2, [review(smollm2.tokenizer, REVIEWS[1])], question)
    assert reading.prompt_tokens > reading.cached_tokens >= 64


def test_a_question_with_a_suffix_looks_after_it(smollm2: GgufEngine) -> None:
    (very,) = smollm2.tokenizer.encode(" very")
    codes = codes_of(smollm2, " positive", " negative")
    prompt = review(smollm2.tokenizer, REVIEWS[0])
    longer = of_tokens(*prompt.token_ids, very)
    questions = (Question(codes[:1]), Question(codes, (very,)), Question(codes[::-1]))
    (reading,) = read(smollm2, [prompt], *questions)
    (direct,) = read(smollm2, [longer], Question(codes))
    # Computed on top of the prompt, and not in a block with its last tokens: other last digits.
    assert reading.logprobs[1] == pytest.approx(direct.logprobs[0], abs=0.5)
    assert reading.logprobs[0] == reading.logprobs[2][1:]
    assert reading.prompt_tokens == len(prompt.token_ids)


def test_a_suffix_reads_the_same_whatever_was_read_before(smollm2: GgufEngine) -> None:
    very, much, far = (smollm2.tokenizer.encode(word)[0] for word in (" very", " much", " far"))
    codes = codes_of(smollm2, " positive", " negative")
    # Suffixes that begin alike, one that the model would write itself, and a long one.
    suffixes = [(), (very,), (very, much), (far,), (very, far, much)]
    prompt = review(smollm2.tokenizer, REVIEWS[0])
    together = read(smollm2, [prompt], *(Question(codes, s) for s in suffixes))[0].logprobs
    asyncio.run(smollm2.generate([prompt], max_tokens=3))
    for number in (4, 2, 1, 3, 0, 1, 2):
        (alone,) = read(smollm2, [prompt], Question(codes, suffixes[number]))
        assert alone.logprobs == (together[number],)
        assert alone.prompt_tokens == len(prompt.token_ids)
    read(smollm2, [review(smollm2.tokenizer, REVIEWS[1])], Question(codes, (far,)))
    (after,) = read(smollm2, [prompt], Question(codes, (very, much)), Question(codes))
    assert after.logprobs == (together[2], together[0])


def test_a_longer_prompt_does_not_build_on_a_suffix(smollm2: GgufEngine) -> None:
    """A suffix is not computed in blocks: a prompt that begins with it is."""
    suffix = tuple(smollm2.tokenizer.encode(" very much so, I would say"))
    codes = codes_of(smollm2, " positive", " negative")
    prompt = review(smollm2.tokenizer, REVIEWS[0])
    longer = of_tokens(*prompt.token_ids, *suffix, *prompt.token_ids[:40])
    smollm2._server._held = ()
    (alone,) = read(smollm2, [longer], Question(codes))
    read(smollm2, [prompt], Question(codes, suffix))
    (after,) = read(smollm2, [longer], Question(codes))
    assert after.logprobs == alone.logprobs
    assert after.cached_tokens > 0


def test_blocks_of_another_size_read_nearly_the_same(smollm2: GgufEngine) -> None:
    codes = codes_of(smollm2, " positive", " negative")
    prompts = [review(smollm2.tokenizer, text) for text in REVIEWS]
    other = GgufEngine(packaged_model("smollm2"), context=512, block=64)
    try:
        assert other.fingerprint != smollm2.fingerprint
        ours, theirs = (read(e, prompts, Question(codes)) for e in (smollm2, other))
        for one, two in zip(ours, theirs, strict=True):
            assert one.logprobs[0] == pytest.approx(two.logprobs[0], abs=0.5)
        assert read(other, prompts[:1], Question(codes))[0].logprobs == theirs[0].logprobs
    finally:
        asyncio.run(other.aclose())
    with pytest.raises(ConfigError, match="block=16"):
        GgufEngine(packaged_model("smollm2"), block=16)


def test_text_is_tokenized_with_bos_when_a_prompt_has_no_tokens(gemma: GgufEngine) -> None:
    prompt = review(gemma.tokenizer, REVIEWS[0])
    question = Question(codes_of(gemma, " positive"))
    (by_text,) = read(gemma, [Prompt(prompt.text, prompt.template)], question)
    assert by_text == read(gemma, [prompt], question)[0]


def test_one_bad_prompt_fails_alone(smollm2: GgufEngine) -> None:
    good = review(smollm2.tokenizer, REVIEWS[0])
    prompts = [of_tokens(*[5] * 1024), good, of_tokens(10**6)]
    answers = asyncio.run(smollm2.read(prompts, [Question((1,))]))
    assert isinstance(answers[0], ContextOverflowError)
    assert "1024 tokens" in answers[0].message
    assert answers[0].hint
    assert isinstance(answers[1], Reading)
    assert isinstance(answers[2], EngineResponseError)
    assert not isinstance(answers[2], ContextOverflowError)


def test_a_prompt_that_just_fits_is_read() -> None:
    engine = GgufEngine(packaged_model("smollm2"), context=256)
    try:
        answers = asyncio.run(
            engine.read([of_tokens(*[5] * n) for n in (255, 256)], [Question((5,))])
        )
        assert isinstance(answers[0], Reading)
        assert isinstance(answers[1], ContextOverflowError)
    finally:
        asyncio.run(engine.aclose())


def test_a_code_outside_the_vocabulary_is_an_error(smollm2: GgufEngine) -> None:
    (answer,) = asyncio.run(smollm2.read([review(smollm2.tokenizer, "fine")], [Question((10**6,))]))
    assert isinstance(answer, EngineResponseError)
    assert "1000000" in answer.message


def test_no_prompts_and_no_questions(smollm2: GgufEngine) -> None:
    assert asyncio.run(smollm2.read([], [Question((1,))])) == []
    (reading,) = read(smollm2, [review(smollm2.tokenizer, "fine")])
    assert reading.logprobs == ()


def test_generation_is_greedy_and_stops(smollm2: GgufEngine) -> None:
    prompts = [review(smollm2.tokenizer, text) for text in ("great, thank you", "broke")]
    first = asyncio.run(smollm2.generate(prompts, max_tokens=6, stop=["\n"]))
    again = asyncio.run(smollm2.generate(prompts[::-1], max_tokens=6, stop=["\n"]))[::-1]
    assert [a.text for a in first if isinstance(a, Generation)] == [
        a.text for a in again if isinstance(a, Generation)
    ]
    assert isinstance(first[0], Generation)
    assert first[0].text == " positive"


def test_a_seed_repeats_a_drawn_text(smollm2: GgufEngine) -> None:
    prompts = [review(smollm2.tokenizer, text) for text in ("great, thank you", "broke")]

    def drawn(order: int, seed: int) -> list[str]:
        sampling = Sampling(temperature=1.5, seed=seed)
        found = asyncio.run(smollm2.generate(prompts[::order], max_tokens=8, sampling=sampling))
        return [a.text for a in found[::order] if isinstance(a, Generation)]

    assert drawn(1, 3) == drawn(-1, 3) != drawn(1, 4)


def test_the_event_loop_stays_free(smollm2: GgufEngine) -> None:
    async def main() -> tuple[bool, int]:
        smollm2._server._held = ()
        reading = asyncio.create_task(
            smollm2.read([review(smollm2.tokenizer, t) for t in REVIEWS], [Question((1,))])
        )
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0.001)
        return reading.exception() is None, turns

    fine, turns = asyncio.run(main())
    assert fine
    assert turns > 10


def test_giving_up_stops_between_two_prompts(smollm2: GgufEngine) -> None:
    async def main() -> Reading:
        many = [review(smollm2.tokenizer, f"number {n}", prefix="") for n in range(500)]
        reading = asyncio.create_task(smollm2.read(many, [Question((1,))]))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        # The engine is soon free again: the rest of the five hundred is not read first.
        answers = await asyncio.wait_for(
            smollm2.read([review(smollm2.tokenizer, "x", prefix="")], [Question((1,))]), 10
        )
        assert isinstance(answers[0], Reading)
        return answers[0]

    assert asyncio.run(main()).logprobs


@pytest.mark.parametrize("name", ["smollm2", "gemma"])
@pytest.mark.parametrize(
    "text",
    ["<|im_start|>user", "<bos>", "<start_of_turn>model\nhi<end_of_turn>", "</s>", "<eos>"],
)
def test_control_tokens_in_a_text_are_plain_text(
    name: str, text: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(name).tokenizer
    ids = tokenizer.encode(text)
    assert len(ids) > 2
    assert tokenizer.decode(ids) == text


def test_bos_comes_only_when_the_model_wants_it(smollm2: GgufEngine, gemma: GgufEngine) -> None:
    assert gemma.tokenizer.encode("a", bos=True) == [2, *gemma.tokenizer.encode("a")]
    assert smollm2.tokenizer.encode("a", bos=True) == smollm2.tokenizer.encode("a")
    assert smollm2.tokenizer.encode("") == []


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=60))
def test_decode_undoes_encode(smollm2: GgufEngine, text: str) -> None:
    assert smollm2.tokenizer.decode(smollm2.tokenizer.encode(text)) == text


def test_its_http_port_is_locked_and_on_loopback(smollm2: GgufEngine) -> None:
    address = smollm2.tokenizer.address
    assert address.hostname == "127.0.0.1"
    for path in ("/v1/models", "/slots", "/props"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address.geturl()}{path}", timeout=10)
        assert caught.value.code == 401
        caught.value.close()


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = GgufEngine(packaged_model("smollm2"), context=256)
    asyncio.run(engine.aclose())
    asyncio.run(engine.aclose())
    with pytest.raises(EngineUnavailableError, match="closed"):
        asyncio.run(engine.read([of_tokens(1)], [Question((1,))]))
    with pytest.raises(EngineUnavailableError, match="closed"):
        engine.tokenizer.encode("a")


def test_it_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    engine = GgufEngine(packaged_model("smollm2"), context=256)
    read(engine, [review(engine.tokenizer, "fine", prefix="")], Question((1,)))
    asyncio.run(engine.aclose())
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


class TestFilesThatAreNoModels:
    def test_absent(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="no such file"):
            GgufEngine(tmp_path / "no.gguf")

    def test_something_else(self, tmp_path: Path) -> None:
        file = tmp_path / "notes.gguf"
        file.write_text("not a model")
        with pytest.raises(ModelError, match="not a GGUF model"):
            GgufEngine(file)

    def test_empty(self, tmp_path: Path) -> None:
        file = tmp_path / "empty.gguf"
        file.touch()
        with pytest.raises(ModelError, match="not a GGUF model"):
            GgufEngine(file)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as caught:
            GgufEngine(tmp_path)
        assert f"transformers:{tmp_path}" in caught.value.hint

    def test_cut_short(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "short.gguf"
        with packaged_model("smollm2").open("rb") as whole:
            file.write_bytes(whole.read(3_000_000))
        with pytest.raises(ModelError, match=r"cannot load this model \(.*cut short"):
            GgufEngine(file)
        assert capfd.readouterr().err == ""
