"""Messages with many intents."""

from __future__ import annotations

import random

from ecomfs.types import Example

LABELS = [
    f"{a} {b}"
    for a in ("cancel", "change", "track", "return", "ask about", "pay for")
    for b in ("order", "parcel", "refund", "invoice", "address")
]


def messages(each: int = 3, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    words = ["please", "hello", "my", "the", "now", "help", "want to", "how do I"]
    out = []
    for label in LABELS:
        for n in range(each):
            text = f"{rng.choice(words)} {label} {rng.choice(words)} {n}"
            out.append(Example(f"{label}-{n}", {"text": text}, label))
    return out
