"""What a server's prefix cache would save on given prompts, without the server.

vLLM keeps the keys and values of whole blocks of tokens and finds a block by everything before
it, so that only equal beginnings count, in steps of the block size, and the last token is always
computed. The same rules are played here on token ids; blocks that were used longest ago are
dropped first when the cache is full, the ends of prompts before their beginnings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecomfs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PrefixCacheReport:
    """What was found in the cache.

    Attributes:
        prompts: how many prompts were played.
        tokens: their tokens.
        cached_tokens: of these, how many were found.
    """

    prompts: int
    tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        """Cached tokens over tokens, as the server counts it; ``None`` without any token."""
        return self.cached_tokens / self.tokens if self.tokens else None

    @property
    def prefill_ratio(self) -> float | None:
        """How many times fewer tokens are computed; ``None`` without any token."""
        computed = self.tokens - self.cached_tokens
        return self.tokens / computed if computed else None


def simulate_prefix_cache(
    prompts: Iterable[Sequence[int]], *, block_size: int = 16, capacity: int | None = None
) -> PrefixCacheReport:
    """Play prompts one after another through an empty cache.

    Args:
        prompts: token ids, in the order in which they are sent.
        block_size: tokens a block: 16 on GPUs, 128 in vLLM's CPU build.
        capacity: blocks the cache holds; ``None`` for no limit.

    Raises:
        ConfigError: a block size or capacity below 1.

    >>> shared = list(range(64))
    >>> simulate_prefix_cache([shared + [100 + i] * 16 for i in range(4)]).cached_tokens
    192
    """
    if block_size < 1 or (capacity is not None and capacity < 1):
        raise ConfigError(f"block size {block_size} and capacity {capacity} must be at least 1")
    # A block is known by the number of the block before it and its own tokens: numbers of blocks
    # stand for whole beginnings, exactly.
    blocks: OrderedDict[tuple[int, tuple[int, ...]], int] = OrderedDict()
    number = prompts_seen = tokens = cached = 0
    for prompt in prompts:
        prompts_seen += 1
        tokens += len(prompt)
        parent, used, hits = 0, [], 0
        hitting = True
        for start in range(0, len(prompt) - block_size + 1, block_size):
            key = (parent, tuple(prompt[start : start + block_size]))
            known = blocks.get(key)
            if known is None:
                hitting = False
                number += 1
                blocks[key] = known = number
            hits += hitting
            used.append(key)
            parent = known
        cached += min(hits, max(0, len(prompt) - 1) // block_size) * block_size
        for key in reversed(used):
            blocks.move_to_end(key)
        while capacity is not None and len(blocks) > capacity:
            blocks.popitem(last=False)
    return PrefixCacheReport(prompts_seen, tokens, cached)
