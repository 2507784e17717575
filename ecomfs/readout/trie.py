"""Exact scoring of answers of any length: a trie over their tokens.

Labels that start with different tokens need one look at the next-token distribution. Where
answers share tokens ("Fridges" / "Fridge Freezers"), the model is asked again after the shared
part, with the prompt's key/values reused. The probability of an answer is the product, over the
branching nodes on its path, of the child's share among that node's children: the distribution
that constrained decoding samples from, computed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ecomfs.errors import ConfigError
from ecomfs.types import Question, Reading


class AnswerTrie:
    """Compiled once a label space and tokenizer.

    Args:
        sequences: token ids of each answer as they follow the prompt.
        end: token that ends an answer (a line break); it competes where one answer is the
            beginning of another.

    Raises:
        ConfigError: two answers have the same tokens, or one has none.

    >>> trie = AnswerTrie([(5,), (7, 1), (7, 2)], end=0)
    >>> [(q.suffix, q.codes) for q in trie.questions]
    [((), (5, 7)), ((7,), (1, 2))]
    >>> half = math.log(0.5)
    >>> probabilities, mass = trie.posterior(Reading(((half - 1, half - 1), (half, half - 1e9))))
    >>> [round(p, 3) for p in probabilities], round(mass, 3)
    ([0.5, 0.5, 0.0], 0.368)
    """

    def __init__(self, sequences: Sequence[Sequence[int]], end: int) -> None:
        if len({tuple(s) for s in sequences}) != len(sequences) or not all(sequences):
            raise ConfigError(
                "two labels have the same tokens under this model's tokenizer",
                hint="rename one of them, or use --readout codes",
            )
        children: dict[tuple[int, ...], dict[int, None]] = {(): {}}  # dict as an ordered set
        for sequence in sequences:
            for depth, token in enumerate(sequence):
                children.setdefault(tuple(sequence[:depth]), {})[token] = None
        for sequence in sequences:  # an answer that is the beginning of another must end here
            inner = children.get(tuple(sequence))
            if inner is not None:
                inner[end] = None
        # The root is always asked: its sum is the label mass. Elsewhere an only child is certain.
        asked = [path for path in children if not path or len(children[path]) > 1]
        self.questions = tuple(Question(tuple(children[path]), path) for path in asked)
        position = {path: i for i, path in enumerate(asked)}
        self._paths: list[list[tuple[int, int]]] = []
        for sequence in sequences:
            steps: list[tuple[int, int]] = []
            full = (*sequence, end) if tuple(sequence) in children else tuple(sequence)
            for depth, token in enumerate(full):
                node = position.get(full[:depth])
                if node is not None:
                    steps.append((node, self.questions[node].codes.index(token)))
            self._paths.append(steps)
        # Nearly always: one look, and every answer a token of it.
        self._flat: tuple[int, ...] | None = None
        if len(self.questions) == 1 and all(len(steps) == 1 for steps in self._paths):
            self._flat = tuple(child for ((_, child),) in self._paths)

    def posterior(self, reading: Reading) -> tuple[tuple[float, ...], float]:
        """Probabilities aligned with the answers (sum one), and the label mass."""
        if self._flat is not None:
            return _flat_posterior(reading.logprobs[0], self._flat)
        shares = [_log_softmax(logprobs) for logprobs in reading.logprobs]
        scores = [math.fsum(shares[node][child] for node, child in path) for path in self._paths]
        top = max(scores)
        weights = [math.exp(score - top) for score in scores]
        total = math.fsum(weights)
        mass = math.fsum(math.exp(p) for p in reading.logprobs[0])
        return tuple(w / total for w in weights), min(mass, 1.0)


def _flat_posterior(
    logprobs: Sequence[float], children: Sequence[int]
) -> tuple[tuple[float, ...], float]:
    top = max(logprobs)
    weights = [math.exp(logprobs[child] - top) for child in children]
    total = math.fsum(weights)
    mass = math.fsum(map(math.exp, logprobs))
    return tuple(w / total for w in weights), min(mass, 1.0)


def _log_softmax(logprobs: Sequence[float]) -> list[float]:
    top = max(logprobs)
    total = top + math.log(math.fsum(math.exp(p - top) for p in logprobs))
    return [p - total for p in logprobs]
