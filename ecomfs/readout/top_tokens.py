"""Read-outs from lists of top tokens, for engines that cannot score given tokens.

:class:`TopReadout` reads the list of the likeliest next tokens, :class:`ChoiceReadout` the lists
returned with an answer from constrained decoding.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Self

from ecomfs.engine import logprobs
from ecomfs.engine.protocol import ChosenAnswer, Engine, SupportsChoice, SupportsTopTokens
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.logprob import AnswerFormat, Readout
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.types import Posterior, Prompt

_STRIP = " \t\r\n▁Ġ\"'`*_#.,;:!?()[]{}<>«»“”‘’「」『』《》【】（）。，；：！？、-–—"


class TopReadout(Readout):
    """Reads labels from the likeliest next tokens; exact for listed answers whose first tokens
    differ.

    Providers list 5 to 20 tokens as text, without a tokenizer. A listed token counts for the
    answers that it may begin: " pos", "Positive" and "positive" for *positive*; "not" half for *not
    relevant* and half for *not sure*.

    The probability of an unlisted label is bounded: no unlisted token is likelier than the last
    listed one, and all of them together have the rest of the probability. The label gets half of
    its bound, and never more than a listed label. ``label_mass`` is that of the listed labels, a
    lower bound. If no label is listed, there is no posterior: the answer is invalid.

    Parameters
    ----------
    verbalizer
        The answers.

    Raises
    ------
    ConfigError
        Two answers differ in capitals or punctuation only.

    Examples
    --------
    >>> likely = TopReadout(Verbalizer("words", ("positive", "negative", "neutral")))
    >>> p, mass = likely.posterior({" Pos": math.log(0.5), " the": math.log(0.2),
    ...                             " ne": math.log(0.1)})
    >>> [round(x, 3) for x in p], round(mass, 3)
    ([0.833, 0.083, 0.083], 0.6)
    >>> p, mass = likely.posterior({" Pos": math.log(0.8), " negative": math.log(0.1)})
    >>> [round(x, 3) for x in p], round(mass, 3)  # neutral has 0.1 at most, and gets 0.05
    ([0.842, 0.105, 0.053], 0.9)
    """

    needs = "a list of likely tokens"
    reads_per_row = 1
    """Next-token distributions per row."""

    def __init__(self, verbalizer: Verbalizer) -> None:
        self.name = f"top-{verbalizer.kind}"
        self._verbalizer = verbalizer
        self._spelt = [self._normal(answer) for answer in verbalizer.answers]
        if len(set(self._spelt)) < len(self._spelt) or not all(self._spelt):
            raise ConfigError(
                "two labels differ in capitals or punctuation only, or a label has no letters",
                hint="use --readout top-codes",
            )

    @staticmethod
    def supported(engine: Engine) -> bool:
        return engine.capabilities.top_logprobs > 1

    @classmethod
    def of(cls, wording: AnswerFormat, engine: Engine) -> Self:
        return cls(wording.verbalizer)

    def suits(self, shortlisted: bool) -> bool:
        """True for codes, and for words if their first words differ (in Chinese, first
        characters)."""
        if self._verbalizer.kind == "codes":
            return True
        firsts = sorted(s.split()[0] if s[0].isascii() else s[0] for s in self._spelt)
        return not any(b.startswith(a) for a, b in pairwise(firsts))

    def subset(self, places: Sequence[int]) -> Self:
        return type(self)(self._verbalizer.subset(places))

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        if not isinstance(engine, SupportsTopTokens):
            raise ConfigError(
                f"engine {engine.spec} does not list top tokens", hint="use --readout auto"
            )
        out: list[Posterior | EngineError] = []
        for listed in await logprobs.top(engine, prompts):
            if isinstance(listed, EngineError):
                out.append(listed)
                continue
            probabilities, mass = self.posterior(listed.logprobs)
            out.append(
                Posterior(
                    probabilities,
                    mass,
                    raw=None if probabilities else next(iter(listed.logprobs), ""),
                    prompt_tokens=listed.prompt_tokens,
                    cached_tokens=listed.cached_tokens,
                )
            )
        return out

    def posterior(self, listed: Mapping[str, float]) -> tuple[tuple[float, ...], float]:
        """Probabilities of the answers (their sum is one; empty if none is listed), and the mass of
        the listed ones."""
        shares = [0.0] * len(self._spelt)
        for token, logprob in listed.items():
            places = self._begun(token)
            for place in places:
                shares[place] += math.exp(logprob) / len(places)
        seen = math.fsum(shares)
        if seen <= 0:
            return (), 0.0
        chances = [math.exp(p) for p in listed.values()]
        full = bounded(shares, last=min(chances), rest=1 - math.fsum(chances))
        total = math.fsum(full)
        return tuple(share / total for share in full), min(seen, 1.0)

    def _begun(self, token: str) -> list[int]:
        """The answers that a token may begin."""
        text = self._normal(token)
        if not text:
            return []
        if self._verbalizer.kind == "codes" and text in self._spelt:
            return [self._spelt.index(text)]  # "A" is a code even if "AB" is one too
        return [i for i, spelt in enumerate(self._spelt) if spelt.startswith(text)]

    def _normal(self, text: str) -> str:
        plain = unicodedata.normalize("NFKC", text).strip(_STRIP)
        return plain if self._verbalizer.kind == "codes" else " ".join(plain.casefold().split())


class ChoiceReadout(Readout):
    """Decodes one of the answers greedily by constrained decoding.

    If the engine lists the alternatives of every token of the answer, the share of each alternative
    goes in equal parts to the answers that it leads to, and the rest to the decoded answer.
    Otherwise the posterior is one-hot, since the confidence is unknown. ``label_mass`` is unknown
    in both cases, because of the constraint.

    Parameters
    ----------
    verbalizer
        The answers.
    separator
        The text between cue and answer.

    Examples
    --------
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

    needs = "a constraint to given answers"
    name = "choice"

    def __init__(self, verbalizer: Verbalizer, separator: str) -> None:
        self._verbalizer = verbalizer
        self._separator = separator
        self._answers = [separator + answer for answer in verbalizer.answers]

    @staticmethod
    def supported(engine: Engine) -> bool:
        return engine.capabilities.choice

    @classmethod
    def of(cls, wording: AnswerFormat, engine: Engine) -> Self:
        return cls(wording.verbalizer, wording.separator)

    def subset(self, places: Sequence[int]) -> Self:
        return type(self)(self._verbalizer.subset(places), self._separator)

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        if not isinstance(engine, SupportsChoice):
            raise ConfigError(
                f"engine {engine.spec} has no constrained decoding", hint="use --readout auto"
            )
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
        """Probabilities of the answers (their sum is one); empty if the constraint was not
        enforced."""
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
        """Share of each answer; ``None`` if the listed texts do not form the decoded answer, such
        as parts of characters."""
        if not choice.steps:
            return None
        shares = [0.0] * len(self._answers)
        left, prefix = 1.0, ""
        for token, listed in choice.steps:
            if sum(answer.startswith(prefix) for answer in self._answers) == 1:
                break
            ways = {text: self._leading_to(prefix, text) for text in listed}
            total = math.fsum(math.exp(p) for text, p in listed.items() if ways[text])
            if total <= 0 or drawn not in ways.get(token, ()):
                return None
            for text, places in ways.items():
                if text == token or not places:
                    continue
                for place in places:
                    shares[place] += left * math.exp(listed[text]) / total / len(places)
            left *= math.exp(listed[token]) / total
            prefix += token
        shares[drawn] += left
        return shares

    def _leading_to(self, prefix: str, text: str) -> list[int]:
        """The answers that begin with ``prefix + text``; if none does, the answer that equals
        ``prefix``, which the text ends."""
        found = [i for i, a in enumerate(self._answers) if text and a.startswith(prefix + text)]
        if found or prefix not in self._answers:
            return found
        return [self._answers.index(prefix)]


def bounded(shares: Sequence[float], *, last: float, rest: float) -> list[float]:
    """The shares, where every label without one gets half of its bound: at most the ``last`` listed
    probability and the share of any listed label, and all together at most ``rest``.

    >>> bounded([0.6, 0.0, 0.2, 0.0], last=0.1, rest=0.05)
    [0.6, 0.0125, 0.2, 0.0125]
    """
    unseen = sum(share <= 0 for share in shares)
    if not unseen:
        return list(shares)
    least = min((share for share in shares if share > 0), default=0.0)
    most = max(0.0, min(last, rest / unseen, least))
    return [share if share > 0 else most / 2 for share in shares]
