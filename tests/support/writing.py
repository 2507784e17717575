"""A scripted engine that writes what it is told to and reads by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripted import ScriptedEngine

from ecomfs.engine.protocol import Capabilities, Sampling
from ecomfs.errors import EngineError, EngineUnavailableError
from ecomfs.estimators import FewShotClassifier
from ecomfs.prepare.augment import CandidateFilter, FilterPolicy
from ecomfs.types import Example, Generation, Prompt, Question

SOURCE = "the strap came off and it broke at once"
POOL = [
    Example("n1", {"text": SOURCE}, "negative"),
    Example("n1b", {"text": "The strap came off, it broke at once!"}, "negative"),
    Example("n2", {"text": "arrived with a scratch, the lid is broken and it leaks"}, "negative"),
    *(
        Example(f"p{i}", {"text": f"{what} works very well, we like it a lot"}, "positive")
        for i, what in enumerate(["the kettle", "this lamp", "our new tent", "my old phone"])
    ),
]


def by_words(text: str) -> str:
    """The label that the words of a text indicate; empty if there is none."""
    low = text.casefold()
    if any(word in low for word in ("broke", "leak", "scratch", "坏")):
        return "negative"
    return "positive" if any(word in low for word in ("well", "love", "like")) else ""


class Writer(ScriptedEngine):
    """Writes ``answer(source text, seed)``; reads the label that :func:`by_words` sees.

    Attributes:
        asked: the prompts it read labels after.
        seeds: of its calls.
        gone_after: calls of ``generate`` that succeed before it is gone.
    """

    def __init__(
        self, answer: Callable[[str, int], str], *, generates: bool = True, **options: object
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        old = self.capabilities
        self.capabilities = Capabilities(old.logprobs, generates, False, old.context_tokens)
        self._answer = answer
        self.asked: list[str] = []
        self.seeds: list[int] = []
        self.gone_after: int | None = None

    async def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        sampling: Sampling | None = None,
    ) -> list[Generation | EngineError]:
        if self.gone_after == len(self.seeds):
            raise EngineUnavailableError("the server does not answer")
        assert sampling is not None
        self.seeds.append(sampling.seed)
        out: list[Generation | EngineError] = []
        for prompt in prompts:
            line = prompt.text.splitlines()[-2]
            source = line.split(": ", 1)[-1].split("：", 1)[-1]
            text = self._answer(source, sampling.seed)
            out.append(self._failure(prompt) or Generation(text))
        return out

    def _weight(self, prompt: Prompt, question: Question, code: int) -> float:
        text = self._text([code]).strip()
        row = prompt.text.splitlines()[-2]
        if text in ("positive", "negative"):
            self.asked.append(prompt.text)
            label = by_words(row)
            if not label:
                return 1.5 if text == "negative" else 1.0
            return 20.0 if label == text else 1.0
        return super()._weight(prompt, question, code)


def checks(
    engine: ScriptedEngine, pool: Sequence[Example] = POOL, **policy: float
) -> CandidateFilter:
    """Checks on a classifier that was fitted on ``pool``."""
    clf = FewShotClassifier(
        "review_sentiment", engine, k=4, embedder="hashed", language="en", calibration_size=0
    ).fit(list(pool))
    return CandidateFilter(clf.pipeline_, "text", FilterPolicy(**policy))
