"""How often is an A/B test wrong, and how often does it find what it was planned to find?

    python eval/bench/ab_errors.py [--trials 2000] [--rows 500] [--every 50]

For each assumed discordance (share of rows that exactly one of two prompts has right): tests
without any difference, whose decisions are all false; and tests with the difference that the plan
of ``ecomfs ab`` calls detectable with these rows, whose decisions are finds. ``fixed`` looks once
at the end (exact McNemar), ``peeking`` looks every few rows with the same test and stops when
p <= 0.05, ``sequential`` looks as often with the e-process of ``ecomfs ab --sequential``.
"""

from __future__ import annotations

import argparse

from ecomfs_eval.compare import minimum_detectable_effect
from ecomfs_eval.simulate import Simulated, simulate


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
