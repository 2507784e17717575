"""Estimates what a run would do and cost before it starts."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecomfs.batch.feed import Columns, Selection
from ecomfs.batch.identity import Identity, PipelineLike, differences
from ecomfs.batch.journal import Journal, row_key
from ecomfs.batch.paths import journal_path
from ecomfs.batch.runlog import last_rate
from ecomfs.core import event_loop
from ecomfs.errors import ConfigError
from ecomfs.io import IdTracker, TableReader
from ecomfs.pipeline import Pipeline, PlannedRow, planned_fit, planned_rows
from ecomfs.retrieve import simulate_prefix_cache
from ecomfs.types import Row

MAX_PROMPTS = 500
"""Above this number of rows without a prediction, prompts are counted on a sample."""
_Z = 1.96  # 95 %


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; exact if both ends are equal.

    >>> total = Interval(5, 4, 6) + Interval(1, 1, 1) * 2
    >>> total, total.exact
    (Interval(value=7, low=6, high=8), False)
    """

    value: float
    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the value is exact and not estimated from a sample."""
        return self.low == self.high

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices per million tokens, in any currency.

    Attributes
    ----------
    prompt : float
        Price of prompt tokens.
    cached : float, optional
        Price of prompt tokens from the provider's cache; ``None``: as for other prompt tokens.
    answer : float
        Price of answer tokens.

    Examples
    --------
    >>> Prices(prompt=0.5, cached=0.1, answer=2.0).cached
    0.1
    """

    prompt: float
    cached: float | None = None
    answer: float = 0.0

    def __post_init__(self) -> None:
        for value in (self.prompt, self.cached, self.answer):
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"price {value}", hint="use 0 or more, per million tokens")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The estimate for a run.

    Attributes
    ----------
    rows, left_out : int
        Selected rows, and rows that the selection leaves out.
    unusable : int
        Selected rows that cannot be read or rendered; they fail without a reading.
    copies : int
        Rows identical to an earlier one.
    journaled : int
        Predictions in the journal of an interrupted run.
    journal : str
        Why an existing journal cannot be used; empty otherwise.
    remembered, asked : Interval
        Rows whose reading is in the reading cache, and rows that the model would read.
    skipped : Interval
        Rows that the experts classify without the model.
    decided : Interval
        Rows among these whose label the model could not change.
    prompt_tokens, answer_tokens : Interval, optional
        Tokens of all rows the model would read; ``None`` if the engine gives no tokenizer.
    shared : float, optional
        Share of the prompt tokens that a server with a prefix cache would not compute again
        (simulated on the sampled prompts, sent one by one in their order).
    sampled : int
        Number of prompts rendered for the estimate.
    rate : float, optional
        Tokens per second, or rows per second if tokens are unknown; ``None`` if unknown.
    rate_from : str
        Source of the rate, in words.
    seconds, cost : Interval, optional
        Model time, and its price in the currency of the prices; both include the fit.
    fit : FitCost
        Readings of the fit.

    Examples
    --------
    >>> none, all_rows = Interval(0, 0, 0), Interval(100, 100, 100)
    >>> plan = RunPlan(
    ...     rows=120, left_out=0, unusable=2, copies=18, journaled=0, journal="", remembered=none,
    ...     asked=all_rows, prompt_tokens=None, answer_tokens=None, shared=None, sampled=0,
    ...     rate=None, rate_from="", seconds=None, cost=None,
    ...     fit=FitCost(examples=48, remembered=40))
    >>> plan.asked.value, plan.fit.asked
    (100, 8)
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
    fit: FitCost
    skipped: Interval = Interval(0, 0, 0)
    decided: Interval = Interval(0, 0, 0)


@dataclass(frozen=True, slots=True)
class FitCost:
    """The readings of a fit.

    Attributes:
        examples: most leave-one-out readings; a fit stops when more would gain little.
        remembered: number of these in the reading cache.
        tokens: prompt tokens of the others; ``None`` if the engine gives no tokenizer.
    """

    examples: int = 0
    remembered: int = 0
    tokens: int | None = 0

    @property
    def asked(self) -> int:
        """Number of examples that the model would read."""
        return self.examples - self.remembered


