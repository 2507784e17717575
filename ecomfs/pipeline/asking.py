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
from ecomfs.pipeline.language_setup import Narrowing, Voice
from ecomfs.prompt import PromptInput
from ecomfs.types import Demonstration, Language, Posterior, Prompt, Row

Voices = Mapping[Language, Voice]
Answer = Posterior | EcomfsError | None
"""What reading a case gave; ``None``: it was not asked."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row on its way: what was asked, with which demonstrations; or why it could not be.

    ``opinion``: what the cheap experts say of it; ``skipped``: they are sure enough for the model
    not to be asked; ``shortlist``: positions of the labels it is asked about, empty for all;
    ``encores``: the prompts of further passes.
    """

    id: str
    language: Language
    demonstrations: tuple[Demonstration, ...] = ()
    prompt: Prompt | None = None
    error: EcomfsError | None = None
    opinion: Opinion | None = None
    skipped: bool = False
    shortlist: tuple[int, ...] = ()
    encores: tuple[Prompt, ...] = ()


@dataclass(frozen=True, slots=True)
class Asker:
    """How the model is asked.

    Attributes:
        voices: of the first pass, by language.
        encores: of each further pass.
        budget: most prompt tokens.
        narrowing: makes posteriors over shortlists into ones over all labels.
        labels: how many there are.
        seed: of the orders of further passes.
    """

    engine: Engine
    voices: Voices
    encores: tuple[Voices, ...]
    budget: int | None
    narrowing: Narrowing | None
    labels: int
    seed: int = 0

    def ask(self, cases: Sequence[Case], rows: Sequence[Row]) -> list[Case]:
        """Cases with their demonstrations as cases with their prompts, or with the reason why
        there are none. Those that are skipped, or have an error already, are left as they are."""
        places = [i for i, case in enumerate(cases) if not (case.skipped or case.error)]
        asked = [PromptInput(rows[i], cases[i].demonstrations, cases[i].shortlist) for i in places]
        found = self._prompts(self.voices, [cases[i].language for i in places], asked)
        out = list(cases)
        for i, one, prompt in zip(places, asked, found, strict=True):
            case = cases[i]
            if isinstance(prompt, EcomfsError):
                out[i] = replace(case, error=prompt)
            elif self.encores:
                out[i] = self._with_encores(case, one, prompt)
            else:
                out[i] = Case(
                    case.id, case.language, prompt.demonstrations, prompt,
                    opinion=case.opinion, shortlist=case.shortlist,
                )  # fmt: skip
        return out

    def _with_encores(self, case: Case, asked: PromptInput, prompt: Prompt) -> Case:
        encores = []
        orders = self._orders(prompt, len(self.encores))
        for voices, order in zip(self.encores, orders, strict=True):
            again = asked._replace(demonstrations=order)
            (found,) = self._prompts(voices, [case.language], [again])
            if isinstance(found, EcomfsError):
                return replace(case, error=found)
            encores.append(found)
        return replace(
            case, prompt=prompt, demonstrations=prompt.demonstrations, encores=tuple(encores)
        )

    def _prompts(
        self, voices: Voices, languages: Sequence[Language], asked: Sequence[PromptInput]
    ) -> list[Prompt | EcomfsError]:
        """One a row, in order; rows of a language together."""
        found: dict[int, Prompt | EcomfsError] = {}
        for language in dict.fromkeys(languages):
            mine = [i for i, other in enumerate(languages) if other == language]
            prompts = voices[language].prompts([asked[i] for i in mine], self.engine, self.budget)
            found.update(zip(mine, prompts, strict=True))
        return [found[i] for i in range(len(asked))]

    async def read(self, cases: Sequence[Case]) -> list[Answer]:
        """Read the cases that have prompts, one engine call a pass and language; cases with
        shortlists apart."""
        passes = [[case.prompt for case in cases]]
        for number in range(len(self.encores)):
            passes.append([c.encores[number] if c.encores else None for c in cases])
        found = await asyncio.gather(
            *(
                self._pass(voices, cases, prompts)
                for voices, prompts in zip((self.voices, *self.encores), passes, strict=True)
            )
        )
        return [
            case.error or _averaged(answers)
            for case, answers in zip(cases, zip(*found, strict=True), strict=True)
        ]

    async def _pass(
        self, voices: Voices, cases: Sequence[Case], prompts: Sequence[Prompt | None]
    ) -> list[Answer]:
        out: list[Answer] = [None for _ in cases]
        alike: dict[tuple[Language, bool], list[int]] = defaultdict(list)
        # Equal beginnings one after another: a small prefix cache is enough.
        for text, place in sorted((p.text, i) for i, p in enumerate(prompts) if p is not None):
            del text
            alike[cases[place].language, bool(cases[place].shortlist)].append(place)

        async def read(language: Language, short: bool, mine: list[int]) -> None:
            asked = [p for i in mine if (p := prompts[i]) is not None]
            readout = voices[language].readout
            if not short:
                out_of_all = await readout.read(self.engine, asked)
                for i, answer in zip(mine, out_of_all, strict=True):
                    out[i] = answer
                return
            lists = [cases[i].shortlist for i in mine]
            answers = await readout.read_each(self.engine, asked, lists)
            for i, shortlist, answer in zip(mine, lists, answers, strict=True):
                if self.narrowing and isinstance(answer, Posterior):
                    out[i] = self.narrowing.widen(answer, shortlist, self.labels)
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


__all__ = ["Answer", "Asker", "Case"]
