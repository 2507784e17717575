"""What a run would do and cost, before anything is spent."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecomfs.batch.answer import row_key
from ecomfs.batch.estimate import Interval, Prices, both, cost_of, share_of, total_of
from ecomfs.batch.identity import Identity, differences
from ecomfs.batch.journal import Journal
from ecomfs.batch.output import Columns, journal_path
from ecomfs.batch.runlog import last_rate
from ecomfs.batch.select import Selection
from ecomfs.core import event_loop
from ecomfs.engine.cached import CachedEngine
from ecomfs.errors import ConfigError
from ecomfs.io import IdTracker, TableReader
from ecomfs.pipeline import Case, Pipeline
from ecomfs.pool import sample_queries
from ecomfs.readout import LogprobReadout, TopReadout
from ecomfs.retrieve import simulate_prefix_cache
from ecomfs.types import Row

MAX_PROMPTS = 500
"""Above this many rows to ask, prompts are counted on a sample."""
_ANSWER_TOKENS = 24
"""Most tokens of an answer that is generated, not read (:class:`ecomfs.readout.TextReadout`)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        rows: chosen rows.
        left_out: rows that the selection passes over.
        unusable: chosen rows that cannot be read or prompted; they fail without the model.
        copies: rows identical to an earlier one.
        journaled: rows' answers that an interrupted run left.
        journal: why the journal that is there could not be used; empty otherwise.
        remembered: of the rows to ask, how many the reading cache knows.
        asked: rows that the model would read.
        prompt_tokens, answer_tokens: of all rows the model would read; ``None`` for a model that
            does not show its tokenizer.
        shared: share of the prompt tokens that a server with a prefix cache would not compute
            again (played on the sampled prompts in their order, one after another).
        sampled: prompts that were rendered to find out.
        rate: tokens a second, or rows a second where tokens are unknown; ``None`` when unknown.
        rate_from: where the rate comes from, in words.
        seconds: of model time, the fit's with it; ``None`` without a rate.
        cost: in the currency of the prices, the fit's with it; ``None`` without prices or tokens.
        fit: what is read before the first row.
    """

    rows: int
    left_out: int
    unusable: int
    copies: int
    journaled: int
    journal: str
    remembered: Interval
    asked: Interval
    prompt_tokens: Interval | None
    answer_tokens: Interval | None
    shared: float | None
    sampled: int
    rate: float | None
    rate_from: str
    seconds: Interval | None
    cost: Interval | None
    fit: FitPlan


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What a fit would read.

    Attributes:
        examples: to read leave-one-out.
        remembered: of these, how many the reading cache knows.
        tokens: of the prompts of the others; ``None`` where the model shows no tokenizer.
    """

    examples: int = 0
    remembered: int = 0
    tokens: int | None = 0

    @property
    def asked(self) -> int:
        """Examples that the model would read."""
        return self.examples - self.remembered


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one pass over the input finds."""

    rows: int
    left_out: int
    unusable: int
    copies: int
    journaled: int
    new: int
    sample: list[Row]


def plan_table(
    source: str,
    output: Path,
    pipeline: Pipeline,
    columns: Columns,
    selection: Selection,
    identity: Identity,
    *,
    prices: Prices | None = None,
    probe: int = 0,
    block_size: int = 16,
    max_prompts: int = MAX_PROMPTS,
    seed: int = 0,
    readings: int = 0,
    encoding: str | None = None,
) -> Plan:
    """Look at every row, render the prompts of all or of a sample, and add up.

    Args:
        identity: :func:`ecomfs.batch.score.run_identity` of the run.
        probe: rows that the model reads now, to time it; 0 uses the rate of its last run. They
            are kept in the reading cache, so that the run does not read them again.
        block_size: tokens a block of the prefix cache.
        readings: examples that the run reads leave-one-out before its first row.
        encoding: of a source that is not UTF-8; found out by default.

    Raises:
        InputError: the input cannot be read.
        EngineError: the probe fails.
    """
    journal, why = _journal(journal_path(output), identity)
    try:
        reader = TableReader(source, encoding=encoding)
        found = _scan(reader, pipeline, columns, selection, journal, max_prompts, seed)
    finally:
        if journal is not None:
            journal.close()
    return _plan(
        pipeline, found, why, prices, probe, block_size, plan_fit(pipeline, readings, seed)
    )


def plan_rows(
    pipeline: Pipeline,
    rows: Iterable[Row],
    *,
    left_out: int = 0,
    unusable: int = 0,
    probe: int = 0,
    max_prompts: int = MAX_PROMPTS,
    seed: int = 0,
    readings: int = 0,
) -> Plan:
    """:func:`plan_table` of rows in memory, each of which is asked.

    Args:
        left_out: rows that are not among ``rows``, because nobody wants them.
        unusable: rows that are not among them, because they cannot be read.
    """
    sample = _Sample(max_prompts, seed)
    for row in rows:
        sample.add(row)
    found = _Rows(sample.seen + unusable, left_out, unusable, 0, 0, sample.seen, sample.rows)
    return _plan(pipeline, found, "", None, probe, 16, plan_fit(pipeline, readings, seed))


def plan_fit(pipeline: Pipeline, readings: int, seed: int) -> FitPlan:
    """What a fit of this many readings would read.

    Args:
        pipeline: not fitted yet.
        seed: of the draw of examples.
    """
    if pipeline.retriever is None or not readings:
        return FitPlan()
    examples = sample_queries(pipeline.retriever.examples, readings, seed)
    cases = pipeline.prepare(
        [e.fields for e in examples], [e.id for e in examples],
        exclude_ids=[{e.id} for e in examples], leave_self_out=True,
    )  # fmt: skip
    prompted = [case for case in cases if case.prompt is not None]
    known = event_loop.run(_known(pipeline, prompted))
    to_ask = [case for case, there in zip(prompted, known, strict=True) if not there]
    tokens = None if pipeline.engine.tokenizer is None else sum(map(_tokens, to_ask))
    return FitPlan(len(prompted), sum(known), tokens)


def _tokens(case: Case) -> int:
    """Of the prompts of all passes."""
    return sum(len(p.token_ids) for p in (case.prompt, *case.encores) if p is not None)


def _plan(
    pipeline: Pipeline,
    found: _Rows,
    why: str,
    prices: Prices | None,
    probe: int,
    block_size: int,
    fit: FitPlan,
) -> Plan:
    cases = pipeline.prepare(found.sample, [str(i) for i in range(len(found.sample))])
    prompted = [case for case in cases if case.prompt is not None and not case.skipped]
    known = event_loop.run(_known(pipeline, prompted))
    to_ask = [case for case, there in zip(prompted, known, strict=True) if not there]
    whole = len(found.sample) == found.new
    bad = share_of(len(cases) - len(prompted), len(cases), found.new, whole)
    remembered = share_of(sum(known), len(cases), found.new, whole)
    asked = share_of(len(to_ask), len(cases), found.new, whole)
    prompt_tokens = None
    if pipeline.engine.tokenizer is not None:
        prompt_tokens = total_of([_tokens(c) for c in to_ask], asked, whole)
    answer_tokens = asked * (_looks(pipeline) or _ANSWER_TOKENS)
    ids = [c.prompt.token_ids for c in to_ask if c.prompt and c.prompt.token_ids]
    shared = simulate_prefix_cache(ids, block_size=block_size).hit_rate
    rate, rate_from = _rate(pipeline, to_ask, probe)
    # Prompts differ in length, by k and by field: time goes by tokens where they can be counted.
    work = asked + Interval(fit.asked, fit.asked, fit.asked)
    spent = prompt_tokens
    if prompt_tokens is not None and fit.tokens is not None:
        work = spent = prompt_tokens + Interval(fit.tokens, fit.tokens, fit.tokens)
    return Plan(
        rows=found.rows,
        left_out=found.left_out,
        unusable=found.unusable + round(bad.value),
        copies=found.copies,
        journaled=found.journaled,
        journal=why,
        remembered=remembered,
        asked=asked,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        shared=shared,
        sampled=len(cases),
        rate=rate,
        rate_from=rate_from,
        seconds=work * (1 / rate) if rate else None,
        cost=cost_of(prices, spent, answer_tokens, shared),
        fit=fit,
    )


def _journal(path: Path, identity: Identity) -> tuple[Journal | None, str]:
    """The journal of an interrupted run, if it is one of this run."""
    if not path.exists():
        return None, ""
    journal = Journal(path)
    known = journal.get("identity")
    changed = [] if known is None else differences(known, identity)
    if known is None or changed:
        journal.close()
        return None, f"{path}: another run's ({', '.join(changed)} changed)" if changed else ""
    return journal, ""


def _scan(
    reader: TableReader,
    pipeline: Pipeline,
    columns: Columns,
    selection: Selection,
    journal: Journal | None,
    most: int,
    seed: int,
) -> _Rows:
    """One pass over the input."""
    chosen = selection.over(reader)
    seen = IdTracker()
    unusable = copies = journaled = 0
    sample = _Sample(most, seed)
    for chunk in reader:
        fresh: dict[bytes, dict[str, Any]] = {}
        for _, row in chosen.of(chunk.rows, chunk.first):
            if row.error:
                unusable += 1
                continue
            values = columns.fields.fields(row.cells, pipeline.card)
            key = row_key(values)
            if seen.add(key.hex()):
                fresh[key] = values
            else:
                copies += 1
        known = journal.known(list(fresh)) if journal is not None else set()
        journaled += len(known)
        for key, values in fresh.items():
            if key not in known:
                sample.add(values)
        if chosen.full:
            break
    return _Rows(
        chosen.kept, chosen.left_out, unusable, copies, journaled, sample.seen, sample.rows
    )


class _Sample:
    """Rows drawn as they come (reservoir, Vitter 1985, algorithm R)."""

    def __init__(self, most: int, seed: int) -> None:
        self.seen = 0
        self._most = most
        self._chance = random.Random(seed)
        self._kept: list[tuple[int, Row]] = []

    def add(self, row: Row) -> None:
        full = len(self._kept) == self._most
        place = self._chance.randrange(self.seen + 1) if full else len(self._kept)
        if place < len(self._kept):
            self._kept[place] = (self.seen, row)
        elif not full:
            self._kept.append((self.seen, row))
        self.seen += 1

    @property
    def rows(self) -> list[Row]:
        """In the order in which they would be sent."""
        return [row for _, row in sorted(self._kept, key=lambda item: item[0])]


async def _known(pipeline: Pipeline, cases: Sequence[Case]) -> list[bool]:
    """Which prompts the reading cache knows the answers of."""
    out = [False] * len(cases)
    if not isinstance(pipeline.engine, CachedEngine):
        return out
    for language, voice in pipeline.voices.items():
        if isinstance(voice.readout, LogprobReadout):
            mine = [i for i, c in enumerate(cases) if c.language == language and c.prompt]
            prompts = [p for i in mine if (p := cases[i].prompt) is not None]
            asked = [voice.readout.asked(cases[i].shortlist) for i in mine]
            known = await pipeline.engine.known(prompts, asked)
            for i, there in zip(mine, known, strict=True):
                out[i] = there
    return out


def _looks(pipeline: Pipeline) -> int | None:
    """Answer tokens a row: one a look; ``None`` for generated answers."""
    looks = [
        v.readout.looks
        for v in pipeline.voices.values()
        if isinstance(v.readout, LogprobReadout | TopReadout)
    ]
    return max(looks) if looks else None


def _rate(pipeline: Pipeline, cases: Sequence[Case], probe: int) -> tuple[float | None, str]:
    if probe and cases:
        # Two halves: the first one also warms the model up and is not timed.
        picked = list(cases[:: max(1, len(cases) // (2 * probe))])[: 2 * probe]
        warm, timed = picked[: len(picked) // 2], picked[len(picked) // 2 :]
        if warm:
            event_loop.run(pipeline.answer(warm))
        started = time.perf_counter()
        event_loop.run(pipeline.answer(timed))
        work = len(timed) if pipeline.engine.tokenizer is None else sum(map(_tokens, timed))
        return work / (time.perf_counter() - started), f"a probe of {len(timed)} rows"
    tokens = pipeline.engine.tokenizer is not None
    rate = last_rate(pipeline.engine.fingerprint, "prompt_tokens" if tokens else "read")
    if rate is not None:
        return rate, "the last run with this model"
    return None, "no run with this model yet: --probe 16 times it"


def total(plans: Sequence[Plan]) -> Plan:
    """Several inputs as one.

    Raises:
        ConfigError: no plan.
    """
    if not plans:
        raise ConfigError("nothing to plan")
    whole = plans[0]
    for plan in plans[1:]:
        weight = whole.asked.value + plan.asked.value
        shared = None
        if whole.shared is not None and plan.shared is not None and weight:
            shared = (whole.shared * whole.asked.value + plan.shared * plan.asked.value) / weight
        whole = replace(
            whole,
            rows=whole.rows + plan.rows,
            left_out=whole.left_out + plan.left_out,
            unusable=whole.unusable + plan.unusable,
            copies=whole.copies + plan.copies,
            journaled=whole.journaled + plan.journaled,
            journal="; ".join(filter(None, (whole.journal, plan.journal))),
            remembered=whole.remembered + plan.remembered,
            asked=whole.asked + plan.asked,
            prompt_tokens=both(whole.prompt_tokens, plan.prompt_tokens),
            answer_tokens=both(whole.answer_tokens, plan.answer_tokens),
            shared=shared,
            sampled=whole.sampled + plan.sampled,
            seconds=both(whole.seconds, plan.seconds),
            cost=both(whole.cost, plan.cost),
            fit=whole.fit if whole.fit.examples else plan.fit,
        )
    return whole


__all__ = ["FitPlan", "Interval", "Plan", "Prices", "plan_fit", "plan_rows", "plan_table", "total"]