@dataclass(frozen=True, slots=True)
class _Rows:
    """The counts of one pass over the input."""

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
    pipeline: Pipeline | PipelineLike,
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
    uniform: bool = False,
    encoding: str | None = None,
) -> RunPlan:
    r"""Estimate a run: read every row, and render the prompts of all rows or of a sample.

    Parameters
    ----------
    source : str
        The input.
    output : Path
        The output; predictions in its journal count as done.
    pipeline : Pipeline or PipelineLike
        The pipeline of the run. For a hierarchy, the parents under which a row would be read are
        estimated from its neighbours.
    columns : Columns
        From :func:`find_columns`.
    selection : Selection
        The selection of rows.
    identity : dict
        From :func:`run_identity`.
    prices : Prices, optional
        Prices for the cost.
    probe : int
        Rows to read now to measure the speed; 0 uses the speed of the last run. The readings are
        cached, so the run does not repeat them.
    block_size : int
        Tokens per block of the prefix cache.
    max_prompts : int
        Most prompts to render; for more, a sample is drawn with ``seed``.
    readings : int
        Most leave-one-out readings of the run before its first row.
    uniform : bool
        Draw these examples uniformly (:func:`ecomfs.pipeline.needs_uniform_draw`).
    encoding : str, optional
        Encoding of a source that is not UTF-8; detected by default.

    Returns
    -------
    RunPlan
        Sampled figures have 95 % intervals.

    Raises
    ------
    InputError
        The input cannot be read.
    EngineError
        The probe fails.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> import tempfile
    >>> from ecomfs.batch import find_columns
    >>> source = Path(tempfile.mkdtemp()) / "in.csv"
    >>> _ = source.write_text("text\nso soft\ntorn\ntorn\n")
    >>> plan = plan_table(str(source), source.with_suffix(".scored.csv"), pipeline,
    ...                   find_columns(source, pipeline.card), Selection(), {})
    >>> plan.rows, plan.copies, plan.asked.value, plan.skipped.value  # no model, so none is asked
    (3, 1, 0, 2)
    """
    journal, why = _journal(journal_path(output), identity)
    try:
        reader = TableReader(source, encoding=encoding)
        found = _scan(reader, pipeline, columns, selection, journal, max_prompts, seed)
    finally:
        if journal is not None:
            journal.close()
    fit = plan_fit(pipeline, readings, seed, uniform=uniform)
    return _plan(pipeline, found, why, prices, probe, block_size, fit)


def plan_rows(
    pipeline: Pipeline | PipelineLike,
    rows: Iterable[Row],
    *,
    left_out: int = 0,
    unusable: int = 0,
    probe: int = 0,
    max_prompts: int = MAX_PROMPTS,
    seed: int = 0,
    readings: int = 0,
    uniform: bool = False,
) -> RunPlan:
    """:func:`plan_table` for rows in memory; the model reads each of them.

    Parameters
    ----------
    pipeline : Pipeline or PipelineLike
        The pipeline of the run.
    rows : iterable of Row
        Field → cell.
    left_out, unusable : int
        Number of rows that are not in ``rows`` because they are not selected or not readable.
    probe, max_prompts, seed, readings, uniform
        As in :func:`plan_table`.

    Returns
    -------
    RunPlan
        The estimate, without cost.

    Raises
    ------
    EngineError
        The probe fails.

    Examples
    --------
    >>> from ecomfs.estimators import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> pipeline = clf.fit(["broke at once", "fits well"], ["negative", "positive"]).pipeline_
    >>> plan = plan_rows(pipeline, [{"text": "so soft"}, {"text": "torn"}], unusable=1)
    >>> plan.rows, plan.unusable, plan.skipped.value  # answered without a model
    (3, 1, 2)
    """
    sample = _Sample(max_prompts, seed)
    for row in rows:
        sample.add(row)
    found = _Rows(sample.seen + unusable, left_out, unusable, 0, 0, sample.seen, sample.rows)
    fit = plan_fit(pipeline, readings, seed, uniform=uniform)
    return _plan(pipeline, found, "", None, probe, 16, fit)


def _planned_rows(answers: Pipeline | PipelineLike, rows: Sequence[Row]) -> list[PlannedRow]:
    ids = [str(i) for i in range(len(rows))]
    if isinstance(answers, Pipeline):
        return event_loop.run(planned_rows(answers, answers.prepare(rows, ids)))
    return event_loop.run(answers.planned_rows(rows, ids))


