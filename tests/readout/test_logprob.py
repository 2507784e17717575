from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import ConfigError
from ecomfs.readout import AnswerTrie
from ecomfs.types import Question, Reading

END = 0
SEQUENCES = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple),
    min_size=2,
    max_size=8,
    unique=True,
)


def language_model(seed: int, question: Question) -> tuple[float, ...]:
    """A fixed next-token distribution over tokens 0 to 4, one a context."""
    weights = [1 + (hash((seed, question.suffix, token)) % 97) for token in range(5)]
    return tuple(math.log(weights[code] / sum(weights)) for code in question.codes)


def constrained(seed: int, sequences: list[tuple[int, ...]]) -> list[float]:
    """Constrained decoding, spelt out: the product of renormalised steps along each answer."""
    out = []
    for sequence in sequences:
        ends_inside = any(o != sequence and o[: len(sequence)] == sequence for o in sequences)
        full = (*sequence, END) if ends_inside else sequence
        p = 1.0
        for depth in range(len(full)):
            allowed = {o[depth] for o in sequences if o[:depth] == full[:depth] and len(o) > depth}
            if full[:depth] in sequences:
                allowed.add(END)
            step = {
                token: math.exp(language_model(seed, Question((token,), full[:depth]))[0])
                for token in allowed
            }
            p *= step[full[depth]] / sum(step.values())
        out.append(p)
    return out


@given(SEQUENCES, st.integers(0, 1000))
def test_trie_equals_constrained_decoding(sequences: list[tuple[int, ...]], seed: int) -> None:
    trie = AnswerTrie(sequences, END)
    reading = Reading(tuple(language_model(seed, q) for q in trie.questions))
    probabilities, mass = trie.posterior(reading)
    assert probabilities == pytest.approx(constrained(seed, sequences), rel=1e-9)
    assert sum(probabilities) == pytest.approx(1)
    assert 0 < mass <= 1


def test_distinct_first_tokens_cost_one_look() -> None:
    assert len(AnswerTrie([(1, 2), (3, 2), (4,)], END).questions) == 1


@pytest.mark.parametrize("sequences", [[(1,), (1,)], [(1,), ()]])
def test_answers_that_cannot_be_told_apart(sequences: list[Any]) -> None:
    with pytest.raises(ConfigError, match="same tokens"):
        AnswerTrie(sequences, END)


def test_minus_infinity_like_scores_do_not_break_the_sum() -> None:
    trie = AnswerTrie([(1,), (2,)], END)
    probabilities, mass = trie.posterior(Reading(((-1e4, -1e4 - 1),)))
    assert sum(probabilities) == pytest.approx(1)
    assert mass == 0.0
