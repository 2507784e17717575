"""The power of an A/B test, given the number of rows and the effect.

The test is McNemar's on n paired rows. The discordance is the share of rows that exactly one of
the two systems has right; it determines how many rows are needed. Two prompts on one model often
disagree on 5 to 15 % of the rows, two models on 15 to 30 %.

Source: Connor 1987, doi:10.2307/2531969 (unconditional normal approximation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ecomfs_eval.errors import OptionError

DISCORDANCES = (0.05, 0.10, 0.20)
"""Shares of rows that exactly one variant has right: two wordings of one prompt, two prompts,
two models. It is unknown before the test, so a plan shows all three."""

EFFECT = 0.02
"""The difference for which the needed rows are computed by default."""


@dataclass(frozen=True, slots=True)
class PowerPlanLine:
    """The power for one assumed discordance.

    Attributes:
        discordance: assumed share of rows that exactly one of the two has right.
        detectable: smallest accuracy difference that the rows detect; ``None``: none.
        needed: rows to detect ``effect``; ``None``: impossible, it exceeds the discordance.
    """

    discordance: float
    detectable: float | None
    needed: int | None


@dataclass(frozen=True, slots=True)
class PowerPlan:
    """What an A/B test on some rows can detect.

    Attributes:
        rows: paired rows.
        challengers: number of variants compared with the first; the level is divided by it, as in
            the strictest step of Holm's correction.
        effect: the accuracy difference for which the needed rows are computed.
        alpha: rate of false decisions, over all challengers.
        power: probability to detect a difference that exists.
        lines: one per assumed discordance.
    """

    rows: int
    challengers: int
    effect: float
    alpha: float
    power: float
    lines: tuple[PowerPlanLine, ...]

    def text(self) -> str:
        """The plan as text.

        >>> print(plan(500).text())
        Plan: 500 rows, two-sided 5 % level, power 80 %. The smallest accuracy difference they
        detect, and the rows to detect 2.0 points, if the variants differ in right or wrong on
          5 % of the rows: 2.8 points; 979 rows
          10 % of the rows: 4.0 points; 1,960 rows
          20 % of the rows: 5.6 points; 3,923 rows
        """
        shared = f" divided by {self.challengers} challengers" if self.challengers > 1 else ""
        head = (
            f"Plan: {self.rows:,} rows, two-sided {100 * self.alpha:g} % level{shared}, power "
            f"{100 * self.power:g} %. The smallest accuracy difference they\ndetect, and the "
            f"rows to detect {100 * self.effect:.1f} points, if the variants differ in right or "
            "wrong on"
        )
        out = [head]
        for line in self.lines:
            shown = "none" if line.detectable is None else f"{100 * line.detectable:.1f} points"
            rows = "not possible" if line.needed is None else f"{line.needed:,} rows"
            out.append(f"  {100 * line.discordance:g} % of the rows: {shown}; {rows}")
        return "\n".join(out)


def plan(
    rows: int,
    *,
    challengers: int = 1,
    effect: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    discordances: Sequence[float] = DISCORDANCES,
) -> PowerPlan:
    """Plan a comparison by exact McNemar (see :mod:`ecomfs_eval.compare.plan`).

    Raises:
        OptionError: no challengers, or a share outside its range.

    >>> plan(870, effect=0.03, discordances=[0.10]).lines[0].needed
    870
    """
    if challengers < 1:
        raise OptionError(f"challengers={challengers}", hint="one or more")
    if not 0 < alpha < 0.5:
        raise OptionError(f"alpha={alpha}", hint="between 0 and 0.5, such as 0.05")
    wanted = EFFECT if effect is None else effect
    level = 1 - alpha / challengers
    lines = tuple(
        PowerPlanLine(
            d,
            minimum_detectable_effect(rows, d, level=level, power=power),
            rows_needed(wanted, d, level=level, power=power),
        )
        for d in discordances
    )
    return PowerPlan(rows, challengers, wanted, alpha, power, lines)


def _z(level: float, power: float) -> tuple[float, float]:
    from scipy.special import ndtri

    for name, value in (("level", level), ("power", power)):
        if not 0 < value < 1:
            raise OptionError(f"{name}={value}", hint="between 0 and 1")
    return float(ndtri((1 + level) / 2)), float(ndtri(power))


def _check(discordance: float) -> None:
    if not 0 < discordance <= 1:
        raise OptionError(
            f"discordance={discordance}", hint="a share of rows, more than 0 and at most 1"
        )


def rows_needed(
    effect: float, discordance: float, *, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Rows to detect an accuracy difference of ``effect`` with probability ``power``.

    Returns:
        The rows; ``None`` when the effect is larger than the discordance, which is impossible.

    Raises:
        OptionError: a share outside its range.

    >>> rows_needed(0.03, 0.10)
    870
    """
    z, y = _z(level, power)
    _check(discordance)
    if not 0 < effect < 1:
        raise OptionError(f"effect={effect}", hint="a difference of shares, between 0 and 1")
    if effect > discordance:
        return None
    root = z * math.sqrt(discordance) + y * math.sqrt(discordance - effect**2)
    return math.ceil((root / effect) ** 2)


def minimum_detectable_effect(
    rows: int, discordance: float, *, level: float = 0.95, power: float = 0.8
) -> float | None:
    """The smallest accuracy difference that ``rows`` detect with probability ``power``.

    Returns:
        The difference; ``None`` when even a difference as large as the discordance (every
        discordant row one way) is not detected.

    Raises:
        OptionError: a share outside its range, or no rows.

    >>> round(minimum_detectable_effect(870, 0.10), 4)
    0.03
    """
    z, y = _z(level, power)
    _check(discordance)
    if rows < 1:
        raise OptionError(f"rows={rows}", hint="one or more")
    # √n·d = z√ψ + y√(ψ − d²) is a quadratic in d; this is its root.
    inner = rows - z**2 + y**2
    if inner < 0:
        return None
    effect = (z * math.sqrt(rows * discordance) + y * math.sqrt(discordance * inner)) / (
        rows + y**2
    )
    return effect if effect <= discordance else None
