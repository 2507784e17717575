"""A decoder that computes shared prefixes of prompts only once (torch and transformers).

The keys and values of the shared prefix are kept, one tensor pair per layer, and passed to every
row of a batch as views. Between batches they are cut to the part still shared, and extended.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

MIN_SHARED = 16
"""Shorter shared prefixes are not computed separately."""


def shared_length(rows: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest common prefix of all rows.

    >>> shared_length([(1, 2, 3), (1, 2, 9), (1, 2)]), shared_length([])
    (2, 0)
    """
    if not rows:
        return 0
    low, high = min(rows), max(rows)  # all others lie between these two
    for n, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return n
    return min(len(low), len(high))


def groups(rows: Sequence[tuple[int, ...]], size: int) -> list[list[int]]:
    """Batches of at most ``size`` rows, as indices: grouped by prefix or by length (with little
    padding), whichever computes fewer tokens.

    >>> one, two = tuple(range(40)), tuple(range(100, 140))
    >>> groups([(7,), (*one, 1), (*two, 1), (*one, 2), (*two, 2)], size=8)
    [[1, 3], [0], [2, 4]]
    >>> groups([(1,), (2,) * 9, (3,), (4,) * 9], size=2)
    [[0, 2], [1, 3]]
    """
    lengths = sorted(range(len(rows)), key=lambda i: (len(rows[i]), rows[i]))
    by_length = [lengths[start : start + size] for start in range(0, len(rows), size)]
    return min(_by_prefix(rows, size), by_length, key=lambda b: (_tokens(rows, b), len(b)))


def _tokens(rows: Sequence[tuple[int, ...]], batches: Sequence[Sequence[int]]) -> int:
    """Number of computed tokens, including padding and the prefix of each batch."""
    computed = 0
    kept: tuple[int, ...] = ()
    for batch in batches:
        own = [rows[i] for i in batch]
        shared = _kept_length(own)
        computed += len(own) * (max(map(len, own)) - shared)
        if shared:
            prefix = own[0][:shared]
            computed += shared - shared_length([prefix, kept])
            kept = prefix
    return computed


def _kept_length(rows: Sequence[tuple[int, ...]]) -> int:
    """Number of tokens of a batch's prefix that are computed once. The last token of every row is
    not among them, since its output is the answer."""
    shared = min(shared_length(rows), min(map(len, rows)) - 1)
    return shared if shared >= MIN_SHARED else 0


def _by_prefix(rows: Sequence[tuple[int, ...]], size: int) -> list[list[int]]:
    """Batches in the order of the rows' tokens.

    A batch ends early if adding the next row would lose a prefix worth keeping: that of the batch,
    or the one that the row shares with its successor. A half-full batch also ends if less than half
    of the shared prefix would be left.
    """
    order = sorted(range(len(rows)), key=rows.__getitem__)
    batches: list[list[int]] = []
    shared = 0
    for place, i in enumerate(order):
        batch = batches[-1] if batches else []
        now = shared_length([rows[i], rows[batch[0]][:shared]]) if batch else 0
        following = order[place + 1 : place + 2]
        ahead = shared_length([rows[i], rows[following[0]]]) if following else 0
        lost = now < MIN_SHARED <= max(shared if len(batch) > 1 else 0, ahead)
        halved = 2 * len(batch) >= size and 2 * now < shared
        if not batch or len(batch) == size or lost or halved:
            batches.append([i])
            shared = len(rows[i])
        else:
            batch.append(i)
            shared = now
    return batches


class PrefixDecoder:
    """Log-probabilities of the next token after each of several token sequences.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        reuse: whether to keep prefixes (models with a recurrent state cannot).
    """

    def __init__(self, model: Any, *, reuse: bool = True) -> None:
        self._model = model
        self._device = model.device
        self._reuse = reuse
        # The kept prefix, and per layer its keys and values: [1, heads, tokens, head dimension].
        self._kept: tuple[int, ...] = ()
        self._layers: list[tuple[Any, Any]] = []
        parameters = inspect.signature(model.forward).parameters
        # The argument was renamed within transformers 5.
        self._cache = "cache" if "cache" in parameters else "past_key_values"
        self._picks_positions = "logits_to_keep" in parameters

    def next_logprobs(self, rows: Sequence[tuple[int, ...]]) -> tuple[Any, list[int]]:
        """Log-softmax over the vocabulary after each row, which has at least one token.

        Returns:
            A float32 tensor ``[rows, vocabulary]``, and for each row the number of its tokens that
            were reused.
        """
        import torch

        with torch.inference_mode():
            shared = _kept_length(rows) if self._reuse else 0
            if not shared:
                return self._forward(rows, 0), [0] * len(rows)
            before = self._keep(rows[0][:shared])
            reused = [before] + [shared] * (len(rows) - 1)
            return self._forward(rows, shared), reused

    def _keep(self, tokens: tuple[int, ...]) -> int:
        """Make the kept prefix equal ``tokens``; returns how many of them were kept before."""
        import torch

        known = shared_length([tokens, self._kept])
        layers = [(k[..., :known, :], v[..., :known, :]) for k, v in self._layers]
        if known < len(tokens):
            cache = self._new_cache(layers if known else [], 1)
            ids = torch.tensor([tokens[known:]], device=self._device)
            places = torch.arange(known, len(tokens), device=self._device)[None]
            options: dict[str, Any] = {"logits_to_keep": 1} if self._picks_positions else {}
            options[self._cache] = cache
            self._model(input_ids=ids, position_ids=places, use_cache=True, **options)
            layers = [(layer.keys, layer.values) for layer in cache.layers]
        self._kept, self._layers = tokens, layers
        return known

    def _forward(self, rows: Sequence[tuple[int, ...]], shared: int) -> Any:
        import torch

        tails = [row[shared:] for row in rows]
        width = max(map(len, tails))
        # Padding is on the right: causal attention never reaches it from a real token.
        ids = torch.tensor([(*t, *(0,) * (width - len(t))) for t in tails], device=self._device)
        places = torch.arange(shared, shared + width, device=self._device).expand(len(rows), -1)
        last = torch.tensor([len(t) - 1 for t in tails], device=self._device)
        kept, picked = torch.unique(last, return_inverse=True)
        if not self._picks_positions:
            kept, picked = torch.arange(width, device=self._device), last
        options: dict[str, Any] = {"logits_to_keep": kept} if self._picks_positions else {}
        if shared:
            options[self._cache] = self._new_cache(self._layers, len(rows))
        mask = torch.tensor(
            [[1] * len(row) + [0] * (shared + width - len(row)) for row in rows],
            device=self._device,
        )
        options |= {"attention_mask": mask, "use_cache": bool(shared)}
        logits = self._model(input_ids=ids, position_ids=places, **options).logits
        wanted = logits[torch.arange(len(rows), device=self._device), picked]
        return torch.log_softmax(wanted.float(), dim=-1)

    @staticmethod
    def _new_cache(layers: Sequence[tuple[Any, Any]], rows: int) -> Any:
        from transformers import DynamicCache

        # Without the model's configuration every layer keeps its whole past. Sliding-window layers
        # would drop it and could not be cut back; the mask makes their window.
        if not layers:
            return DynamicCache()
        return DynamicCache(
            [(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in layers]
        )

    def forget(self) -> None:
        """Free the memory of the kept prefix."""
        self._kept, self._layers = (), []
