"""Tunes prompt and read-out, one factor after another, within a budget of readings.

Every candidate reads the same labelled examples leave-one-out. It stops early if it is clearly
worse, or if the interval of the difference is narrow. A candidate replaces the current one only if
it is better by more than chance, so small pools keep the default. Among layouts with the same log
loss within chance, the one with the fewest tokens to compute is chosen.
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
"""Least readings per candidate, and readings at a time; fewer would choose by chance."""
NARROW = 0.03
"""Half-width of the interval of a log-loss difference, in nats, that needs no further readings."""
_Z = 2.0


@dataclass(frozen=True, slots=True)
class TuneCandidate:
    """One candidate: values of all factors, and their result.

    Attributes:
        k: demonstrations per prompt.
        readout: step of the read-out chain.
        format: prompt format.
        layout: layout of the demonstrations.
        block: number of the shared block (:class:`ecomfs.retrieve.DemonstrationLayout`).
        loss: mean log loss of the calibrated leave-one-out readings; ``None`` before it was tried,
            or if it cannot be used (see ``why``).
        accuracy: accuracy of these readings.
        tokens: mean prompt tokens.
        computed: mean prompt tokens to compute with a prefix cache.
        why: why it cannot be used.

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
        """The values in words."""
        parts = [f"k {self.k}", self.readout, self.format, self.layout]
        if self.block:
            parts.append(f"block {self.block}")
        return " ".join(part for part in parts if part != "auto")

    def measured(self) -> str:
        """The result in words."""
        if self.loss is None or self.accuracy is None:
            return self.why
        tokens = "" if self.computed is None else f" / {self.computed:.0f}"
        return f"{self.loss:.3f} / {self.accuracy:.0%}{tokens}"


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor, with values to try besides the current one.

    Attributes:
        name: name of the attribute of :class:`TuneCandidate`.
        values: values to try.

    Examples
    --------
    >>> Factor("k", (2, 4)).values
    (2, 4)
    """

    name: Literal["layout", "block", "k", "readout", "format"]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of :func:`tune`.

    Attributes:
        chosen: the candidate to use.
        tried: all candidates with their results.
        readings: total number of readings.
        note: why the candidate was chosen.
    """

    chosen: TuneCandidate
    tried: tuple[TuneCandidate, ...]
    readings: int
    note: str

    def text(self) -> str:
        """A summary in one line."""
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
    """A candidate and its readings."""

    candidate: TuneCandidate
    found: list[LeftOut] = field(default_factory=list)

    def losses(self, n: int) -> NDArray[np.float64]:
        """Log loss of each of the first n readings, calibrated on them."""
        return _losses(self.found[:n])


async def tune(
    build: Callable[[TuneCandidate], Pipeline],
    default: TuneCandidate,
    factors: Sequence[Factor],
    examples: Sequence[Example],
    budget: int,
    progress: Progress = silent,
) -> Tuned:
    """Try layouts, blocks, numbers of demonstrations, read-outs and formats on examples of the
    pool, one factor after another.

    Parameters
    ----------
    build : callable
        Makes the pipeline of a candidate.
    default : TuneCandidate
        Start of the search.
    factors : sequence of Factor
        Factors in the order of importance; the last ones are skipped if the budget is too small.
    examples : sequence of Example
        Examples in random order; each candidate reads the first ones.
    budget : int
        Most readings in total.
    progress : Progress
        Called with the number of readings done and planned.

    Returns
    -------
    Tuned
        The candidate to use, and the results of all.

    Examples
    --------
    With too small a budget the default is kept, and nothing is read:

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
                f"{n} readings per candidate are too few to compare (at least {LEAST} are needed): "
                "the default is kept"
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
    """Most readings per candidate."""
    return min(len(examples), budget // _candidates(factors))


async def _try(
    build: Callable[[TuneCandidate], Pipeline],
    candidate: TuneCandidate,
    examples: Sequence[Example],
    against: _Trial | None,
    progress: Progress,
) -> tuple[_Trial, int]:
    """The result of a candidate, and the number of its readings."""
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
                trial.found = []  # earlier readings do not make it usable
                return trial, done
            trial.found += [item for item in kept if item is not None]
            tokens += mean * len(some)
            if against is not None and done < len(examples) and _decided(trial, against):
                break
    except EcomfsError as error:
        done = len(trial.found)
        trial.candidate, trial.found = replace(candidate, why=str(error)), []
        return trial, done
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
    """Prompt tokens to compute per reading, with a prefix cache; ``None`` without a tokenizer."""
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
    """Mean difference of the log losses on the common readings, and its standard error."""
    n = min(len(one.found), len(other.found))
    rows = one.losses(n) - other.losses(n)
    return float(rows.mean()), float(rows.std(ddof=1)) / math.sqrt(n)


def _decided(trial: _Trial, against: _Trial) -> bool:
    """Whether more readings would not change the comparison."""
    if not against.found:
        return False
    mean, error = _difference(trial, against)
    return mean > _Z * error or _Z * error < NARROW


def _best(rivals: Sequence[_Trial], *, cheapest: bool) -> tuple[_Trial, str]:
    """The first candidate, unless another is better by more than one standard error of the
    difference; or the cheapest of those that are not worse than the best by more than that."""
    default, *others = rivals
    usable = [trial for trial in others if trial.found]
    if not default.found:
        if not usable:
            return default, "no candidate gave distributions: the default is kept"
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
