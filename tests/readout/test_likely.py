"""Labels read from a list of likely tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ecomfs.errors import ConfigError
from ecomfs.readout import AnswerTrie, TopReadout, Verbalizer, codes
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
    import unicodedata

    return unicodedata.normalize("NFKC", text).strip(" .)").casefold()


@KINDS
@given(data=st.data(), listed=lists())
def test_the_order_of_the_labels_tells_nothing(
    kind: str, data: st.DataObject, listed: dict[str, float]
) -> None:
    given_answers = data.draw(answers(kind))
    order = data.draw(st.permutations(range(len(given_answers))))
    one = Verbalizer(kind, given_answers)  # type: ignore[arg-type]
    p, mass = TopReadout(one).posterior(listed)
    turned, same = TopReadout(one.narrowed(order)).posterior(listed)
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
    assert TopReadout(Verbalizer("words", answers)).suits(narrowed=True) is suits
    assert TopReadout(Verbalizer("codes", ("A", "AB")[: len(answers)])).suits(narrowed=False)


@pytest.mark.parametrize("count", [35, 36, 200])
def test_codes_without_a_tokenizer_have_one_length(count: int) -> None:
    space = LabelSpace([Label(f"label {n}") for n in range(count)])
    found = codes(space, None, " ", 3).answers
    assert len(set(found)) == count
    assert {len(code) for code in found} == {1 if count <= 35 else 2}