def plan_fit(
    answers: Pipeline | PipelineLike, readings: int, seed: int, *, uniform: bool = False
) -> FitCost:
    """Estimate a fit with this many readings, if it does not stop earlier.

    Args:
        answers: the unfitted pipeline.
        seed: seed of the draw of examples.
        uniform: as in :func:`plan_table`.
    """
    if isinstance(answers, Pipeline):
        planned = event_loop.run(planned_fit(answers, readings, seed, uniform=uniform))
    else:
        planned = event_loop.run(answers.planned_fit(readings, seed, uniform=uniform))
    if not planned:
        return FitCost()
    known = sum(not row.asked for row in planned)
    tokens = None if answers.engine.tokenizer is None else sum(row.tokens for row in planned)
    return FitCost(len(planned), known, tokens)


def _plan(
    answers: Pipeline | PipelineLike,
    found: _Rows,
    why: str,
    prices: Prices | None,
    probe: int,
    block_size: int,
    fit: FitCost,
) -> RunPlan:
    planned = _planned_rows(answers, found.sample)
    to_ask = [row for row in planned if row.asked]
    whole = len(found.sample) == found.new
    alone = sum(row.alone for row in planned)
    remembered_rows = sum(row.usable and not row.alone and not row.asked for row in planned)
    bad = _share_of(sum(not row.usable for row in planned), len(planned), found.new, whole)
    remembered = _share_of(remembered_rows, len(planned), found.new, whole)
    asked = _share_of(len(to_ask), len(planned), found.new, whole)
    prompt_tokens = None
    if answers.engine.tokenizer is not None or not answers.has_model:
        prompt_tokens = _total_of([row.tokens for row in to_ask], asked, whole)
    answer_tokens = _total_of([row.answer_tokens for row in to_ask], asked, whole)
    ids = [p.token_ids for row in to_ask for p in row.prompts if p.token_ids]
    shared = simulate_prefix_cache(ids, block_size=block_size).hit_rate
    rate, rate_from = _rate(answers, to_ask, probe)
    # Prompts differ in length, so time is estimated from tokens if they can be counted.
    work = asked + Interval(fit.asked, fit.asked, fit.asked)
    spent = prompt_tokens
    if prompt_tokens is not None and fit.tokens is not None:
        work = spent = prompt_tokens + Interval(fit.tokens, fit.tokens, fit.tokens)
    return RunPlan(
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
        sampled=len(planned),
        rate=rate,
        rate_from=rate_from,
        seconds=work * (1 / rate) if rate else None,
        cost=_cost_of(prices, spent, answer_tokens, shared),
        fit=fit,
        skipped=_share_of(alone, len(planned), found.new, whole),
        decided=_share_of(sum(row.decided for row in planned), len(planned), found.new, whole),
    )


def _journal(path: Path, identity: Identity) -> tuple[Journal | None, str]:
    """The journal of an interrupted run, if it has the same identity."""
    if not path.exists():
        return None, ""
    journal = Journal(path)
    changed = [] if journal.identity is None else differences(journal.identity, identity)
    if journal.identity is None or changed:
        journal.close()
        return None, f"{path}: another run's ({', '.join(changed)} changed)" if changed else ""
    return journal, ""


def _scan(
    reader: TableReader,
    pipeline: Pipeline | PipelineLike,
    columns: Columns,
    selection: Selection,
    journal: Journal | None,
    most: int,
    seed: int,
) -> _Rows:
    """One pass over the input."""
    selected = selection.over(reader)
    seen = IdTracker()
    unusable = copies = journaled = 0
    sample = _Sample(most, seed)
    for chunk in reader:
        fresh: dict[bytes, dict[str, Any]] = {}
        for _, row in selected.pick(chunk.rows, chunk.first):
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
        if selected.full:
            break
    return _Rows(
        selected.kept, selected.left_out, unusable, copies, journaled, sample.seen, sample.rows
    )


