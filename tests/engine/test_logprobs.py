"""Log-probabilities that are not a distribution: the row fails with the reason, nothing is cached,
and the other rows are answered.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fault_server as faults
import pytest
from fault_server import FaultServer
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine, classifier

from ecomfs.batch import score_table
from ecomfs.cli import run as command
from ecomfs.core import event_loop
from ecomfs.engine import litellm as litellm_engine
from ecomfs.engine import logprobs
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.engine.canary import canary
from ecomfs.engine.protocol import ChosenAnswer, TopTokens
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.errors import EngineError, InvalidLogprobsError
from ecomfs.readout import ChoiceReadout, LogprobReadout, TopReadout, Verbalizer
from ecomfs.types import Posterior, Prompt, Question, Reading, Status
from prompts import of_tokens

NAN, INF = math.nan, math.inf
fine = st.floats(-30, -5)
positive = st.floats(2e-3, 1e300) | st.just(INF)


def spoilt(values: st.SearchStrategy[float], bad: st.SearchStrategy[float]) -> Any:
    """Lists of at least two values, of which one at least is bad."""
    return st.tuples(st.lists(values, min_size=1, max_size=5), bad, st.integers(0, 5)).map(
        lambda t: [*t[0][: t[2]], t[1], *t[0][t[2] :]]
    )


BAD = st.one_of(
    spoilt(fine | st.just(-INF), st.just(NAN)),
    spoilt(fine | st.just(-INF), positive),
    st.integers(2, 6).map(lambda n: [-INF] * n),
    st.lists(st.floats(-0.6, 0), min_size=2, max_size=6),  # each may be, together they may not
)


@given(BAD)
def test_a_reading_that_is_not_a_distribution_is_an_error(values: list[float]) -> None:
    found = logprobs.checked(Reading((tuple(values),)), [Question(tuple(range(len(values))))])
    assert isinstance(found, InvalidLogprobsError)
    assert "no distribution" in found.message
    assert not found.retryable


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(-1e-4, 1e-4),
)
def test_part_of_a_distribution_is_a_valid_reading(
    weights: list[float], mass: float, rounding: float
) -> None:
    total = sum(weights) + 1e-9
    shares = [mass * w / total for w in weights]
    values = [math.log(s) + rounding if s > 1e-300 else -INF for s in shares]
    reading = Reading((tuple(values),))
    found = logprobs.checked(reading, [Question(tuple(range(len(values))))])
    if all(v == -INF for v in values):
        assert isinstance(found, InvalidLogprobsError)
    else:
        assert found is reading


def test_a_token_that_is_named_twice_counts_once() -> None:
    reading = Reading(((-0.1, -0.1),))
    assert logprobs.checked(reading, [Question((7, 7))]) is reading
    assert isinstance(logprobs.checked(reading, [Question((7, 8))]), InvalidLogprobsError)


@pytest.mark.parametrize("values", [(), ((-1.0,),), ((-1.0, -1.0), (-1.0, -1.0))])
def test_values_that_are_not_those_asked_for_are_an_error(
    values: tuple[tuple[float, ...], ...],
) -> None:
    assert isinstance(logprobs.checked(Reading(values), [Question((1, 2))]), InvalidLogprobsError)


class Broken(ScriptedEngine):
    """Says ``says`` of the tokens of prompts that contain ``where``."""

    def __init__(self, says: Sequence[float], where: str = "") -> None:
        super().__init__()
        self.says, self.where = says, where

    def _reading(self, prompt: Prompt, questions: Sequence[Question]) -> Reading:
        if self.where not in prompt.text:
            return super()._reading(prompt, questions)
        said = [
            tuple(self.says[i % len(self.says)] for i in range(len(q.codes))) for q in questions
        ]
        return Reading(tuple(said), len(prompt.token_ids))


KINDS: Mapping[str, tuple[float, ...]] = {
    "NaN": (NAN, -1.0),
    "inf": (INF, -1.0),
    "-inf for all": (-INF,),
    "above one": (5.0, -1.0),
    "more than one in sum": (-0.1,),
}
kinds = pytest.mark.parametrize("says", KINDS.values(), ids=KINDS.keys())


@kinds
@pytest.mark.parametrize("cached", [False, True], ids=["bare", "with the cache"])
def test_the_row_fails_with_the_reason_and_the_others_are_answered(
    says: tuple[float, ...], cached: bool, tmp_path: Path
) -> None:
    engine: Any = Broken(says, where="Review: bad")
    if cached:
        engine = CachedEngine(engine, ReadingCache(tmp_path / "readings.sqlite"))
    bad, good = classifier(engine).classify(["bad", "good"])
    assert (bad.status, bad.label, dict(bad.probabilities)) == (Status.FAILED, None, {})
    assert "no distribution" in bad.error
    assert bad.confidence is None
    assert good.status is Status.OK
    assert good.confidence is not None


@pytest.mark.parametrize("low", [-9999.0, -200.0])
def test_labels_that_are_all_impossible_alike_are_no_answer(low: float) -> None:
    [found] = classifier(Broken((low,))).classify(["any"])
    assert (found.status, found.label) == (Status.INVALID, None)
    assert "the same probability" in found.error


def test_labels_that_are_unlikely_and_differ_are_an_answer() -> None:
    [found] = classifier(Broken((-40.0, -42.0))).classify(["any"])
    assert found.status is Status.OK


def readout(engine: ScriptedEngine, *answers: str) -> LogprobReadout:
    assert engine.tokenizer is not None
    return LogprobReadout(Verbalizer("words", answers), engine.tokenizer, "Label:", " ")


def test_labels_of_several_tokens_that_are_all_impossible_are_no_answer() -> None:
    """The shape of the trie alone would rank them: one half, one quarter, one quarter."""
    engine = Broken((-9999.0,))
    made = readout(engine, "shoes", "red hat", "red coat")
    assert made.reads_per_row > 1
    prompt = of_tokens(1, 2)
    [found] = asyncio.run(made.read(engine, [prompt]))
    assert isinstance(found, Posterior)
    assert found.probabilities == ()


@kinds
def test_every_question_of_a_reading_is_checked(says: tuple[float, ...]) -> None:
    class Later(Broken):
        """Breaks after the first token of the answer."""

        def _reading(self, prompt: Prompt, questions: Sequence[Question]) -> Reading:
            whole, bad = (
                ScriptedEngine._reading(self, prompt, questions),
                super()._reading(prompt, questions),
            )
            return replace(whole, logprobs=(whole.logprobs[0], *bad.logprobs[1:]))

    engine = Later(says)
    made = readout(engine, "shoes", "red hat", "red coat")
    [found] = asyncio.run(made.read(engine, [of_tokens(1, 2)]))
    assert isinstance(found, InvalidLogprobsError)
    [found] = asyncio.run(made.read_each(engine, [of_tokens(1, 2)], [(0, 1, 2)]))
    assert isinstance(found, InvalidLogprobsError)


class Lists:
    """Lists, or chooses with, what it is given."""

    spec = fingerprint = "lists"

    def __init__(self, said: Mapping[str, float]) -> None:
        self.said = dict(said)
        self.asked = 0
        self.capabilities = replace(
            ScriptedEngine().capabilities, logprobs=False, top_logprobs=5, choice=True
        )

    async def top(self, prompts: Sequence[Prompt]) -> list[TopTokens | EngineError]:
        self.asked += len(prompts)
        return [TopTokens(dict(self.said), 3) for _ in prompts]

    async def choose(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[ChosenAnswer | EngineError]:
        return [ChosenAnswer(answers[0], ((answers[0], dict(self.said)),)) for _ in prompts]

    read = generate = aclose = choose


@given(BAD)
def test_likely_tokens_and_choices_that_are_no_distribution_are_errors(
    values: list[float],
) -> None:
    texts = [" yes", " no", " maybe", " a", " b", " c", " d"]
    engine: Any = Lists(dict(zip(texts, values, strict=False)))
    words = Verbalizer("words", ("yes", "no"))
    prompt = of_tokens(1)
    for made in (TopReadout(words), ChoiceReadout(words, " ")):
        [found] = asyncio.run(made.read(engine, [prompt]))
        assert isinstance(found, InvalidLogprobsError)


class TestCache:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Iterator[ReadingCache]:
        made = ReadingCache(tmp_path / "readings.sqlite")
        yield made
        made.close()

    @kinds
    def test_nothing_bad_is_kept_for_a_healthy_engine_later(
        self, says: tuple[float, ...], cache: ReadingCache
    ) -> None:
        broken = CachedEngine(Broken(says), cache)
        assert classifier(broken).classify(["a"])[0].status is Status.FAILED
        assert len(cache) == 0
        healthy = CachedEngine(ScriptedEngine(), cache)
        assert classifier(healthy).classify(["a"])[0].status is Status.OK
        assert (healthy.hits, healthy.misses) == (0, 1)

    @kinds
    @pytest.mark.parametrize("short", [False, True], ids=["whole", "cut short"])
    def test_bad_cache_entries_of_older_versions_are_replaced(
        self,
        says: tuple[float, ...],
        short: bool,
        cache: ReadingCache,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with monkeypatch.context() as unchecked:
            unchecked.setattr(logprobs, "checked", lambda reading, questions: reading)
            old = CachedEngine(Broken(says), cache)
            asyncio.run(old.read([of_tokens(1)], [Question((1, 2))]))
        assert len(cache) == 1
        if short:
            self.cut(cache)
        healthy = ScriptedEngine()
        assert healthy.tokenizer is not None
        healthy.tokenizer.encode("one two three")  # it knows tokens by use
        engine = CachedEngine(healthy, cache)
        asked = [of_tokens(1)], [Question((1, 2))]
        assert asyncio.run(engine.known(asked[0], [asked[1]])) == [False]
        for hits in (0, 1):
            [found] = asyncio.run(engine.read(*asked))
            assert isinstance(found, Reading)
            assert 0 < sum(map(math.exp, found.logprobs[0])) < 1
            assert engine.hits == hits

    @staticmethod
    def cut(cache: ReadingCache) -> None:
        import sqlite3

        cache.close()
        with sqlite3.connect(cache.path) as connection:
            connection.execute("UPDATE kept SET value = substr(value, 1, 11)")
        connection.close()

    def test_lists_of_tokens_are_kept_only_when_good(self, cache: ReadingCache) -> None:
        prompt = replace(of_tokens(1), text="good or bad?")
        broken: Any = Lists({" a": NAN})
        [found] = asyncio.run(CachedEngine(broken, cache).top([prompt]))
        assert isinstance(found, InvalidLogprobsError)
        assert len(cache) == 0
        with pytest.MonkeyPatch.context() as unchecked:
            unchecked.setattr(logprobs, "checked_list", lambda listed: listed)
            asyncio.run(CachedEngine(broken, cache).top([prompt]))
        assert len(cache) == 1
        healthy: Any = Lists({" a": -1.0})
        for _ in range(2):
            [found] = asyncio.run(CachedEngine(healthy, cache).top([prompt]))
            assert isinstance(found, TopTokens)
            assert found.logprobs == {" a": -1.0}
        assert healthy.asked == 1


WIRE: Mapping[str, Any] = {**KINDS, "null": (None, -1.0), "a text": ("NaN", -1.0)}
wire = pytest.mark.parametrize("says", WIRE.values(), ids=WIRE.keys())


def spoil(says: Sequence[Any], which: Callable[[int], bool] = lambda n: True) -> faults.Fault:
    """Say this of the tokens of some prompts of a request, the others as they are."""

    def change(answer: dict[str, Any]) -> None:
        for choice in answer["choices"]:
            if which(choice["index"]):
                for top in choice["logprobs"]["top_logprobs"]:
                    for n, name in enumerate(top):
                        top[name] = says[n % len(says)]

    return faults.spoils(change)


class TestServer:
    @pytest.fixture
    def engine_at(self) -> Iterator[Callable[..., VllmEngine]]:
        opened: list[VllmEngine] = []

        async def sleep(_: float) -> None:
            await asyncio.sleep(0)

        async def passes(_: Any) -> None:
            """Skip the canary, because the server has no model."""

        def at(*servers: FaultServer, **options: Any) -> VllmEngine:
            urls = [server.url for server in servers]
            options = {"recheck": passes, "probe_after": 3600.0, **options}
            opened.append(VllmEngine(urls, sleep=sleep, **options))
            return opened[-1]

        yield at
        for engine in opened:
            event_loop.run(engine.aclose())

    @wire
    def test_one_bad_reading_costs_the_others_of_its_request_nothing(
        self, says: Any, fault_server: FaultServer, engine_at: Any
    ) -> None:
        fault_server.faults = [spoil(says, lambda n: n == 1)]
        prompts = [of_tokens(n + 1) for n in range(3)]
        found = event_loop.run(engine_at(fault_server).read(prompts, [Question((11, 12))]))
        assert [type(f) for f in found] == [Reading, InvalidLogprobsError, Reading]
        assert len(fault_server.bodies) == 1  # the same prompt would overflow again

    @wire
    def test_prompts_with_questions_of_their_own(
        self, says: Any, fault_server: FaultServer, engine_at: Any
    ) -> None:
        fault_server.mix = lambda: spoil(says)
        asked = [[Question((11, 12))], [Question((11, 13)), Question((5, 6), suffix=(9,))]]
        found = event_loop.run(
            engine_at(fault_server).read_each([of_tokens(1), of_tokens(2)], asked)
        )
        assert [type(f) for f in found] == [InvalidLogprobsError] * 2

    def test_three_bad_readings_in_a_row_take_a_server_out_and_the_other_one_takes_over(
        self, fault_server: FaultServer, engine_at: Any
    ) -> None:
        other = FaultServer()
        event_loop.run(other.start())
        try:
            fault_server.mix = lambda: spoil((NAN, -1.0))
            engine = engine_at(fault_server, other, prompts_per_request=1, concurrency=1)
            found = [
                event_loop.run(engine.read([of_tokens(n + 1)], [Question((11, 12))]))[0]
                for n in range(12)
            ]
            bad = [isinstance(f, InvalidLogprobsError) for f in found]
            # The third one is asked of the other server at once.
            assert sum(bad) <= 2
            assert not any(bad[-5:])
            assert len(fault_server.bodies) == 3
        finally:
            event_loop.run(other.stop())

    def test_a_good_reading_in_between_keeps_a_server_in(
        self, fault_server: FaultServer, engine_at: Any
    ) -> None:
        other = FaultServer()
        event_loop.run(other.start())
        try:
            every_third = [lambda: spoil((NAN,)), lambda: spoil((NAN,)), lambda: None]
            turns = iter(every_third * 20)
            fault_server.mix = lambda: next(turns)()
            engine = engine_at(fault_server, other, prompts_per_request=1, concurrency=1)
            for n in range(30):
                event_loop.run(engine.read([of_tokens(n + 1)], [Question((11, 12))]))
            assert len(fault_server.bodies) > 10
        finally:
            event_loop.run(other.stop())

    @wire
    def test_the_canary_names_it_a_fault_and_not_a_lack(
        self, says: Any, fault_server: FaultServer, engine_at: Any
    ) -> None:
        fault_server.mix = lambda: spoil(says)
        report = event_loop.run(canary(engine_at(fault_server, attempts=1), ["A", "B"]))
        check = next(c for c in report.checks if c.name == "log-probabilities")
        assert (check.ok, check.required, check.lacks) == (False, True, "")

    @wire
    def test_a_batch_of_bad_readings_ends_with_all_rows_failed(
        self,
        says: Any,
        fault_server: FaultServer,
        engine_at: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        fault_server.models[0]["max_model_len"] = 8192
        fault_server.mix = lambda: spoil(says)
        engine = CachedEngine(engine_at(fault_server), ReadingCache(tmp_path / "cache.sqlite"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
        Path("in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(40)))
        Path("pool.csv").write_text("text,label\ngood,positive\nbad,negative\n")
        arguments = "score in.csv -t review_sentiment -e pool.csv --embedder hashed --k 0 -q"
        code = command(
            [*arguments.split(), "--calibration-size", "0", "--engine", "x", "-o", "out.csv"]
        )
        said = capsys.readouterr().err
        assert code == 0  # done, as docs/batch.md says: the failed rows are in their own table
        assert "40 failed" in said
        assert "ok" not in said.split("40 failed")[0].split("rows")[-1]
        failed = Path("out.failed.csv").read_text()
        assert failed.count("no distribution") == 40
        assert len(engine.cache) == 0
        # The same rows, when the server is well.
        fault_server.mix = lambda: None
        result = score_table("out.failed.csv", "again.csv", classifier(engine, k=0).pipeline_)
        assert result.failed is None
        engine.cache.close()


def listed(**values: Any) -> Any:
    """A provider's answer in litellm's shape."""

    class Box(dict[str, Any]):
        __getattr__ = dict.__getitem__

    top = [Box(token=f" {name}", logprob=value) for name, value in values.items()]
    choice = Box(logprobs=Box(content=[Box(top_logprobs=top)]))
    return Box(choices=[choice], usage=None)


@pytest.mark.parametrize("bad", [NAN, INF, 5.0, None], ids=str)
def test_a_hosted_models_list_that_is_no_distribution(bad: float | None) -> None:
    with pytest.raises(InvalidLogprobsError):
        litellm_engine.top_tokens(listed(yes=bad, no=-1.0), text=False)


def test_a_hosted_models_list_may_hold_impossible_tokens() -> None:
    found = litellm_engine.top_tokens(listed(yes=-0.1, no=-INF), text=False)
    assert found.logprobs == {" yes": -0.1, " no": -INF}
