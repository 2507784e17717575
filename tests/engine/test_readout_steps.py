"""The read-out chain on servers with more or fewer capabilities, through the real protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pools import reviews
from stand_in_model import ModelServer, serving
from tiny import tiny_model

from ecomfs.core import event_loop
from ecomfs.engine import canary as canary_module
from ecomfs.engine.factory import open_engine
from ecomfs.engine.llama.engine import GgufEngine
from ecomfs.engine.shared import canary_reports, close_shared, shared_engine
from ecomfs.errors import CanaryError
from ecomfs.estimators import FewShotClassifier
from ecomfs.types import Status

NAMED = frozenset({"logprob_token_ids"})
LISTED = NAMED | {"logprobs"}
CHOICE = LISTED | {"structured_outputs"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    close_shared()
    yield
    close_shared()


def classifier(engine: Any, **options: Any) -> Any:
    options = {"k": 4, "embedder": "hashed", "language": "en", "calibration_size": 0, **options}
    pool = reviews()
    return FewShotClassifier("review_sentiment", engine, **options).fit(
        [e.fields["text"] for e in pool], [e.label for e in pool]
    )


def readout(clf: Any) -> str:
    return str(clf.pipeline_.setups["en"].readout.name)


@pytest.mark.torch
class TestUntrained:
    """An untrained model of bytes: the protocol and the arithmetic, no sense."""

    @pytest.fixture
    def server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
        folder = tiny_model(tmp_path / "tiny", context=2048)
        engine = open_engine(f"transformers:{folder}?device=cpu")
        server = serving(engine, folder, 259)
        monkeypatch.setattr(canary_module, "_SURE", 0.0)
        monkeypatch.setattr(canary_module, "CODES", tuple("ABCDEFGHIJ"))
        yield server
        event_loop.run(server.stop())
        event_loop.run(engine.aclose())

    @pytest.mark.parametrize(
        ("ignores", "taken", "lacking"),
        [
            (frozenset(), "logprob-words", set()),
            (NAMED, "top-words", {"logprobs"}),
            (NAMED | {"allowed_token_ids"}, "top-words", {"logprobs"}),
            (LISTED, "choice", {"logprobs", "top_logprobs"}),
            (CHOICE, "text", {"logprobs", "top_logprobs", "choice"}),
        ],
        ids=lambda value: "" if isinstance(value, set) else None,
    )
    def test_the_canary_finds_the_step(
        self,
        server: ModelServer,
        ignores: frozenset[str],
        taken: str,
        lacking: set[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        server.ignores = ignores
        spec = f"vllm:{server.url}"
        with caplog.at_level(logging.WARNING):
            engine = shared_engine(spec)
        (report,) = canary_reports(spec)
        assert report.ok
        assert report.lacking == lacking
        assert len(caplog.records) == len(lacking)
        assert readout(classifier(engine)) == taken

    def test_a_wrong_answer_is_not_a_missing_capability(
        self, server: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = ModelServer._answer

        async def masked(self: ModelServer, ids: Any, body: dict[str, Any]) -> dict[str, Any]:
            answer = await whole(self, ids, body)
            if body.get("logprob_token_ids"):
                (top,) = answer["logprobs"]["top_logprobs"]
                answer["logprobs"]["top_logprobs"] = [dict.fromkeys(top, -0.1)]
            return answer

        monkeypatch.setattr(ModelServer, "_answer", masked)
        with pytest.raises(
            CanaryError, match=r"log-probabilities: .* the probabilities of 10 tokens sum to 9\.0"
        ):
            shared_engine(f"vllm:{server.url}")

    def test_a_server_that_comes_back_with_less_is_not_used(self, server: ModelServer) -> None:
        engine = shared_engine(f"vllm:{server.url}?attempts=1&backoff=0.01")
        port = int(server.url.rsplit(":", 1)[1])
        clf = classifier(engine)
        assert clf.classify(["a lovely hat"])[0].label is not None
        event_loop.run(server.stop())
        with pytest.raises(Exception, match="no server answers"):
            clf.classify(["a torn hat"])
        server.ignores = NAMED
        event_loop.run(server.start(port))
        with pytest.raises(Exception, match="it lost capabilities: logprobs"):
            clf.classify(["a torn hat"])

    def test_a_choice_is_as_probable_as_it_is_exactly(self, server: ModelServer) -> None:
        """Two labels part at one token, which lies on the way of the one that is drawn."""
        rows = ["a lovely soft hat", "broken and ugly coat", "great perfect shirt"]
        engine = open_engine(f"vllm:{server.url}")
        exact = classifier(engine, readout="words").classify(rows)
        drawn = classifier(engine, readout="choice").classify(rows)
        event_loop.run(engine.aclose())
        for one, other in zip(exact, drawn, strict=True):
            assert other.label == one.label
            assert dict(other.probabilities) == pytest.approx(dict(one.probabilities), abs=1e-3)
            assert other.label_mass is None

    def test_without_the_alternatives_a_choice_is_certain(self, server: ModelServer) -> None:
        server.ignores = LISTED
        clf = classifier(shared_engine(f"vllm:{server.url}"))
        (found,) = clf.classify(["a lovely soft hat"])
        assert found.status is Status.OK
        assert sorted(found.probabilities.values()) == [0.0, 1.0]


@pytest.mark.model
def test_the_steps_agree_on_a_real_model(
    smollm2: GgufEngine, engine_of: Callable[[str], Any]
) -> None:
    server = serving(smollm2, Path("no/such-folder"), 49152)
    try:
        engine = engine_of(server.url)
        rows = ["a lovely soft hat", "broken and ugly coat"]
        names = ("words", "top-words", "choice", "codes", "top-codes")
        found = {name: classifier(engine, readout=name).classify(rows) for name in names}
    finally:
        event_loop.run(server.stop())
    for exact, listed, drawn in zip(
        found["words"], found["top-words"], found["choice"], strict=True
    ):
        assert exact.label == listed.label == drawn.label
        p = exact.probabilities["positive"]
        # The list has other spellings of the labels too, so it is not the same to the last digit.
        assert listed.probabilities["positive"] == pytest.approx(p, abs=0.05)
        assert drawn.probabilities["positive"] == pytest.approx(p, abs=0.01)
        assert listed.label_mass == pytest.approx(exact.label_mass, abs=0.1)
        assert drawn.label_mass is None
    for exact, listed in zip(found["codes"], found["top-codes"], strict=True):
        assert listed.probabilities["positive"] == pytest.approx(
            exact.probabilities["positive"], abs=0.05
        )


@pytest.fixture
def engine_of() -> Iterator[Callable[[str], Any]]:
    opened: list[Any] = []

    def at(url: str) -> Any:
        opened.append(open_engine(f"vllm:{url}"))
        return opened[-1]

    yield at
    for engine in opened:
        event_loop.run(engine.aclose())
