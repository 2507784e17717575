"""The in-process Hugging Face engine compared with plain forward passes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import WINDOW, tiny_model

from ecomfs.engine.factory import open_engine
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
from prompts import TEMPLATE, of_tokens

pytestmark = pytest.mark.torch

CODES = (40, 41, 42, 100)


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Any]:
    opened = open_engine(f"transformers:{folder}", batch=4, device="cpu")
    yield opened
    asyncio.run(opened.aclose())


@pytest.fixture(scope="module")
def plainly(folder: Path) -> Any:
    """Log-probabilities by one forward pass a prompt, without cache, batch or padding."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def read(ids: tuple[int, ...], codes: tuple[int, ...] = CODES) -> list[float]:
        with torch.inference_mode():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            values: list[float] = torch.log_softmax(logits, -1)[list(codes)].tolist()
            return values

    return read


def read(engine: Any, prompts: list[Prompt], *questions: Question) -> list[Reading]:
    answers = asyncio.run(engine.read(prompts, questions or (Question(CODES),)))
    assert all(isinstance(a, Reading) for a in answers), answers
    return list(answers)


def random_prompts(seed: int) -> list[Prompt]:
    """Prompts of one to eighty tokens, most of which share one of two prefixes, in any order."""
    rng = random.Random(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, 200) for _ in range(n))

    first, second = tokens(40), tokens(60)
    prompts = [of_tokens(*first, *tokens(rng.randrange(1, 20))) for _ in range(5)]
    prompts += [of_tokens(*second, *tokens(rng.randrange(1, 20))) for _ in range(4)]
    prompts += [of_tokens(*tokens(n)) for n in (1, 2, 15, 80)]
    prompts += [of_tokens(*first), of_tokens(*first[:30]), prompts[0]]
    rng.shuffle(prompts)
    return prompts


def test_it_is_an_engine(engine: Any) -> None:
    assert isinstance(engine, Engine)
    assert engine.capabilities.context_tokens == 512
    assert engine.capabilities.prefix_reuse


@pytest.mark.parametrize("seed", range(5))
def test_readings_equal_plain_forward_passes(seed: int, engine: Any, plainly: Any) -> None:
    prompts = random_prompts(seed)
    for prompt, reading in zip(prompts, read(engine, prompts), strict=True):
        assert reading.logprobs[0] == pytest.approx(plainly(prompt.token_ids), abs=1e-4)
        assert reading.prompt_tokens == len(prompt.token_ids)


def test_prefixes_longer_than_a_sliding_window(engine: Any, plainly: Any) -> None:
    shared = tuple(range(3, 3 + 4 * WINDOW))
    prompts = [of_tokens(*shared, *range(30 + n, 40 + 2 * n)) for n in range(6)]
    for prompt, reading in zip(prompts, read(engine, prompts), strict=True):
        assert reading.logprobs[0] == pytest.approx(plainly(prompt.token_ids), abs=1e-4)


def test_the_prefix_of_an_earlier_call_is_taken_up(engine: Any, plainly: Any) -> None:
    shared = tuple(range(50, 110))
    read(engine, [of_tokens(*shared, 7)])
    for prompt in (
        of_tokens(*shared, 8, 9),  # longer
        of_tokens(*shared[:40], 9, 9),  # cut back
        of_tokens(*shared[:40], 9, 9),  # the same again
        of_tokens(*shared, 8, 9),
    ):
        (reading,) = read(engine, [prompt])
        assert reading.logprobs[0] == pytest.approx(plainly(prompt.token_ids), abs=1e-4)
        assert reading.cached_tokens >= 40


def test_a_shared_prefix_is_computed_once(engine: Any) -> None:
    shared = tuple(range(120, 180))
    answers = read(engine, [of_tokens(*shared, n, n) for n in range(3, 7)])
    assert sorted(a.cached_tokens for a in answers) == [0, 60, 60, 60]


