"""The choice between text and fields, on pools with a known answer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import ChosenSimilarity, choose_similarity
from ecomfs.retrieve.choose import WEIGHTS
from ecomfs.task import FieldSpec
from ecomfs.types import Example

FIELDS = [
    FieldSpec(name="n", kind="number"),
    FieldSpec(name="plan", kind="category"),
    *(FieldSpec(name=f"idle{i}", kind="number") for i in range(4)),
]
NOUNS = ("shoe", "coat", "hat", "scarf", "glove", "belt")


def planted(
    label: Callable[[float, str, random.Random], str],
    size: int = 80,
    seed: int = 0,
    **options: float,
) -> ChosenSimilarity:
    rng = random.Random(seed)
    examples, texts = [], []
    for i in range(size):
        number, noun = rng.random(), rng.choice(NOUNS)
        row: dict[str, object] = {"n": number, "plan": rng.choice("abcd")}
        row |= {f"idle{j}": rng.random() for j in range(4)}
        examples.append(Example(str(i), row, label(number, noun, rng)))
        texts.append(f"a {noun} number {rng.randrange(10**6)}")
    return choose_similarity(examples, texts, HashedEmbedder(512), FIELDS, **options)


@pytest.mark.parametrize("seed", range(4))
def test_a_label_that_the_text_hides_chooses_the_fields(seed: int) -> None:
    found = planted(lambda number, noun, rng: "high" if number > 0.5 else "low", seed=seed)
    assert found.weight > 0.5
    by_weight = {trial.weight: trial for trial in found.trials}
    assert by_weight[1.0].accuracy > by_weight[0.0].accuracy + 0.2
    assert by_weight[1.0].log_loss < by_weight[0.0].log_loss


@pytest.mark.parametrize("seed", range(4))
def test_text_is_chosen_if_only_it_predicts_the_label(seed: int) -> None:
    found = planted(lambda number, noun, rng: "ab"[noun in NOUNS[:3]], seed=seed)
    assert found.weight < 0.5
    assert found.trials[0].accuracy > found.trials[-1].accuracy + 0.2


@pytest.mark.parametrize("default", [0.0, 0.5])
def test_pure_noise_keeps_the_default(default: float) -> None:
    kept = [
        planted(lambda number, noun, rng: rng.choice("ab"), seed=seed, default=default).weight
        for seed in range(12)
    ]
    # The best of four others passes one standard error by chance now and then (with noise any
    # similarity is as good); but they lead in no direction, and the default is what comes most.
    assert kept.count(default) > max(kept.count(w) for w in WEIGHTS if w != default)
    assert kept.count(default) >= 6


def test_the_numbers_go_with_the_choice() -> None:
    found = planted(lambda number, noun, rng: "high" if number > 0.5 else "low")
    assert found.examples == 80
    assert [trial.weight for trial in found.trials] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert min(trial.behind for trial in found.trials) == 0
    again = json.loads(json.dumps(found.to_dict()))
    assert again["mode"] == found.mode
    assert again["trials"][0]["log_loss"] == found.trials[0].log_loss


def test_copies_do_not_answer_for_each_other() -> None:
    rng = random.Random(5)
    rows = [({"n": rng.random(), "plan": "a"}, f"text {i}", rng.choice("xy")) for i in range(30)]
    examples = [Example(f"{i}-{c}", r, lab) for i, (r, _, lab) in enumerate(rows) for c in "ab"]
    texts = [text for _, text, _ in rows for _ in "ab"]
    found = choose_similarity(examples, texts, HashedEmbedder(512), FIELDS[:2])
    # Labels are random: votes of copies would make every candidate right.
    assert all(trial.accuracy < 0.8 for trial in found.trials)


def test_synthetic_examples_are_left_out() -> None:
    real = [Example(str(i), {"n": i}, "ab"[i > 19]) for i in range(40)]
    made = [
        Example(f"s{i}", {"n": i}, "ab"[i > 19], synthetic=True, source_id=str(i), method="rewrite")
        for i in range(40)
    ]
    texts = [f"t{i * 7 % 40}" for i in range(40)]
    alone = choose_similarity(real, texts, HashedEmbedder(256), FIELDS[:1])
    both = choose_similarity([*real, *made], [*texts, *texts], HashedEmbedder(256), FIELDS[:1])
    assert both == alone


def test_pools_that_say_nothing_keep_the_default() -> None:
    few = planted(lambda number, noun, rng: "high" if number > 0.5 else "low", size=10)
    assert (few.mode, few.weight, few.trials) == ("mixed", 0.5, ())
    one = planted(lambda number, noun, rng: "only")
    assert (one.mode, one.trials) == ("mixed", ())


def test_without_comparable_fields_it_is_text() -> None:
    examples = [Example(str(i), {"t": "x"}, "ab"[i % 2]) for i in range(40)]
    texts = [f"t{i}" for i in range(40)]
    found = choose_similarity(
        examples, texts, HashedEmbedder(256), [FieldSpec(name="t", kind="text")]
    )
    assert found.mode == "dense"


def test_bad_arguments_are_reported() -> None:
    examples = [Example("a", {"n": 1}, "x")]
    with pytest.raises(ConfigError, match="1 examples but 0 texts"):
        choose_similarity(examples, [], HashedEmbedder(256), FIELDS)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        choose_similarity(examples, ["x"], HashedEmbedder(256), FIELDS, default=1.5)


def test_a_pool_of_pairs_chooses_their_relation_when_the_words_say_nothing() -> None:
    rng = random.Random(0)
    fields = [FieldSpec(name="query", kind="text"), FieldSpec(name="product", kind="text")]
    examples, texts = [], []
    for i in range(48):
        query, other = rng.sample(NOUNS, 2)
        label = rng.choice(["match", "other"])
        product = f"new {query if label == 'match' else other} {rng.randrange(10**6)}"
        examples.append(Example(str(i), {"query": query, "product": product}, label))
        texts.append(f"{query}; {product}")
    found = choose_similarity(examples, texts, HashedEmbedder(512), fields)
    by_weight = {trial.weight: trial for trial in found.trials}
    assert found.weight >= 0.75
    assert by_weight[1.0].accuracy > 0.9 > by_weight[0.0].accuracy


def test_a_pool_of_pairs_that_is_too_small_compares_their_relation() -> None:
    fields = [FieldSpec(name="query", kind="text"), FieldSpec(name="product", kind="text")]
    pool = [Example("1", {"query": "mug", "product": "mug"}, "match")]
    assert choose_similarity(pool, ["mug; mug"], HashedEmbedder(), fields).mode == "tabular"
