"""Asking the model: from a row and its demonstrations to a posterior, in one pass or several.

Several passes (self-consistency, Wang et al. 2022, arXiv:2203.11171, without its reasoning
chains) ask the same row with its demonstrations in other orders and, with codes, with other codes
for the labels; the posteriors are averaged. What a single order favours by chance averages out,
at the price of a reading a pass.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecomfs.engine.protocol import Engine
from ecomfs.errors import EcomfsError
from ecomfs.experts import Opinion
from ecomfs.pipeline.language_setup import LabelShortlist, LanguageSetup
from ecomfs.prompt import Asked
from ecomfs.readout import read_shortlists
from ecomfs.types import Demonstration, Language, Posterior, Prompt, Row

LanguageSetups = Mapping[Language, LanguageSetup]
Answer = Posterior | EcomfsError | None
"""What reading a state gave; ``None``: it was not asked."""


@dataclass(frozen=True, slots=True)
class RowState:
    """One row on its way: what was asked, with which demonstrations; or why it could not be.

    ``opinion``: what the cheap experts say of it; ``skipped``: they are sure enough for the model
    not to be asked; ``shortlist``: positions of the labels it is asked about, empty for all;
    ``extra_passes``: the prompts of further passes.
    """

    id: str
    language: Language
    demonstrations: tuple[Demonstration, ...] = ()
    prompt: Prompt | None = None
    error: EcomfsError | None = None
    opinion: Opinion | None = None
    skipped: bool = False
    shortlist: tuple[int, ...] = ()
    extra_passes: tuple[Prompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Asker:
    """How the model is asked.

    Attributes:
        setups: of the first pass, by language.
        extra_passes: of each further pass.
        budget: most prompt tokens.
        label_shortlist: makes posteriors over shortlists into ones over all labels.
        labels: how many there are.
        seed: of the orders of further passes.
    """

    engine: Engine
    setups: LanguageSetups
    extra_passes: tuple[LanguageSetups, ...]
    budget: int | None
    label_shortlist: LabelShortlist | None
    labels: int
    seed: int = 0

    def ask(self, states: Sequence[RowState], rows: Sequence[Row]) -> list[RowState]:
        """Cases with their demonstrations as states with their prompts, or with the reason why
        there are none. Those that are skipped, or have an error already, are left as they are."""
        places = [i for i, state in enumerate(states) if not (state.skipped or state.error)]
        asked = [Asked(rows[i], states[i].demonstrations, states[i].shortlist) for i in places]
        found = self._prompts(self.setups, [states[i].language for i in places], asked)
        out = list(states)
        for i, one, prompt in zip(places, asked, found, strict=True):
            state = states[i]
            if isinstance(prompt, EcomfsError):
                out[i] = replace(state, error=prompt)
            elif self.extra_passes:
                out[i] = self._with_extra_passes(state, one, prompt)
            else:
                out[i] = RowState(
                    state.id, state.language, prompt.demonstrations, prompt,
                    opinion=state.opinion, shortlist=state.shortlist,
                )  # fmt: skip
        return out

    def _with_extra_passes(self, state: RowState, asked: Asked, prompt: Prompt) -> RowState:
        extra_passes = []
        orders = self._orders(prompt, len(self.extra_passes))
        for setups, order in zip(self.extra_passes, orders, strict=True):
            again = asked._replace(demonstrations=order)
            (found,) = self._prompts(setups, [state.language], [again])
            if isinstance(found, EcomfsError):
                return replace(state, error=found)
            extra_passes.append(found)
        return replace(
            state,
            prompt=prompt,
            demonstrations=prompt.demonstrations,
            extra_passes=tuple(extra_passes),
        )

    def _prompts(
        self, setups: LanguageSetups, languages: Sequence[Language], asked: Sequence[Asked]
    ) -> list[Prompt | EcomfsError]:
        """One a row, in order; rows of a language together."""
        found: dict[int, Prompt | EcomfsError] = {}
        for language in dict.fromkeys(languages):
            mine = [i for i, other in enumerate(languages) if other == language]
            prompts = setups[language].prompts([asked[i] for i in mine], self.engine, self.budget)
            found.update(zip(mine, prompts, strict=True))
        return [found[i] for i in range(len(asked))]

    async def read(self, states: Sequence[RowState]) -> list[Answer]:
        """Read the states that have prompts, one engine call a pass and language; states with
        shortlists apart."""
        passes = [[state.prompt for state in states]]
        for number in range(len(self.extra_passes)):
            passes.append([c.extra_passes[number] if c.extra_passes else None for c in states])
        found = await asyncio.gather(
            *(
                self._pass(setups, states, prompts)
                for setups, prompts in zip((self.setups, *self.extra_passes), passes, strict=True)
            )
        )
        return [
            state.error or _averaged(answers)
            for state, answers in zip(states, zip(*found, strict=True), strict=True)
        ]

    async def _pass(
        self, setups: LanguageSetups, states: Sequence[RowState], prompts: Sequence[Prompt | None]
    ) -> list[Answer]:
        out: list[Answer] = [None for _ in states]
        alike: dict[tuple[Language, bool], list[int]] = defaultdict(list)
        # Equal beginnings one after another: a small prefix cache is enough.
        for text, place in sorted((p.text, i) for i, p in enumerate(prompts) if p is not None):
            del text
            alike[states[place].language, bool(states[place].shortlist)].append(place)

        async def read(language: Language, short: bool, mine: list[int]) -> None:
            asked = [p for i in mine if (p := prompts[i]) is not None]
            readout = setups[language].readout
            if not short:
                out_of_all = await readout.read(self.engine, asked)
                for i, answer in zip(mine, out_of_all, strict=True):
                    out[i] = answer
                return
            lists = [states[i].shortlist for i in mine]
            answers = await read_shortlists(readout, self.engine, asked, lists)
            for i, shortlist, answer in zip(mine, lists, answers, strict=True):
                if self.label_shortlist and isinstance(answer, Posterior):
                    out[i] = self.label_shortlist.widen(answer, shortlist, self.labels)
                else:
                    out[i] = answer

        await asyncio.gather(*(read(*key, mine) for key, mine in alike.items()))
        return out

    def _orders(self, prompt: Prompt, count: int) -> list[list[Demonstration]]:
        """Other orders of the demonstrations that found room, by lot; the same ones for the same
        prompt."""
        if not count:
            return []
        lots = random.Random(f"{self.seed}/{prompt.text}")
        orders = []
        for _ in range(count):
            order = list(prompt.demonstrations)
            lots.shuffle(order)
            orders.append(order)
        return orders


def _averaged(answers: Sequence[Answer]) -> Answer:
    """One answer of several passes: the first error, or the mean of the posteriors that could be
    parsed."""
    for answer in answers:
        if not isinstance(answer, Posterior):
            return answer
    given = [a for a in answers if isinstance(a, Posterior)]
    parsed = [a for a in given if a.probabilities]
    if len(given) == 1 or not parsed:
        return given[0]
    masses = [a.label_mass for a in parsed if a.label_mass is not None]
    columns = zip(*(a.probabilities for a in parsed), strict=True)
    return Posterior(
        tuple(sum(column) / len(parsed) for column in columns),
        sum(masses) / len(masses) if masses else None,
        raw=given[0].raw,
        prompt_tokens=sum(a.prompt_tokens for a in given),
        cached_tokens=sum(a.cached_tokens for a in given),
    )


__all__ = ["Answer", "Asker", "RowState"]