def test_questions_after_suffixes(engine: Any, plainly: Any) -> None:
    prompts = random_prompts(11)
    suffixes: tuple[tuple[int, ...], ...] = ((), (50,), (50, 51, 52), (60,))
    questions = [Question(CODES[: n + 1], suffix) for n, suffix in enumerate(suffixes)]
    for prompt, reading in zip(prompts, read(engine, prompts, *questions), strict=True):
        for question, values in zip(questions, reading.logprobs, strict=True):
            whole = prompt.token_ids + question.suffix
            assert values == pytest.approx(plainly(whole, question.codes), abs=1e-4)


def test_one_long_row_among_short_ones(engine: Any, plainly: Any) -> None:
    prompts = [of_tokens(*range(3, 3 + n)) for n in (1, 200, 2, 3)]
    for prompt, reading in zip(prompts, read(engine, prompts), strict=True):
        assert reading.logprobs[0] == pytest.approx(plainly(prompt.token_ids), abs=1e-4)


def test_one_bad_prompt_fails_alone(engine: Any, plainly: Any) -> None:
    good = of_tokens(5, 6, 7)
    prompts = [of_tokens(*[5] * 512), good, of_tokens(9999), Prompt("", TEMPLATE)]
    long, fine, unknown, bos = asyncio.run(engine.read(prompts, [Question(CODES)]))
    assert isinstance(long, ContextOverflowError)
    assert fine.logprobs[0] == pytest.approx(plainly(good.token_ids), abs=1e-4)
    assert isinstance(unknown, EngineResponseError)
    assert "9999" in unknown.message
    assert bos.logprobs[0] == pytest.approx(plainly((0,)), abs=1e-4)


def test_a_code_outside_the_vocabulary(engine: Any) -> None:
    with pytest.raises(EngineResponseError, match="no token 9999"):
        asyncio.run(engine.read([of_tokens(5)], [Question((9999,))]))


def test_no_prompts_and_no_questions(engine: Any) -> None:
    assert asyncio.run(engine.read([], [Question(CODES)])) == []
    (reading,) = asyncio.run(engine.read([of_tokens(5, 6)], []))
    assert reading.logprobs == ()


def test_generation_in_a_batch_equals_one_by_one(engine: Any) -> None:
    prompts = [of_tokens(*range(3, 3 + n)) for n in (2, 9, 30)]
    together = asyncio.run(engine.generate(prompts, max_tokens=6))
    alone = [asyncio.run(engine.generate([p], max_tokens=6))[0] for p in prompts]
    assert [t.text for t in together] == [a.text for a in alone]
    assert [t.prompt_tokens for t in together] == [2, 9, 30]


def test_a_seed_repeats_a_drawn_text(engine: Any) -> None:
    def drawn(seed: int) -> list[str]:
        found = engine.generate([of_tokens(5, 6)] * 2, max_tokens=8, sampling=Sampling(5.0, seed))
        return [g.text for g in asyncio.run(found)]

    assert drawn(3) == drawn(3) != drawn(4)


def test_generation_ends_at_a_stop(engine: Any) -> None:
    (whole,) = asyncio.run(engine.generate([of_tokens(5, 6)], max_tokens=8))
    assert isinstance(whole, Generation)
    assert len(whole.text) > 3
    (cut,) = asyncio.run(engine.generate([of_tokens(5, 6)], max_tokens=8, stop=[whole.text[2]]))
    assert cut.text == whole.text[: whole.text.index(whole.text[2])]


class TestTokenizer:
    def test_control_tokens_are_plain_text(self, engine: Any) -> None:
        text = "a <|im_start|> b <bos> 好"
        ids = engine.tokenizer.encode(text)
        assert not {0, 1, 2} & set(ids)
        assert engine.tokenizer.decode(ids) == text

    def test_bos_when_the_model_wants_it(self, engine: Any, tmp_path: Path) -> None:
        encode = engine.tokenizer.encode
        assert encode("a", bos=True) == [0, *encode("a")]
        assert encode("", bos=True) == [0]
        other = open_engine(f"transformers:{tiny_model(tmp_path, bos=False)}")
        assert other.tokenizer is not None
        assert other.tokenizer.encode("a", bos=True) == encode("a")
        asyncio.run(other.aclose())


