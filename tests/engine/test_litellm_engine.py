"""The adapter of litellm: versions, limits, errors, prices. (See also test_contract.)"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import fault_server as faults
import pytest
import scripted
from fault_server import FaultServer

from ecomfs.core import event_loop
from ecomfs.engine import litellm as litellm_engine
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.factory import open_engine
from ecomfs.engine.protocol import Spending, TopTokens
from ecomfs.errors import (
    ConfigError,
    ContextOverflowError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    EngineUnavailableError,
)
from ecomfs.types import Generation, Prompt, Status
from prompts import TEMPLATE

Open = Callable[..., Any]
# litellm imports as it goes, and what it imports warns.
pytestmark = pytest.mark.filterwarnings("ignore")


def ask(text: str) -> Prompt:
    return Prompt(text, TEMPLATE)


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8"])
def test_malicious_releases_are_not_imported(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    monkeypatch.setitem(sys.modules, "litellm", None)  # importing it now fails otherwise
    with pytest.raises(EngineUnavailableError, match="malicious code") as caught:
        open_engine("litellm:openai/gpt-4o-mini")
    assert "secrets" in caught.value.hint


def test_without_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(EngineUnavailableError, match="needs litellm") as caught:
        open_engine("litellm:openai/gpt-4o-mini")
    assert "ecomfs[litellm]" in caught.value.hint


class TestWithLitellm:
    @pytest.fixture(autouse=True)
    def _needs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("litellm", reason="needs the litellm extra")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")

    @pytest.fixture
    def pauses(self) -> list[float]:
        return []

    @pytest.fixture
    def engine_at(self, pauses: list[float], fault_server: FaultServer) -> Iterator[Open]:
        opened: list[Any] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        def at(model: str = "openai/of-a-test", **options: Any) -> Any:
            options = {"sleep": sleep, "api_base": f"{fault_server.url}/v1", **options}
            opened.append(open_engine(f"litellm:{model}", **options))
            return opened[-1]

        yield at
        for engine in opened:
            event_loop.run(engine.aclose())

    def test_what_the_request_asks_for(self, fault_server: FaultServer, engine_at: Open) -> None:
        (answer,) = event_loop.run(engine_at().generate([ask("a b")], max_tokens=3, stop=["\n"]))
        assert answer == Generation("text of 'a b'", 3, 0)
        (body,) = fault_server.bodies
        assert body["messages"] == [{"role": "user", "content": "a b"}]
        assert (body["max_tokens"], body["temperature"], body["stop"]) == (3, 0, ["\n"])

    def test_likely_tokens(self, fault_server: FaultServer, engine_at: Open) -> None:
        (answer,) = event_loop.run(engine_at().top([ask("a")]))
        assert answer == TopTokens({" yes": -0.2, " no": -1.9}, 1, 0)
        assert fault_server.bodies[0]["top_logprobs"] == 20
        assert fault_server.bodies[0]["max_tokens"] == 1

    def test_a_provider_that_lists_no_tokens_has_no_such_capability(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [faults.spoils(lambda a: a["choices"][0].pop("logprobs"))]
        (answer,) = event_loop.run(engine_at().top([ask("a")]))
        assert isinstance(answer, EngineResponseError)
        assert "top_logprobs=0" in answer.hint
        assert pauses == []

    def test_a_provider_without_them_has_text(self, engine_at: Open) -> None:
        engine = engine_at("anthropic/claude-3-5-haiku-20241022")
        assert engine.capabilities.top_logprobs == 0
        with pytest.raises(ConfigError):
            event_loop.run(engine.top([ask("a")]))

    @pytest.mark.parametrize(
        "fault",
        [
            faults.says(429, "{}"),
            faults.says(500, "{}"),
            faults.says(503, "{}"),
            faults.resets,
            faults.spoils(lambda answer: answer["choices"].clear()),
        ],
    )
    def test_faults_that_pass_are_ours_to_repeat(
        self, fault: Any, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [fault, fault]
        (answer,) = event_loop.run(engine_at().generate([ask("a")], max_tokens=1))
        assert isinstance(answer, Generation), answer
        # Each fault met one request: litellm did not repeat it by itself.
        assert len(fault_server.bodies) == 3
        assert len(pauses) == 2

    @pytest.mark.parametrize("seed", range(3))
    def test_a_mix_of_faults_loses_nothing(
        self, seed: int, fault_server: FaultServer, engine_at: Open
    ) -> None:
        kinds = [faults.says(429, "{}"), faults.says(500, "{}"), faults.resets, faults.cut_short]
        fault_server.mix = faults.mixture(seed, 0.3, kinds)
        prompts = [ask(f"row {n}") for n in range(60)]
        answers = event_loop.run(engine_at().generate(prompts, max_tokens=1))
        for prompt, answer in zip(prompts, answers, strict=True):
            if isinstance(answer, Generation):
                assert answer.text == f"text of {prompt.text!r}"
            else:
                assert answer.retryable, answer
        assert sum(isinstance(a, Generation) for a in answers) >= 57

    def test_a_classifier_reads_the_text(self, fault_server: FaultServer, engine_at: Open) -> None:
        says_positive = faults.spoils(
            lambda a: a["choices"][0]["message"].update(content=" Positive.")
        )
        fault_server.mix = lambda: says_positive
        clf = scripted.classifier(engine_at(top_logprobs=0))
        (prediction,) = clf.classify([{"text": "a fine lamp"}], ["r"])
        assert (prediction.status, prediction.label) == (Status.OK, "positive")
        assert prediction.label_mass is None
        assert "a fine lamp" in fault_server.bodies[-1]["messages"][0]["content"]

    def test_a_classifier_reads_the_likely_tokens(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        tokens = {"Negative": -0.4, " neg": -2.5, "Positive": -1.6, "The": -4.0}
        listed = [{"token": t, "logprob": p, "bytes": None} for t, p in tokens.items()]
        lists_labels = faults.spoils(
            lambda a: a["choices"][0].update(
                logprobs={"content": [{**listed[0], "top_logprobs": listed}]}
            )
        )
        fault_server.mix = lambda: lists_labels
        clf = scripted.classifier(engine_at())
        assert clf.pipeline_.setups["en"].readout.name == "top-words"
        (prediction,) = clf.classify([{"text": "a fine lamp"}], ["r"])
        negative, positive = math.exp(-0.4) + math.exp(-2.5), math.exp(-1.6)
        assert prediction.label == "negative"
        assert prediction.label_mass == pytest.approx(negative + positive)
        assert prediction.confidence == pytest.approx(negative / (negative + positive))
        assert fault_server.bodies[-1]["max_tokens"] == 1

    def test_likely_tokens_that_name_no_label(
        self, fault_server: FaultServer, engine_at: Open
    ) -> None:
        (prediction,) = scripted.classifier(engine_at()).classify([{"text": "a lamp"}], ["r"])
        assert (prediction.status, prediction.label) == (Status.INVALID, None)  # yes and no

    def test_retry_after_is_honoured(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [faults.says(429, "{}", Retry_After="17")]
        (answer,) = event_loop.run(engine_at().generate([ask("a")], max_tokens=1))
        assert isinstance(answer, Generation)
        assert 17 <= pauses[0] < 18

    def test_a_time_out(self, fault_server: FaultServer, engine_at: Open) -> None:
        fault_server.faults = [faults.hangs]
        engine = engine_at(timeout=0.3, attempts=1)
        (answer,) = event_loop.run(engine.generate([ask("a")], max_tokens=1))
        assert isinstance(answer, EngineTimeoutError)

    def test_the_error_for_a_refused_key_does_not_contain_the_key(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.key = "another"
        with pytest.raises(EngineUnavailableError, match="refuses the API key") as caught:
            event_loop.run(engine_at().generate([ask("a")], max_tokens=1))
        assert "sk-of-the-test" not in str(caught.value)
        assert pauses == []

    def test_a_prompt_that_does_not_fit(self, fault_server: FaultServer, engine_at: Open) -> None:
        message = "This model's maximum context length is 64 tokens."
        error = {"error": {"message": message, "code": "context_length_exceeded"}}
        fault_server.faults = [faults.answers(400, error)]
        answers = event_loop.run(
            engine_at(concurrency=1).generate([ask("a"), ask("b")], max_tokens=1)
        )
        assert isinstance(answers[0], ContextOverflowError)
        assert isinstance(answers[1], Generation)

    def test_a_request_that_is_refused(
        self, fault_server: FaultServer, engine_at: Open, pauses: list[float]
    ) -> None:
        fault_server.faults = [faults.answers(400, {"error": {"message": "bad"}})]
        (answer,) = event_loop.run(engine_at().generate([ask("a")], max_tokens=1))
        assert isinstance(answer, EngineError)
        assert not answer.retryable
        assert pauses == []

    def test_requests_are_spaced(self, engine_at: Open, pauses: list[float]) -> None:
        engine = engine_at(rpm=60, concurrency=1)
        event_loop.run(engine.generate([ask("a")] * 3, max_tokens=1))
        # The clock also advances between sleeps: each wait is a little less than a second.
        assert len(pauses) == 2
        assert 0 < pauses[0] <= 1
        assert pauses[0] < pauses[1] <= 2

    def test_tokens_are_spaced(self, engine_at: Open, pauses: list[float]) -> None:
        engine = engine_at(tpm=60, concurrency=1)
        event_loop.run(engine.generate([ask("x" * 1000), ask("y" * 1000)], max_tokens=1))
        assert len(pauses) == 1
        assert pauses[0] > 500  # the stand-in counts a token a character

    def test_what_a_priced_model_costs(self, engine_at: Open) -> None:
        engine = engine_at("openai/gpt-4o-mini")
        event_loop.run(engine.generate([ask("x" * 1000), ask("y" * 500)], max_tokens=2))
        assert engine.spending.usd == pytest.approx(engine.price(1500, 2))
        assert engine.spending.calls == 2
        assert engine.spending.unpriced == 0
        assert engine.price(1_000_000, 0) == pytest.approx(0.15)

    def test_likely_tokens_are_kept(
        self, fault_server: FaultServer, engine_at: Open, tmp_path: Any
    ) -> None:
        engine = CachedEngine(engine_at(), ReadingCache(tmp_path / "readings.sqlite"))
        first = event_loop.run(engine.top([ask("a"), ask("b")]))
        again = event_loop.run(engine.top([ask("b"), ask("c"), ask("a")]))
        assert [a.logprobs for a in again] == [first[0].logprobs] * 3
        assert len(fault_server.bodies) == 3
        assert (engine.hits, engine.misses) == (2, 3)
        assert engine.spending.calls == 3
        fewer = CachedEngine(engine_at(top_logprobs=1), engine.cache)
        event_loop.run(fewer.top([ask("a")]))  # another question
        assert (fewer.hits, fewer.misses) == (0, 1)

    @pytest.mark.parametrize("options", ["?rpm=0", "?tpm=-1", "?mode=poem", "?api_key=sk"])
    def test_options_that_cannot_be(self, options: str) -> None:
        with pytest.raises(ConfigError):
            open_engine(f"litellm:openai/gpt-4o-mini{options}")

    @pytest.mark.parametrize("model", ["gpt-of-nobody", "nobody/gpt"])
    def test_an_unknown_provider(self, model: str) -> None:
        with pytest.raises(ConfigError, match="has no provider"):
            open_engine(f"litellm:{model}")

    def test_importing_it_opens_no_connection(self) -> None:
        code = (
            "import socket, sys\n"
            f"sys.path[:] = {sys.path!r}\n"
            "def refuse(*args): raise SystemExit(f'asks {args}')\n"
            "socket.getaddrinfo = refuse\n"
            "from ecomfs.engine.factory import open_engine\n"
            "assert 'litellm' not in sys.modules\n"
            "engine = open_engine('litellm:openai/gpt-4o-mini?rpm=60&tpm=90000')\n"
            "assert 'litellm' in sys.modules\n"
            "print(engine.price(1000, 1))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "False"},
        )
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0


def test_spending_adds_up_by_difference() -> None:
    assert Spending(3, 30, 3, 1.0, 1) - Spending(1, 10, 1, 0.25, 1) == Spending(2, 20, 2, 0.75, 0)


def test_the_versions_that_the_package_excludes() -> None:
    (wanted,) = [
        r for r in metadata.requires("ecomfs") or [] if r.startswith("litellm") and "litellm" in r
    ]
    assert all(f"!={version}" in wanted for version in litellm_engine.MALICIOUS)
