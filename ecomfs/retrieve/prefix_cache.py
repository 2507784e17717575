"""What a prefix cache saves, counted without a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecomfs.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PrefixCacheReport:
    """What a prefix cache saves.

    Attributes:
        tokens: of all prompts.
        cached_tokens: of these, how many were found in the cache.
    """

    tokens: int
    cached_tokens: int

    @property
    def hit_rate(self) -> float | None:
        """Cached tokens over tokens, as the server counts it; ``None`` without any token."""
        return self.cached_tokens / self.tokens if self.tokens else None


def simulate_prefix_cache(
    prompts: Iterable[Sequence[int]], *, block_size: int = 16
) -> PrefixCacheReport:
    """What the prefix cache of a vLLM server saves on prompts sent one after another.

    vLLM keeps the keys and values of whole blocks of tokens and finds a block by everything
    before it: only equal beginnings count, in steps of the block size, and the last token is
    always computed. The cache is empty at first and never full.

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
    # The key of a block is the number of the block before it and its own tokens, so that a block's
    # number identifies the whole beginning of a prompt.
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
