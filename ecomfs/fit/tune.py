"""Choosing how the model is asked, one factor after another, within a budget of readings.

Every candidate reads the same labelled examples leave-one-out. It stops early where the comparison
is decided: it is clearly worse, or the interval of the difference is narrow. One is preferred to
what is there only where it is better by more than chance would make it, so small pools keep the
default. Of layouts whose log loss is the same within chance, the one with the fewest tokens to
compute is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import fit_calibration
from ecomfs.core.options import FormatChoice, LayoutChoice
from ecomfs.core.progress import TUNING, Progress, part, silent
from ecomfs.errors import EcomfsError
from ecomfs.fit.fitting import read_left_out
from ecomfs.fit.guarantees import LeftOut
from ecomfs.pipeline import Pipeline
from ecomfs.retrieve import simulate_prefix_cache
from ecomfs.types import Example

LEAST = 12
"""Fewer readings a candidate would choose by chance; as many are read at a time."""
NARROW = 0.03
"""Half an interval of a difference of log losses, in nats, that needs no further readings."""
_Z = 2.0


@dataclass(frozen=True, slots=True)
class TuneCandidate:
    """One way to ask.

    Attributes:
        k: demonstrations per prompt.
        readout: a step of the read-out chain.
        format: of the prompts.
        layout: of the demonstrations.
        block: number of the shared block (:class:`ecomfs.retrieve.DemonstrationLayout`).
        loss: mean log loss of its calibrated leave-one-out readings; ``None`` before it was
            tried, or when it cannot be used (see ``why``).
        accuracy: of these readings.
        tokens: mean prompt tokens.
        computed: of these, what is left to compute where equal beginnings are computed once.
        why: it cannot be used.

    >>> TuneCandidate(4, "words").loss is None
    True
    """

    k: int
    readout: str
    format: FormatChoice = "auto"
    layout: LayoutChoice = "auto"
    block: int = 0
    loss: float | None = None
    accuracy: float | None = None
    tokens: float | None = None
    computed: float | None = None
    why: str = ""

    def named(self) -> str:
        """What is chosen, in words."""
        parts = [f"k {self.k}", self.readout, self.format, self.layout]
        if self.block:
            parts.append(f"block {self.block}")
        return " ".join(part for part in parts if part != "auto")

    def measured(self) -> str:
        """How it did, in words."""
        if self.loss is None or self.accuracy is None:
            return self.why
        tokens = "" if self.computed is None else f" / {self.computed:.0f}"
        return f"{self.loss:.3f} / {self.accuracy:.0%}{tokens}"


@dataclass(frozen=True, slots=True)
class Factor:
    """One choice, whose values are tried beside the one that is there.

    Attributes:
        name: of the attribute of :class:`TuneCandidate`.
        values: to try.

    Examples
    --------
    >>> Factor("k", (2, 4)).values
    (2, 4)
    """

    name: Literal["layout", "block", "k", "readout", "format"]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """Outcome of :func:`tune`.

    Attributes:
        chosen: the candidate to use.
        tried: all, as they did.
        readings: spent on them in all.
        note: why it was chosen.
    """

    chosen: TuneCandidate
    tried: tuple[TuneCandidate, ...]
    readings: int
    note: str

    def text(self) -> str:
        """One line for a person."""
        chosen = f"{self.chosen.named()}: {self.note}"
        if not self.readings:
            return chosen
        tried = ", ".join(f"{c.named()}: {c.measured()}" for c in self.tried)
        return (
            f"{chosen} ({self.readings} readings; log loss / accuracy / tokens to compute of each: "
            f"{tried})"
        )


@dataclass(slots=True)
class _Trial:
    """A candidate and what it read."""

    candidate: TuneCandidate
    found: list[LeftOut] = field(default_factory=list)

    def losses(self, n: int) -> NDArray[np.float64]:
        """Log loss of each of the first readings, calibrated on them."""
        return _losses(self.found[:n])


async def tune(
    build: Callable[[TuneCandidate], Pipeline],
    default: TuneCandidate,
    factors: Sequence[Factor],
    examples: Sequence[Example],
    budget: int,
    progress: Progress = silent,
) -> Tuned:
    """Try layouts, blocks, numbers of demonstrations, read-outs and formats on the pool's own
    examples, one factor after another.

    Parameters
    ----------
    build : callable
        The pipeline of a candidate.
    default : TuneCandidate
        Where the search begins.
    factors : sequence of Factor
        In the order of their importance; the last ones are left out where the budget is too small.
    examples : sequence of Example
        To read, in a random order; each candidate reads the first ones.
    budget : int
        Most readings in all.
    progress : Progress
        Called with readings done and to do.

    Returns
    -------
    Tuned
        The candidate to use, and how all did.

    Examples
    --------
    Too small a budget keeps the default, and reads nothing:

    >>> from ecomfs.core import event_loop
    >>> found = event_loop.run(
    ...     tune(lambda candidate: None, TuneCandidate(4, "words"), [Factor("k", (8,))], [], 10))
    >>> found.chosen.k, found.readings
    (4, 0)
    """
    wanted = [factor for factor in factors if factor.values]
    kept = list(wanted)
    while kept and _each(kept, examples, budget) < LEAST:
        kept.pop()
    if not kept:
        note = "only one candidate"
        if wanted:
            n = _each(wanted, examples, budget)
            note = (
                f"{n} readings a candidate are too few to choose by (at least {LEAST}): "
                "the default stays"
            )
        return Tuned(default, (default,), 0, note)
    n, most = _each(kept, examples, budget), _candidates(kept)
    trials: list[_Trial] = []
    notes: list[str] = []
    spent = 0

    async def read(candidate: TuneCandidate, against: _Trial | None) -> _Trial:
        nonlocal spent
        inner = part(progress, TUNING, min(len(trials), most) * n, n * most)
        trial, asked = await _try(build, candidate, examples[:n], against, inner)
        trials.append(trial)
        spent += asked
        return trial

    best = await read(default, None)
    for factor in kept:
        if factor.name == "block" and best.candidate.layout not in ("shared", "both"):
            continue
        rivals = [best]
        for value in factor.values:
            candidate = replace(
                best.candidate,
                **{factor.name: value},
                loss=None,
                accuracy=None,
                tokens=None,
                computed=None,
                why="",
            )
            rivals.append(await read(candidate, best))
        best, note = _best(rivals, cheapest=factor.name == "layout")
        notes.append(f"{factor.name}: {note}")
    progress(TUNING, n * most, n * most)
    if left := [factor.name for factor in wanted if factor not in kept]:
        notes.append(f"not compared within {budget} readings: {', '.join(left)}")
    tried = tuple(trial.candidate for trial in trials)
    return Tuned(best.candidate, tried, spent, "; ".join(notes))


def _candidates(factors: Sequence[Factor]) -> int:
    return 1 + sum(len(factor.values) for factor in factors)


def _each(factors: Sequence[Factor], examples: Sequence[Example], budget: int) -> int:
    """Examples that each candidate may read."""
    return min(len(examples), budget // _candidates(factors))


async def _try(
    build: Callable[[TuneCandidate], Pipeline],
    candidate: TuneCandidate,
    examples: Sequence[Example],
    against: _Trial | None,
    progress: Progress,
) -> tuple[_Trial, int]:
    """How a candidate did, and how many readings that took."""
    trial, tokens = _Trial(candidate), 0.0
    try:
        pipeline = build(candidate)
        for start in range(0, len(examples), LEAST):
            some = examples[start : start + LEAST]
            kept, mean = await read_left_out(pipeline, some, progress)
            done = start + len(some)
            if lost := sum(item is None for item in kept):
                trial.candidate = replace(
                    candidate, why=f"{lost} of {done} readings gave no distribution"
                )
                return trial, done
            trial.found += [item for item in kept if item is not None]
            tokens += mean * len(some)
            if against is not None and done < len(examples) and _decided(trial, against):
                break
    except EcomfsError as error:
        trial.candidate, trial.found = replace(candidate, why=str(error)), []
        return trial, len(trial.found)
    losses = trial.losses(len(trial.found))
    trial.candidate = replace(
        candidate,
        loss=float(losses.mean()),
        accuracy=_right(trial.found),
        tokens=tokens / len(trial.found),
        computed=_computed(trial.found),
    )
    return trial, len(trial.found)


def _losses(found: Sequence[LeftOut]) -> NDArray[np.float64]:
    p, truth = _calibrated(found)
    return np.asarray(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9)))


def _right(found: Sequence[LeftOut]) -> float:
    p, truth = _calibrated(found)
    return float((p.argmax(axis=1) == truth).mean())


def _calibrated(found: Sequence[LeftOut]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    truth = np.array([reading.label for reading in found])
    read = [reading.posterior.probabilities for reading in found]
    calibration = fit_calibration(read, truth.tolist())
    return (np.array(read) if calibration is None else calibration.apply(read)), truth


def _computed(found: Sequence[LeftOut]) -> float | None:
    """Prompt tokens per reading that are left to compute; ``None`` without a tokenizer."""
    prompts = sorted(
        (prompt.text, prompt.token_ids)
        for reading in found
        if (prompt := reading.state.prompt) is not None and prompt.token_ids
    )
    if not prompts:
        return None
    cache = simulate_prefix_cache([ids for _, ids in prompts])
    return (cache.tokens - cache.cached_tokens) / len(prompts)


def _difference(one: _Trial, other: _Trial) -> tuple[float, float]:
    """Mean difference of the log losses on what both read, and its standard error."""
    n = min(len(one.found), len(other.found))
    rows = one.losses(n) - other.losses(n)
    return float(rows.mean()), float(rows.std(ddof=1)) / math.sqrt(n)


def _decided(trial: _Trial, against: _Trial) -> bool:
    """Whether more readings would hardly change how a trial compares."""
    if not against.found:
        return False
    mean, error = _difference(trial, against)
    return mean > _Z * error or _Z * error < NARROW


def _best(rivals: Sequence[_Trial], *, cheapest: bool) -> tuple[_Trial, str]:
    """The first, unless another is better by more than one standard error of the difference; or
    the cheapest of those that are not worse than the best by more than that."""
    default, *others = rivals
    usable = [trial for trial in others if trial.found]
    if not default.found:
        if not usable:
            return default, "no candidate gave distributions: the default stays"
        best = min(usable, key=lambda trial: trial.candidate.loss or 0.0)
        return best, f"the default cannot be used ({default.candidate.why})"
    best, gain = default, 0.0
    for trial in usable:
        mean, error = _difference(trial, default)
        if (cheapest or -mean > error) and -mean > gain:
            best, gain = trial, -mean
    if not cheapest:
        if best is default:
            return default, "nothing is better than the default by more than chance"
        return best, f"log loss lower by {gain:.3f} on {len(best.found)} examples"
    alike = [best]
    for trial in (default, *usable):
        if trial is not best:
            mean, error = _difference(trial, best)
            alike += [trial] if mean <= error else []
    chosen = min(alike, key=lambda trial: (trial.candidate.computed or 0.0, trial is not default))
    if len(alike) == 1:
        return chosen, "its log loss is the lowest, by more than chance"
    return chosen, "the fewest tokens to compute of those with the same log loss within chance"


__all__ = ["LEAST", "Factor", "TuneCandidate", "Tuned", "tune"]
