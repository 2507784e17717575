"""An answer drawn under a constraint to the label words, for engines that cannot be asked more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

from ecomfs.engine import logprobs
from ecomfs.engine.protocol import ChosenAnswer, Engine, SupportsChoice
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.likely import bounded
from ecomfs.readout.readout import Wording
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.types import Posterior, Prompt


class ChoiceReadout:
    """Has one of the answers drawn, greedily, and nothing else.

    Where the engine lists the alternatives of every token of the answer, the probability of an
    answer is what falls off along the way: at every token the share of an alternative goes to the
    answers that it leads to, in equal parts, and the last share to the answer that was drawn.
    Where it lists none the posterior is one-hot: there is no honest confidence to report.
    ``label_mass`` is unknown either way, because the constraint hides it.

    Args:
        verbalizer: the answers.
        separator: what stands between cue and answer.

    >>> choice = ChoiceReadout(Verbalizer("words", ("good", "bad", "broken")), " ")
    >>> steps = [(" b", {" good": math.log(0.2), " b": math.log(0.8)}),
    ...          ("ad", {"ad": math.log(0.75), "roken": math.log(0.25)})]
    >>> [round(p, 2) for p in choice.posterior(ChosenAnswer(" bad", tuple(steps)))]
    [0.2, 0.6, 0.2]
    >>> choice.posterior(ChosenAnswer(" bad"))
    (0.0, 1.0, 0.0)
    >>> choice.posterior(ChosenAnswer(" bad idea"))
    ()
    """

    needs: ClassVar[str] = "a constraint to given answers"
    name = "choice"

    def __init__(self, verbalizer: Verbalizer, separator: str) -> None:
        self._verbalizer = verbalizer
        self._separator = separator
        self._answers = [separator + answer for answer in verbalizer.answers]

    @staticmethod
    def met(engine: Engine) -> bool:
        """See :class:`ecomfs.readout.Readout`."""
        return engine.capabilities.choice

    @classmethod
    def of(cls, wording: Wording, engine: Engine) -> Self:
        """See :class:`ecomfs.readout.Readout`."""
        return cls(wording.verbalizer, wording.separator)

    def suits(self, narrowed: bool) -> bool:
        """Always: answers may have any length."""
        return True

    def narrowed(self, places: Sequence[int]) -> Self:
        """See :class:`ecomfs.readout.Readout`."""
        return type(self)(self._verbalizer.narrowed(places), self._separator)

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        """See :class:`ecomfs.readout.Readout`."""
        if not isinstance(engine, SupportsChoice):
            raise ConfigError(f"{engine.spec} cannot choose among answers", hint="--readout auto")
        return [
            choice
            if isinstance(choice, EngineError)
            else Posterior(
                self.posterior(choice),
                raw=choice.text,
                prompt_tokens=choice.prompt_tokens,
                cached_tokens=choice.cached_tokens,
            )
            for choice in await logprobs.choose(engine, prompts, self._answers)
        ]

    def posterior(self, choice: ChosenAnswer) -> tuple[float, ...]:
        """Probabilities aligned with the answers (sum one); empty where the constraint did not
        bite."""
        if choice.text not in self._answers:
            return ()
        drawn = self._answers.index(choice.text)
        shares = self._shares(choice, drawn)
        if shares is None:
            return tuple(float(place == drawn) for place in range(len(self._answers)))
        first = [math.exp(p) for p in choice.steps[0][1].values()]
        full = bounded(shares, last=min(first), rest=1 - math.fsum(first))
        total = math.fsum(full)
        return tuple(share / total for share in full)

    def _shares(self, choice: ChosenAnswer, drawn: int) -> list[float] | None:
        """``None`` where the listed texts do not spell the answer (as halves of characters)."""
        if not choice.steps:
            return None
        shares = [0.0] * len(self._answers)
        left, said = 1.0, ""
        for token, listed in choice.steps:
            if sum(answer.startswith(said) for answer in self._answers) == 1:
                break
            ways = {text: self._leading_to(said, text) for text in listed}
            total = math.fsum(math.exp(p) for text, p in listed.items() if ways[text])
            if total <= 0 or drawn not in ways.get(token, ()):
                return None
            for text, places in ways.items():
                if text == token or not places:
                    continue
                for place in places:
                    shares[place] += left * math.exp(listed[text]) / total / len(places)
            left *= math.exp(listed[token]) / total
            said += token
        shares[drawn] += left
        return shares

    def _leading_to(self, said: str, text: str) -> list[int]:
        """The answers that begin so. A text that leads to none ends an answer that is whole."""
        found = [i for i, a in enumerate(self._answers) if text and a.startswith(said + text)]
        if found or said not in self._answers:
            return found
        return [self._answers.index(said)]
