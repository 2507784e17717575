"""Small pools for tests: reviews whose words tell their label."""

from __future__ import annotations

import random

from ecomfs.types import Example

GOOD = ("lovely", "great", "soft", "comfortable", "perfect", "beautiful")
BAD = ("broken", "awful", "torn", "useless", "late", "ugly")
ROWS = ["a lovely soft hat", "broken and ugly coat", "great perfect shirt"]
"""Rows like them: positive, negative, positive."""


def reviews(n: int = 40, seed: int = 0) -> list[Example]:
    """Half of them positive."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        words = GOOD if i % 2 else BAD
        thing = rng.choice(["shirt", "coat", "hat"])
        text = f"{rng.choice(words)} and {rng.choice(words)} {thing} {i}"
        out.append(Example(f"r{i}", {"text": text}, "positive" if i % 2 else "negative"))
    return out
