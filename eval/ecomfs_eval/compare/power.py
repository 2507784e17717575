"""Before an A/B test: the smallest difference it can show, and the rows it takes to show one.

The test meant is McNemar's on n paired rows, of which a share (the discordance) is right in
exactly one of the two systems. The discordance is what decides: two prompts on one model often
disagree on 5 to 15 % of the rows, two models on 15 to 30 %.

Source: Connor 1987, doi:10.2307/2531969 (unconditional normal approximation).
"""

from __future__ import annotations

import math

from ecomfs_eval.errors import OptionError


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
    """Rows to show an accuracy difference of ``effect`` with probability ``power``.

    Returns:
        The rows; ``None`` when the effect is larger than the discordance, which cannot be.

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
    """The smallest accuracy difference that ``rows`` show with probability ``power``.

    Returns:
        The difference; ``None`` when even a difference as large as the discordance (every
        discordant row one way) would not be shown.

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
