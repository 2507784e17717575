"""Error rate and power of A/B tests: fixed, peeking and sequential.

    python eval/bench/ab_errors.py [--trials 2000] [--rows 500] [--every 50]

Simulates tests for several discordances (the share of rows on which exactly one of two prompts is
right): without a difference, so that every decision is false, and with the difference that the
plan of ``ecomfs ab`` calls detectable with this number of rows.

fixed       one exact McNemar test at the end
peeking     the same test every few rows, stopping when p <= 0.05
sequential  the e-process of ``ecomfs ab --sequential``, checked as often
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache

import numpy as np

from ecomfs_eval.compare import exact_p, minimum_detectable_effect
from ecomfs_eval.predictions import FloatArray
from ecomfs_eval.sequential import SequentialTest


@dataclass(frozen=True, slots=True)
class Simulated:
    """Share of simulated tests that declared a difference, by kind of test.

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
        ValueError: an effect larger than the discordance, or ``every`` larger than ``rows``.
    """
    if abs(effect) > discordance or not 0 < discordance <= 1:
        raise ValueError(f"effect={effect} is larger than discordance={discordance}")
    if not 0 < every <= rows or trials < 1:
        raise ValueError(f"every={every} of rows={rows}: there is no look")
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


_p = cache(exact_p)  # the same few splits occur again and again


def _rejects(d: FloatArray, level: float) -> bool:
    return _p(int((d < 0).sum()), int((d > 0).sum())) <= 1 - level


def main(arguments: list[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--discordances", type=float, nargs="+", default=[0.05, 0.10, 0.20])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(
        f"{given.trials:,} simulated tests a line, {given.rows} rows each, a look every "
        f"{given.every}, 5 % level: share that declared a difference\n"
    )
    print("| discordance | true difference | fixed | peeking | sequential | rows used | covered |")
    print("|---|---|---|---|---|---|---|")
    for discordance in given.discordances:
        effect = minimum_detectable_effect(given.rows, discordance)
        for true in (0.0, effect):
            if true is None:
                continue
            found = simulate(
                trials=given.trials,
                rows=given.rows,
                every=given.every,
                discordance=discordance,
                effect=true,
                seed=given.seed,
            )
            print(_line(discordance, found), flush=True)


def _line(discordance: float, s: Simulated) -> str:
    true = "none" if s.effect == 0 else f"{100 * s.effect:.1f} points"
    return (
        f"| {discordance:.0%} | {true} | {s.fixed:.1%} | {s.peeking:.1%} | {s.sequential:.1%} | "
        f"{s.sequential_rows:.0f} | {s.covered:.1%} |"
    )


if __name__ == "__main__":
    main()