class TestFingerprint:
    def test_it_is_stable_and_knows_the_weights(self, tmp_path: Path) -> None:
        seen = []
        for precision in ("float32", "float32", "bfloat16"):
            folder = tmp_path / "m"
            if not folder.exists():
                tiny_model(folder)
            opened = open_engine(f"transformers:{folder}", dtype=precision, device="cpu")
            seen.append(opened.fingerprint)
            asyncio.run(opened.aclose())
        assert seen[0] == seen[1] != seen[2]
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))
        opened = open_engine(f"transformers:{folder}", dtype="float32", device="cpu")
        assert opened.fingerprint not in seen
        asyncio.run(opened.aclose())


class TestWhatIsNoModel:
    def test_a_folder_without_configuration(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"no config\.json"):
            open_engine(f"transformers:{tmp_path}")

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
        with pytest.raises(ModelError, match="cannot load") as caught:
            open_engine(f"transformers:{tmp_path}")
        assert "\n" not in caught.value.message

    def test_an_absent_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match="no such folder"):
            open_engine(f"transformers:{tmp_path / 'none'}")

    def test_a_gguf_file(self, tmp_path: Path) -> None:
        file = tmp_path / "m.gguf"
        file.write_bytes(b"GGUF")
        with pytest.raises(ModelError) as caught:
            open_engine(f"transformers:{file}")
        assert caught.value.hint.endswith(f"gguf:{file}")


@pytest.mark.parametrize(
    ("option", "value"), [("device", "tpu9"), ("device", "cuda:77"), ("dtype", "float8")]
)
def test_options_that_cannot_be(option: str, value: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=value):
        open_engine(f"transformers:{folder}", **{option: value})


def test_a_closed_engine_says_so(folder: Path) -> None:
    opened = open_engine(f"transformers:{folder}", device="cpu")
    asyncio.run(opened.aclose())
    asyncio.run(opened.aclose())
    with pytest.raises(EngineUnavailableError, match="closed"):
        asyncio.run(opened.read([of_tokens(5)], [Question(CODES)]))


def test_memory_that_does_not_suffice_halves_the_batch(
    engine: Any, plainly: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ecomfs.engine.transformers.prefix import PrefixDecoder

    sizes: list[int] = []
    real = PrefixDecoder.next_logprobs

    def small(self: PrefixDecoder, rows: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, rows)

    monkeypatch.setattr(PrefixDecoder, "next_logprobs", small)
    prompts = [of_tokens(*range(3, 30), n) for n in range(4)]
    for prompt, reading in zip(prompts, read(engine, prompts), strict=True):
        assert reading.logprobs[0] == pytest.approx(plainly(prompt.token_ids), abs=1e-4)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]


def test_one_prompt_too_large_for_memory_fails_alone(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ecomfs.engine.transformers.prefix import PrefixDecoder

    real = PrefixDecoder.next_logprobs

    def small(self: PrefixDecoder, rows: Any) -> Any:
        if any(len(row) > 40 for row in rows):
            raise torch.OutOfMemoryError("CUDA out of memory\nmuch more")
        return real(self, rows)

    monkeypatch.setattr(PrefixDecoder, "next_logprobs", small)
    prompts = [of_tokens(*[5] * 50), of_tokens(6)]
    large, fine = asyncio.run(engine.read(prompts, [Question(CODES)]))
    assert isinstance(large, EngineResponseError)
    assert "out of memory" in large.message
    assert "\n" not in large.message
    assert isinstance(fine, Reading)
