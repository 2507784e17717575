"""Simulates a prefix cache, to count the tokens it saves without a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecomfs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PrefixCacheReport:
    """Tokens that a prefix cache saves.

    Attributes:
        tokens: tokens of all prompts.
        cached_tokens: number of them found in the cache.
    """

    tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        """Cached tokens divided by all tokens, as a server counts it; ``None`` without tokens."""
        return self.cached_tokens / self.tokens if self.tokens else None


def simulate_prefix_cache(
    prompts: Iterable[Sequence[int]], *, block_size: int = 16
) -> PrefixCacheReport:
    """Simulate the prefix cache of a vLLM server for prompts sent one after another.

    vLLM caches the keys and values of whole blocks of tokens. A block is found by all tokens up to
    its end, so only equal prefixes count, in steps of the block size; the last token is always
    computed. The simulated cache is empty at first and never full.

    Parameters
    ----------
    prompts
        Token ids, in the order in which they are sent.
    block_size
        Tokens per block: 16 on GPUs, 128 in vLLM's CPU build.

    Raises
    ------
    ConfigError
        A block size below 1.

    Examples
    --------
    >>> shared = list(range(64))
    >>> simulate_prefix_cache([shared + [100 + i] * 16 for i in range(4)]).cached_tokens
    192
    """
    if block_size < 1:
        raise ConfigError(f"block size is {block_size}", hint="use 1 or more")
    # The key of a block is the number of the previous block and its own tokens, so that the number
    # of a block identifies the whole prefix.
    blocks: dict[tuple[int, tuple[int, ...]], int] = {}
    tokens = cached = 0
    for prompt in prompts:
        tokens += len(prompt)
        before, hits, hit = 0, 0, True
        for start in range(0, len(prompt) - block_size + 1, block_size):
            key = (before, tuple(prompt[start : start + block_size]))
            hit = hit and key in blocks
            hits += hit
            before = blocks.setdefault(key, len(blocks) + 1)
        cached += min(hits, max(0, len(prompt) - 1) // block_size) * block_size
    return PrefixCacheReport(tokens, cached)
