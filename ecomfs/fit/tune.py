"""Choosing how many demonstrations are shown, in which format, and how the answer is read, within a
budget.

Every candidate reads the same labelled examples leave-one-out. One is preferred to the default
only where it is better by more than chance would make it: small pools keep the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import fit_calibration
from ecomfs.core.progress import TUNING, Progress, part, silent
from ecomfs.errors import ConfigError, EcomfsError
from ecomfs.fit.fitting import read_left_out
from ecomfs.pipeline import FormatChoice, Pipeline
from ecomfs.types import Example

LEAST = 12
"""Fewer readings a candidate would choose by chance."""


@dataclass(frozen=True, slots=True)
class TuneCandidate:
    """One way to ask.

    Attributes:
        k: demonstrations per prompt.
        readout: a step of the read-out chain.
        format: of the prompts.
        loss: mean log loss of its calibrated leave-one-out readings; ``None`` before it was
            tried, or when it cannot be used (see ``why``).
        accuracy: of these readings.
        tokens: mean prompt tokens.

    >>> TuneCandidate(4, "words").loss is None
    True
    """

    k: int
    readout: str
    format: FormatChoice = "auto"
    loss: float | None = None
    accuracy: float | None = None
    tokens: float | None = None
    why: str = ""

    def named(self) -> str:
        """What is chosen, in words."""
        parts = [f"k {self.k}", self.readout, self.format]
        return ", ".join(part for part in parts if part != "auto")


@dataclass(frozen=True, slots=True)
class Tuned:
    """Outcome of :func:`tune`.

    Attributes:
        chosen: the candidate to use.
        tried: all, as they did.
        readings: examples each was tried on.
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
        tried = ", ".join(
            f"{c.named().replace(',', '')}: " + (c.why if c.loss is None else f"{c.loss:.3f}")
            for c in self.tried
        )
        return f"{chosen} (log loss of each: {tried})"


async def tune(
    build: Callable[[TuneCandidate], Pipeline],
    candidates: Sequence[TuneCandidate],
    examples: Sequence[Example],
    budget: int,
    progress: Progress = silent,
) -> Tuned:
    """Try numbers of demonstrations, read-outs and formats on the pool's own examples.

    Parameters
    ----------
    build : callable
        The pipeline of a candidate.
    candidates : sequence of TuneCandidate
        The first is the default.
    examples : sequence of Example
        To read, in a random order; each candidate reads the first ``budget // len(candidates)`` of
        them.
    budget : int
        Most readings in all.
    progress : Progress
        Called with readings done and to do.

    Returns
    -------
    Tuned
        The candidate to use, and how all did.

    Raises
    ------
    ConfigError
        No candidate.

    Examples
    --------
    Too small a budget keeps the default, and reads nothing:

    >>> from ecomfs.core import event_loop
    >>> tried = [TuneCandidate(4, "words"), TuneCandidate(8, "words")]
    >>> found = event_loop.run(tune(lambda candidate: None, tried, [], budget=10))
    >>> found.chosen.k, found.readings
    (4, 0)
    """
    if not candidates:
        raise ConfigError("no candidate to choose from", hint="name at least one k and read-out")
    n = min(len(examples), budget // len(candidates))
    if len(candidates) == 1 or n < LEAST:
        note = (
            "only one candidate"
            if len(candidates) == 1
            else f"{n} readings a candidate are too few to choose by (at least {LEAST}): "
            "the default stays"
        )
        return Tuned(candidates[0], tuple(candidates), 0, note)
    losses: list[NDArray[np.float64] | None] = []
    tried: list[TuneCandidate] = []
    for done, candidate in enumerate(candidates):
        inner = part(progress, TUNING, done * n, n * len(candidates))
        outcome, loss = await _try(build, candidate, examples[:n], inner)
        tried.append(outcome)
        losses.append(loss)
    progress(TUNING, n * len(candidates), n * len(candidates))
    best, note = _best(tried, losses)
    return Tuned(tried[best], tuple(tried), n, note)


async def _try(
    build: Callable[[TuneCandidate], Pipeline],
    candidate: TuneCandidate,
    examples: Sequence[Example],
    progress: Progress,
) -> tuple[TuneCandidate, NDArray[np.float64] | None]:
    """How a candidate did, and its log loss on each example (infinite where it gave no answer)."""
    try:
        pipeline = build(candidate)
        kept, tokens = await read_left_out(pipeline, examples, progress)
    except EcomfsError as error:
        return replace(candidate, why=str(error)), None
    answered = [item for item in kept if item is not None]
    if len(answered) < len(examples):
        why = f"{len(examples) - len(answered)} of {len(examples)} readings gave no distribution"
        return replace(candidate, why=why), None
    truth = np.array([reading.label for reading in answered])
    read = [reading.posterior.probabilities for reading in answered]
    calibration = fit_calibration(read, truth.tolist())
    p = np.array(read) if calibration is None else calibration.apply(read)
    loss = -np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9))
    right = float((p.argmax(axis=1) == truth).mean())
    found = replace(candidate, loss=float(loss.mean()), accuracy=right, tokens=tokens)
    return found, loss


def _best(
    tried: Sequence[TuneCandidate], losses: Sequence[NDArray[np.float64] | None]
) -> tuple[int, str]:
    """The default, unless another is better by more than one standard error of the difference."""
    usable = [i for i, loss in enumerate(losses) if loss is not None]
    if not usable:
        return 0, "no candidate gave distributions: the default stays"
    base = losses[0]
    if base is None:
        best = min(usable, key=lambda i: float(np.mean(losses[i])))  # type: ignore[arg-type]
        return best, f"the default cannot be used ({tried[0].why})"
    best, gain = 0, 0.0
    for i in usable[1:]:
        loss = losses[i]
        if loss is None:
            continue
        difference = base - loss
        error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
        if difference.mean() > error and difference.mean() > gain:
            best, gain = i, float(difference.mean())
    if best == 0:
        return 0, "nothing is better than the default by more than chance"
    return best, f"log loss lower than the default's by {gain:.3f} on {len(base)} examples"


__all__ = ["LEAST", "TuneCandidate", "Tuned", "tune"]