class _Sample:
    """A uniform sample of a stream of rows (reservoir sampling, Vitter 1985, algorithm R)."""

    def __init__(self, most: int, seed: int) -> None:
        self.seen = 0
        self._most = most
        self._rng = random.Random(seed)
        self._kept: list[tuple[int, Row]] = []

    def add(self, row: Row) -> None:
        full = len(self._kept) == self._most
        place = self._rng.randrange(self.seen + 1) if full else len(self._kept)
        if place < len(self._kept):
            self._kept[place] = (self.seen, row)
        elif not full:
            self._kept.append((self.seen, row))
        self.seen += 1

    @property
    def rows(self) -> list[Row]:
        """The sampled rows, in the order in which they would be sent."""
        return [row for _, row in sorted(self._kept, key=lambda item: item[0])]


def _rate(
    answers: Pipeline | PipelineLike, planned: Sequence[PlannedRow], probe: int
) -> tuple[float | None, str]:
    if probe and planned:
        # The first half warms the model up and is not timed.
        picked = list(planned[:: max(1, len(planned) // (2 * probe))])[: 2 * probe]
        warm, timed = picked[: len(picked) // 2], picked[len(picked) // 2 :]
        if warm:
            event_loop.run(_answered(answers, warm))
        started = time.perf_counter()
        event_loop.run(_answered(answers, timed))
        counted = answers.engine.tokenizer is not None
        work = sum(row.tokens for row in timed) if counted else len(timed)
        return work / (time.perf_counter() - started), f"a probe of {len(timed)} rows"
    if not answers.has_model:
        return None, "no model: only the time to embed the rows"
    tokens = answers.engine.tokenizer is not None
    rate = last_rate(answers.engine.fingerprint, "prompt_tokens" if tokens else "read")
    if rate is not None:
        return rate, "the last run with this model"
    return None, "no run with this model yet; --probe 16 measures it"


async def _answered(answers: Pipeline | PipelineLike, planned: Sequence[PlannedRow]) -> None:
    await answers.answer([row.state for row in planned])


_SUMS = (
    "rows",
    "left_out",
    "unusable",
    "copies",
    "journaled",
    "remembered",
    "asked",
    "prompt_tokens",
    "answer_tokens",
    "sampled",
    "seconds",
    "cost",
    "skipped",
    "decided",
)


def add_plans(plans: Sequence[RunPlan]) -> RunPlan:
    """Add the plans of several inputs.

    Parameters
    ----------
    plans : sequence of RunPlan
        One per input; the rate is that of the first.

    Raises
    ------
    ConfigError
        There are no plans.

    Examples
    --------
    >>> add_plans([])
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: nothing to plan
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
            **{name: _both(getattr(whole, name), getattr(plan, name)) for name in _SUMS},
            journal="; ".join(filter(None, (whole.journal, plan.journal))),
            shared=shared,
            fit=whole.fit if whole.fit.examples else plan.fit,
        )
    return whole


def _share_of(count: int, sampled: int, total: int, whole: bool) -> Interval:
    """Extrapolate a count in a sample to all rows, with Wilson's interval."""
    if whole or not sampled:
        return Interval(count, count, count) if whole else Interval(0, 0, 0)
    z, n = _Z, sampled
    p = count / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return Interval(p * total, max(0.0, centre - half) * total, min(1.0, centre + half) * total)


def _total_of(tokens: Sequence[int], rows: Interval, whole: bool) -> Interval:
    """Extrapolate the tokens of a sample to all rows: mean times number of rows."""
    if whole or not tokens:
        return Interval(sum(tokens), sum(tokens), sum(tokens))
    mean = statistics.fmean(tokens)
    half = _Z * statistics.stdev(tokens) / len(tokens) ** 0.5 if len(tokens) > 1 else mean
    return Interval(mean * rows.value, max(0.0, mean - half) * rows.low, (mean + half) * rows.high)


def _cost_of(
    prices: Prices | None, prompt: Interval | None, answer: Interval, shared: float | None
) -> Interval | None:
    """The cost in the currency of the prices; ``shared`` is the cached share of prompt tokens."""
    if prices is None or prompt is None:
        return None
    each = prices.prompt
    if prices.cached is not None and shared is not None:
        each += (prices.cached - prices.prompt) * shared
    return prompt * (each / 1e6) + answer * (prices.answer / 1e6)


def _both(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other
