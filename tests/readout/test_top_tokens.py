"""Labels read from lists of likely tokens, and from constrained answers."""

from __future__ import annotations

import hashlib
import math
import string
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ecomfs.engine.protocol import ChosenAnswer
from ecomfs.errors import ConfigError
from ecomfs.readout import AnswerTrie, ChoiceReadout, TopReadout, Verbalizer, codes
from ecomfs.task import Label, LabelSpace
from ecomfs.types import Reading

WORDS = ("positive", "negative", "not sure", "not relevant", "好评", "差评", "手机", "手表")
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from([f" {w[:n]}" for w in WORDS for n in range(1, len(w) + 1)]),
    st.sampled_from(["A", " A", " A.", " B", "C)", " AB", "Ａ", "\ufffd", "", "<eos>"]),
)


@st.composite
def lists(draw: st.DrawFn) -> dict[str, float]:
    """What a provider lists: texts with probabilities of no more than one in sum."""
    tokens = draw(st.lists(TEXTS, min_size=1, max_size=20, unique=True))
    weights = [draw(st.floats(1e-6, 1.0)) for _ in tokens]
    mass = draw(st.floats(0.01, 1.0))
    pairs = zip(tokens, (math.log(mass * w / sum(weights)) for w in weights), strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def answers(kind: str) -> st.SearchStrategy[tuple[str, ...]]:
    pool = WORDS if kind == "words" else ("A", "B", "C", "AB", "AC", "1")
    return st.lists(st.sampled_from(pool), min_size=2, unique=True).map(tuple)


KINDS = pytest.mark.parametrize("kind", ["words", "codes"])


@KINDS
@given(data=st.data(), listed=lists())
def test_a_distribution_or_nothing(
    kind: str, data: st.DataObject, listed: dict[str, float]
) -> None:
    likely = TopReadout(Verbalizer(kind, data.draw(answers(kind))))  # type: ignore[arg-type]
    p, mass = likely.posterior(listed)
    assert 0 <= mass <= 1
    if not p:
        assert mass == 0
        return
    assert len(p) == len(likely._verbalizer.answers)
    assert sum(p) == pytest.approx(1)
    assert all(value >= 0 for value in p)


@KINDS
@given(data=st.data(), listed=lists())
def test_a_label_that_is_not_listed_is_never_the_answer(
    kind: str, data: st.DataObject, listed: dict[str, float]
) -> None:
    given_answers = data.draw(answers(kind))
    p, mass = TopReadout(Verbalizer(kind, given_answers)).posterior(listed)  # type: ignore[arg-type]
    assume(p)
    best = given_answers[p.index(max(p))]
    assert any(t.strip() and _plain(best).startswith(_plain(t)) for t in listed)
    # What is not listed is bounded by the last token that is, and by what the list leaves.
    bound = min(*map(math.exp, listed.values()), max(0.0, 1 - sum(map(math.exp, listed.values()))))
    for answer, value in zip(given_answers, p, strict=True):
        if not any(_plain(t) and _plain(answer).startswith(_plain(t)) for t in listed):
            assert value <= bound / (2 * mass) + 1e-12


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip(" " + string.punctuation).casefold()


@KINDS
@given(data=st.data(), listed=lists())
def test_the_order_of_the_labels_does_not_matter(
    kind: str, data: st.DataObject, listed: dict[str, float]
) -> None:
    given_answers = data.draw(answers(kind))
    order = data.draw(st.permutations(range(len(given_answers))))
    one = Verbalizer(kind, given_answers)  # type: ignore[arg-type]
    p, mass = TopReadout(one).posterior(listed)
    turned, same = TopReadout(one.subset(order)).posterior(listed)
    assert same == pytest.approx(mass)
    assert turned == pytest.approx([p[i] for i in order] if p else ())


@given(
    st.lists(st.floats(-12, -0.1), min_size=3, max_size=12), st.integers(0, 99), st.integers(0, 99)
)
def test_permuted_codes_read_the_same(values: list[float], seed: int, other: int) -> None:
    """A model that likes labels and no letters gives the same posterior under any codes."""
    space = LabelSpace([Label(f"label {n}") for n in range(len(values))])
    total = sum(map(math.exp, values))
    scale = max(total, 1.0)

    def read(with_seed: int) -> tuple[tuple[float, ...], float]:
        verbalizer = codes(space, None, " ", with_seed)
        pairs = zip(verbalizer.answers, values, strict=True)
        listed = {f" {code}": v - math.log(scale) for code, v in pairs if v > -8}
        return TopReadout(verbalizer).posterior(listed)

    (p, mass), (q, same) = read(seed), read(other)
    assert p == pytest.approx(q)
    assert mass == pytest.approx(same)


@given(st.lists(st.floats(-8, -0.1), min_size=2, max_size=8))
def test_where_all_labels_are_listed_it_is_exact(values: list[float]) -> None:
    values = [v - math.log(len(values)) for v in values]
    letters = "ABCDEFGH"[: len(values)]
    exact = AnswerTrie([(n + 1,) for n in range(len(values))], 0).posterior(
        Reading((tuple(values),))
    )
    listed = dict(zip((f" {c}" for c in letters), values, strict=True))
    found = TopReadout(Verbalizer("codes", tuple(letters))).posterior(listed | {" the": -9.0})
    assert found[0] == pytest.approx(exact[0])
    assert found[1] == pytest.approx(exact[1])


def test_where_no_label_is_listed_there_is_no_answer() -> None:
    likely = TopReadout(Verbalizer("words", ("positive", "negative")))
    assert likely.posterior({" The": -0.1, "\n": -3.0, "": -4.0}) == ((), 0.0)
    assert likely.posterior({" pos": -9999.0, " the": 0.0}) == ((), 0.0)  # as good as unlisted


@pytest.mark.parametrize("answers", [("Yes", "yes"), ("+", "-"), ("ok", "OK!")])
def test_words_that_cannot_be_told_apart(answers: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="differ in capitals or punctuation") as caught:
        TopReadout(Verbalizer("words", answers))
    assert "top-codes" in caught.value.hint


@pytest.mark.parametrize(
    ("answers", "suits"),
    [
        (("positive", "negative"), True),
        (("not relevant", "not sure", "relevant"), False),
        (("phone", "phone case"), False),
        (("order", "orders"), False),
        (("好评", "差评"), True),
        (("手机", "手表"), False),
    ],
)
def test_first_words_have_to_differ(answers: tuple[str, ...], suits: bool) -> None:
    assert TopReadout(Verbalizer("words", answers)).suits(shortlisted=True) is suits
    assert TopReadout(Verbalizer("codes", ("A", "AB")[: len(answers)])).suits(shortlisted=False)


@pytest.mark.parametrize("count", [35, 36, 200])
def test_codes_without_a_tokenizer_have_one_length(count: int) -> None:
    space = LabelSpace([Label(f"label {n}") for n in range(count)])
    found = codes(space, None, " ", 3).answers
    assert len(set(found)) == count
    assert {len(code) for code in found} == {1 if count <= 35 else 2}


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
def test_a_choice_with_all_alternatives_is_exact(
    answers: list[str], seed: int, separator: str
) -> None:
    choice = drawn(seed, answers, separator)
    p = ChoiceReadout(Verbalizer("words", tuple(answers)), separator).posterior(choice)
    assert sum(p) == pytest.approx(1)
    assert all(value >= 0 for value in p)
    at = answers.index(choice.text.removeprefix(separator))
    assert p[at] == pytest.approx(exact(seed, answers, answers[at]))
    for first in {a[0] for a in answers}:  # of the others, what turns off at the same place
        group = [i for i, a in enumerate(answers) if a[0] == first]
        expected = sum(exact(seed, answers, answers[i]) for i in group)
        assert sum(p[i] for i in group) == pytest.approx(expected)


@given(ANSWERS, st.integers(0, 1000), st.data())
def test_the_order_of_the_labels_does_not_change_a_choice(
    answers: list[str], seed: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(answers))))
    one = Verbalizer("words", tuple(answers))
    choice = drawn(seed, answers)
    p = ChoiceReadout(one, "").posterior(choice)
    turned = ChoiceReadout(one.subset(order), "").posterior(choice)
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


def test_partial_characters_carry_no_information() -> None:
    readout = ChoiceReadout(Verbalizer("words", ("好评", "差评")), "")
    steps = (("\ufffd", {"\ufffd": -0.1}), ("\ufffd", {"\ufffd": -0.1}))
    assert readout.posterior(ChosenAnswer("好评", steps)) == (1.0, 0.0)


def test_a_label_off_a_full_list_is_bounded() -> None:
    readout = ChoiceReadout(Verbalizer("words", ("a", "b", "c")), "")
    listed = {"a": math.log(0.7), "b": math.log(0.2)}
    p = readout.posterior(ChosenAnswer("a", (("a", listed),)))
    assert p[0] > p[1] > p[2] > 0
    assert p[2] == pytest.approx(0.05, abs=0.01)
