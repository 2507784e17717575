"""How often is an A/B test wrong? Simulated, three ways of deciding side by side.

    python -m ecomfs_eval.simulate

Each simulated test pairs two systems row by row. ``fixed`` looks once, at the end, with the exact
McNemar test. ``peeking`` looks at every stage with the same test and stops at p ≤ 0.05, as people
do. ``sequential`` looks as often, with the e-process of :mod:`ecomfs_eval.sequential`.

>>> found = simulate(trials=50, rows=200, every=50, seed=1)
>>> found.trials, found.peeking >= found.fixed
(50, True)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache

import numpy as np

from ecomfs_eval.compare.mcnemar import exact_p
from ecomfs_eval.errors import OptionError
from ecomfs_eval.predictions import FloatArray
from ecomfs_eval.sequential import SequentialTest


@dataclass(frozen=True, slots=True)
class Simulated:
    """Share of the tests that declared a difference, by way of deciding.

    Attributes:
        trials: simulated tests.
        rows: rows of each.
        effect: the true accuracy difference; with 0, the shares are error rates.
        fixed, peeking, sequential: share of tests that declared a difference.
        sequential_rows: mean rows at which the sequential tests stopped.
        covered: share of tests whose confidence sequence held the true difference at all looks.
    """

    trials: int
    rows: int
    effect: float
    fixed: float
    peeking: float
    sequential: float
    sequential_rows: float
    covered: float


def simulate(
    *,
    trials: int = 2000,
    rows: int = 1000,
    every: int = 50,
    discordance: float = 0.15,
    effect: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> Simulated:
    """Simulate A/B tests.

    Args:
        trials: how many.
        rows: rows of each.
        every: rows between looks.
        discordance: share of rows that exactly one system has right.
        effect: accuracy of B minus accuracy of A.
        level: one minus the error rate aimed at.
        seed: of the random generator.

    Raises:
        OptionError: an effect larger than the discordance, or ``every`` larger than ``rows``.
    """
    if abs(effect) > discordance or not 0 < discordance <= 1:
        raise OptionError(
            f"effect={effect} with discordance={discordance}",
            hint="the discordance is a share of rows, and at least the effect",
        )
    if not 0 < every <= rows or trials < 1:
        raise OptionError(f"every={every} of rows={rows}", hint="look at least once")
    rng = np.random.default_rng(seed)
    shares = [(discordance - effect) / 2, 1 - discordance, (discordance + effect) / 2]
    fixed = peeking = sequential = covered = 0
    stopped = []
    for _ in range(trials):
        d = rng.choice([-1.0, 0.0, 1.0], size=rows, p=shares)
        stages = [d[start : start + every] for start in range(0, rows, every)]
        fixed += _rejects(d, level)
        peeking += any(_rejects(d[: (k + 1) * every], level) for k in range(len(stages)))
        test, first = SequentialTest(level), 0
        for stage in stages:
            state = test.update(stage)
            if state.decision != "continue" and not first:
                first = state.rows
        sequential += first > 0
        stopped.append(first or rows)
        covered += state.low <= effect <= state.high
    return Simulated(
        trials,
        rows,
        effect,
        fixed / trials,
        peeking / trials,
        sequential / trials,
        float(np.mean(stopped)),
        covered / trials,
    )


_p = cache(exact_p)  # the same few splits come up again and again


def _rejects(d: FloatArray, level: float) -> bool:
    return _p(int((d < 0).sum()), int((d > 0).sum())) <= 1 - level


def main(arguments: list[str] | None = None) -> None:
    """Print the error rates without a difference, and the power with some."""
    parser = argparse.ArgumentParser(prog="python -m ecomfs_eval.simulate", description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--discordance", type=float, default=0.15)
    parser.add_argument("--effects", type=float, nargs="+", default=[0.0, 0.02, 0.04, 0.06])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(
        f"{given.trials} simulated tests of {given.rows} rows, a look every {given.every}, "
        f"discordance {given.discordance:.0%}\n"
        "share of tests that declare a difference:\n"
        f"{'true difference':>16} {'fixed':>8} {'peeking':>8} {'sequential':>11} "
        f"{'rows used':>10} {'covered':>8}"
    )
    for effect in given.effects:
        s = simulate(
            trials=given.trials,
            rows=given.rows,
            every=given.every,
            discordance=given.discordance,
            effect=effect,
            seed=given.seed,
        )
        print(
            f"{100 * effect:>11.1f} pts. {s.fixed:>8.1%} {s.peeking:>8.1%} {s.sequential:>11.1%} "
            f"{s.sequential_rows:>10.0f} {s.covered:>8.1%}"
        )


if __name__ == "__main__":
    main()
