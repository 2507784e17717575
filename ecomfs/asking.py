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
from ecomfs.retrieve import Opinion
from ecomfs.types import Demonstration, Language, Posterior, Prompt, Row
from ecomfs.voice import Narrowing, Voice

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

    def ask(self, case: Case, row: Row, demonstrations: Sequence[Demonstration]) -> Case:
        """The case with its prompts, or with the reason why there are none."""
        try:
            voice = _voice(self.voices, case)
            prompt = voice.prompt(row, demonstrations, self.engine, self.budget)
            encores = tuple(
                _voice(voices, case).prompt(row, order, self.engine, self.budget)
                for voices, order in zip(
                    self.encores, self._orders(prompt, len(self.encores)), strict=True
                )
            )
        except EcomfsError as error:
            return replace(case, demonstrations=tuple(demonstrations), error=error)
        return replace(case, prompt=prompt, demonstrations=prompt.demonstrations, encores=encores)

    async def read(self, cases: Sequence[Case]) -> list[Answer]:
        """Read the cases that have prompts, one engine call a pass, language and shortlist."""
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
        alike: dict[tuple[Language, tuple[int, ...]], list[int]] = defaultdict(list)
        # Equal beginnings one after another: a small prefix cache is enough.
        for text, place in sorted((p.text, i) for i, p in enumerate(prompts) if p is not None):
            del text
            alike[cases[place].language, cases[place].shortlist].append(place)

        async def read(mine: list[int]) -> None:
            case = cases[mine[0]]
            asked = [p for i in mine if (p := prompts[i]) is not None]
            answers = await _voice(voices, case).readout.read(self.engine, asked)
            for i, answer in zip(mine, answers, strict=True):
                if case.shortlist and self.narrowing and isinstance(answer, Posterior):
                    answer = self.narrowing.widen(answer, case.shortlist, self.labels)
                out[i] = answer

        await asyncio.gather(*(read(mine) for mine in alike.values()))
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


def _voice(voices: Voices, case: Case) -> Voice:
    voice = voices[case.language]
    return voice.narrowed(case.shortlist) if case.shortlist else voice


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
