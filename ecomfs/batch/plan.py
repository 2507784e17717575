"""What a run would do and cost, before anything is spent."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecomfs import aio
from ecomfs.batch.answer import row_key
from ecomfs.batch.estimate import Interval, Prices, both, cost_of, share_of, total_of
from ecomfs.batch.identity import Identity, differences
from ecomfs.batch.journal import Journal
from ecomfs.batch.output import Columns, journal_path
from ecomfs.batch.runlog import last_rate
from ecomfs.batch.select import Selection
from ecomfs.engine.cached import CachedEngine
from ecomfs.errors import ConfigError
from ecomfs.pipeline import Case, Pipeline
from ecomfs.read import LogprobReadout, TopReadout
from ecomfs.retrieve.prefix_cache import simulate_prefix_cache
from ecomfs.table import IdTracker, TableReader
from ecomfs.types import Row

MAX_PROMPTS = 500
"""Above this many rows to ask, prompts are counted on a sample."""
_ANSWER_TOKENS = 24
"""Most tokens of an answer that is generated, not read (:class:`ecomfs.read.TextReadout`)."""


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
        rate: rows a second; ``None`` when unknown.
        rate_from: where the rate comes from, in words.
        seconds: of model time; ``None`` without a rate.
        cost: in the currency of the prices; ``None`` without prices or tokens.
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
    encoding: str | None = None,
) -> Plan:
    """Look at every row, render the prompts of all or of a sample, and add up.

    Args:
        identity: :func:`ecomfs.batch.score.run_identity` of the run.
        probe: rows that the model reads now, to time it; 0 uses the rate of its last run. They
            are kept in the reading cache, so that the run does not read them again.
        block_size: tokens a block of the prefix cache.
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
    cases = pipeline.prepare(found.sample, [str(i) for i in range(len(found.sample))])
    prompted = [case for case in cases if case.prompt is not None and not case.skipped]
    known = aio.run(_known(pipeline, prompted))
    to_ask = [case for case, there in zip(prompted, known, strict=True) if not there]
    whole = len(found.sample) == found.new
    bad = share_of(len(cases) - len(prompted), len(cases), found.new, whole)
    remembered = share_of(sum(known), len(cases), found.new, whole)
    asked = share_of(len(to_ask), len(cases), found.new, whole)
    prompt_tokens = None
    if pipeline.engine.tokenizer is not None:
        prompt_tokens = total_of(
            [len(c.prompt.token_ids) for c in to_ask if c.prompt], asked, whole
        )
    answer_tokens = asked * (_looks(pipeline) or _ANSWER_TOKENS)
    ids = [c.prompt.token_ids for c in to_ask if c.prompt and c.prompt.token_ids]
    shared = simulate_prefix_cache(ids, block_size=block_size).hit_rate
    rate, rate_from = _rate(pipeline, to_ask, probe)
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
        seconds=asked * (1 / rate) if rate else None,
        cost=cost_of(prices, prompt_tokens, answer_tokens, shared),
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
    """One pass; the rows to ask are sampled as they come (reservoir, Vitter 1985, algorithm R)."""
    chosen = selection.over(reader)
    chance = random.Random(seed)
    seen = IdTracker()
    unusable = copies = journaled = new = 0
    sample: list[tuple[int, Row]] = []
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
            if key in known:
                continue
            place = new if len(sample) < most else chance.randrange(new + 1)
            if place < len(sample):
                sample[place] = (new, values)
            elif place == len(sample) and place < most:
                sample.append((new, values))
            new += 1
        if chosen.full:
            break
    sample.sort(key=lambda item: item[0])  # in the order in which they would be sent
    return _Rows(
        chosen.kept, chosen.left_out, unusable, copies, journaled, new, [row for _, row in sample]
    )


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
            aio.run(pipeline.answer(warm))
        started = time.perf_counter()
        aio.run(pipeline.answer(timed))
        return len(timed) / (time.perf_counter() - started), f"a probe of {len(timed)} rows"
    rate = last_rate(pipeline.engine.fingerprint)
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
        )
    return whole


__all__ = ["Interval", "Plan", "Prices", "plan_table", "total"]
