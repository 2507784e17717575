"""An answer drawn under a constraint, and the probabilities along its way."""

from __future__ import annotations

import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine.protocol import ChosenAnswer
from ecomfs.readout import ChoiceReadout, Verbalizer

END = "<end>"
ANSWERS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=8, unique=True)


def weight(seed: int, said: str, token: str) -> float:
    """A fixed language model over characters."""
    return 1 + hashlib.sha256(f"{seed}/{said}/{token}".encode()).digest()[0]


def shares(seed: int, answers: list[str], said: str) -> dict[str, float]:
    """The next character under the constraint."""
    allowed = {(a[len(said)] if len(a) > len(said) else END) for a in answers if a.startswith(said)}
    weights = {token: weight(seed, said, token) for token in sorted(allowed)}
    return {token: w / sum(weights.values()) for token, w in weights.items()}


def exact(seed: int, answers: list[str], answer: str) -> float:
    p = 1.0
    for depth in range(len(answer) + 1):
        token = answer[depth] if depth < len(answer) else END
        p *= shares(seed, answers, answer[:depth])[token]
    return p


def drawn(seed: int, answers: list[str], separator: str = "") -> ChosenAnswer:
    """Greedy constrained decoding, spelt out, with the alternatives of every character."""
    said, steps = "", []
    while True:
        likely = shares(seed, answers, said)
        token = max(likely, key=likely.__getitem__)
        listed = {t: math.log(p) for t, p in likely.items()}
        if not said:
            steps.append((separator + token, {separator + t: p for t, p in listed.items()}))
        else:
            steps.append((token, listed))
        if token == END:
            return ChosenAnswer(separator + said, tuple(steps))
        said += token


@given(ANSWERS, st.integers(0, 1000), st.sampled_from(["", " "]))
def test_what_the_way_tells_is_exact(answers: list[str], seed: int, separator: str) -> None:
    choice = drawn(seed, answers, separator)
    p = ChoiceReadout(Verbalizer("words", tuple(answers)), separator).posterior(choice)
    assert sum(p) == pytest.approx(1)
    assert all(value >= 0 for value in p)
    at = answers.index(choice.text.removeprefix(separator))
    assert p[at] == pytest.approx(exact(seed, answers, answers[at]))
    for first in {a[0] for a in answers}:  # of the others, what turns off at the same place
        group = [i for i, a in enumerate(answers) if a[0] == first]
        told = sum(exact(seed, answers, answers[i]) for i in group)
        assert sum(p[i] for i in group) == pytest.approx(told)


@given(ANSWERS, st.integers(0, 1000), st.data())
def test_the_order_of_the_labels_tells_nothing(
    answers: list[str], seed: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(answers))))
    one = Verbalizer("words", tuple(answers))
    choice = drawn(seed, answers)
    p = ChoiceReadout(one, "").posterior(choice)
    turned = ChoiceReadout(one.narrowed(order), "").posterior(choice)
    assert turned == pytest.approx([p[i] for i in order])


@given(ANSWERS, st.data())
def test_without_probabilities_it_is_the_one_drawn(answers: list[str], data: st.DataObject) -> None:
    readout = ChoiceReadout(Verbalizer("words", tuple(answers)), " ")
    answer = data.draw(st.sampled_from(answers))
    assert readout.posterior(ChosenAnswer(f" {answer}")) == tuple(
        float(a == answer) for a in answers
    )


@given(st.text(max_size=8), ANSWERS)
def test_text_that_is_no_answer_is_none(text: str, answers: list[str]) -> None:
    readout = ChoiceReadout(Verbalizer("words", tuple(answers)), " ")
    assert bool(readout.posterior(ChosenAnswer(text))) is (text in [f" {a}" for a in answers])


def test_halves_of_characters_tell_nothing() -> None:
    readout = ChoiceReadout(Verbalizer("words", ("好评", "差评")), "")
    steps = (("\ufffd", {"\ufffd": -0.1}), ("\ufffd", {"\ufffd": -0.1}))
    assert readout.posterior(ChosenAnswer("好评", steps)) == (1.0, 0.0)


def test_a_label_off_a_full_list_is_bounded() -> None:
    readout = ChoiceReadout(Verbalizer("words", ("a", "b", "c")), "")
    listed = {"a": math.log(0.7), "b": math.log(0.2)}
    p = readout.posterior(ChosenAnswer("a", (("a", listed),)))
    assert p[0] > p[1] > p[2] > 0
    assert p[2] == pytest.approx(0.05, abs=0.01)
