"""Labels read from a list of the likeliest next tokens, for engines that name no token.

Providers list 5 to 20 tokens, as text, and show no tokenizer. A listed token counts for the
answers that it may be the beginning of: " pos", "Positive" and "positive" for *positive*; "not"
for half of *not relevant* and half of *not sure*. What is not listed is bounded: no token off the
list is likelier than the last one on it, and all of them together have what the list leaves.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Self

from ecomfs.engine import logprobs
from ecomfs.engine.protocol import Engine, SupportsTopTokens
from ecomfs.errors import ConfigError, EngineError
from ecomfs.readout.readout import Wording
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.types import Posterior, Prompt

_STRIP = " \t\r\n▁Ġ\"'`*_#.,;:!?()[]{}<>«»“”‘’「」『』《》【】（）。，；：！？、-–—"


class TopReadout:
    """Reads labels from the likeliest next tokens: exact for the listed answers as far as their
    first tokens tell them apart.

    A label that no listed token stands for gets half of what it can have at most, which is never
    more than any listed label has. ``label_mass`` is that of the listed labels, so it is a lower
    bound. Where none is listed there is no posterior: the answer is invalid.

    Args:
        verbalizer: the answers.

    Raises:
        ConfigError: two answers differ in capitals or punctuation only.

    >>> likely = TopReadout(Verbalizer("words", ("positive", "negative", "neutral")))
    >>> p, mass = likely.posterior({" Pos": math.log(0.5), " the": math.log(0.2),
    ...                             " ne": math.log(0.1)})
    >>> [round(x, 3) for x in p], round(mass, 3)
    ([0.833, 0.083, 0.083], 0.6)
    >>> p, mass = likely.posterior({" Pos": math.log(0.8), " negative": math.log(0.1)})
    >>> [round(x, 3) for x in p], round(mass, 3)  # neutral has 0.1 at most, and gets 0.05
    ([0.842, 0.105, 0.053], 0.9)
    """

    needs: ClassVar[str] = "a list of likely tokens"
    looks = 1
    """Looks at the next-token distribution a row costs."""

    def __init__(self, verbalizer: Verbalizer) -> None:
        self.name = f"top-{verbalizer.kind}"
        self._verbalizer = verbalizer
        self._spelt = [self._normal(answer) for answer in verbalizer.answers]
        if len(set(self._spelt)) < len(self._spelt) or not all(self._spelt):
            raise ConfigError(
                "two labels differ in capitals or punctuation only, or one has nothing else",
                hint="use --readout top-codes",
            )

    @staticmethod
    def met(engine: Engine) -> bool:
        """See :class:`ecomfs.readout.Readout`."""
        return engine.capabilities.top_logprobs > 1

    @classmethod
    def of(cls, wording: Wording, engine: Engine) -> Self:
        """See :class:`ecomfs.readout.Readout`."""
        return cls(wording.verbalizer)

    def suits(self, narrowed: bool) -> bool:
        """Codes always; words whose first words differ (in Chinese, first characters)."""
        if self._verbalizer.kind == "codes":
            return True
        firsts = sorted(s.split()[0] if s[0].isascii() else s[0] for s in self._spelt)
        return not any(b.startswith(a) for a, b in pairwise(firsts))

    def narrowed(self, places: Sequence[int]) -> Self:
        """See :class:`ecomfs.readout.Readout`."""
        return type(self)(self._verbalizer.narrowed(places))

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        """See :class:`ecomfs.readout.Readout`."""
        if not isinstance(engine, SupportsTopTokens):
            raise ConfigError(f"{engine.spec} lists no tokens", hint="--readout auto")
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
        """Probabilities aligned with the answers (sum one; empty if none is listed), and the mass
        of the listed ones."""
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
        """The answers that a token may be the beginning of."""
        text = self._normal(token)
        if not text:
            return []
        if self._verbalizer.kind == "codes" and text in self._spelt:
            return [self._spelt.index(text)]  # "A" is a code of its own, although there is "AB"
        return [i for i, spelt in enumerate(self._spelt) if spelt.startswith(text)]

    def _normal(self, text: str) -> str:
        plain = unicodedata.normalize("NFKC", text).strip(_STRIP)
        return plain if self._verbalizer.kind == "codes" else " ".join(plain.casefold().split())


def bounded(shares: Sequence[float], *, last: float, rest: float) -> list[float]:
    """Shares in which every label without one has half of what it can have: no more than the
    ``last`` thing listed or any listed label, and all of them no more than the ``rest``.

    >>> bounded([0.6, 0.0, 0.2, 0.0], last=0.1, rest=0.05)
    [0.6, 0.0125, 0.2, 0.0125]
    """
    unseen = sum(share <= 0 for share in shares)
    if not unseen:
        return list(shares)
    least = min((share for share in shares if share > 0), default=0.0)
    most = max(0.0, min(last, rest / unseen, least))
    return [share if share > 0 else most / 2 for share in shares]
