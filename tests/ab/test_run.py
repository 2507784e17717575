"""All variants answer the same rows, alternating in a seeded order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scripted import ScriptedEngine, classifier

from ecomfs.ab import ComparedRows, Design
from ecomfs.ab.run import CHUNK, VariantAnswers, run_sequential
from ecomfs.errors import EngineUnavailableError
from ecomfs.types import Example
from ecomfs_eval.errors import EmptyDataError


def rows(n: int) -> ComparedRows:
    """Rows that are half right."""
    return ComparedRows(
        tuple(
            Example(
                f"r{i}", {"text": f"thing {'x' * (i % 40)} {i}"}, ("positive", "negative")[i % 2]
            )
            for i in range(n)
        ),
        {"shop": tuple("ab"[i % 2] for i in range(n))},
    )


class Recording(ScriptedEngine):
    """Also keeps what it was asked, and by whose template."""

    def __init__(self, heard: list[tuple[str, str]], name: str, **options: Any) -> None:
        super().__init__(**options)
        self._heard, self._name = heard, name

    async def read(self, prompts: Any, questions: Any) -> Any:
        self._heard += [(self._name, p.text.rstrip().splitlines()[-2]) for p in prompts]
        return await super().read(prompts, questions)


def asked(n: int = 200, seed: int = 0) -> tuple[VariantAnswers, list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    pipelines = {
        name: classifier(Recording(heard, name), template=template).pipeline_
        for name, template in (("A", "v1"), ("B", "v2"))
    }
    heard.clear()
    return VariantAnswers(rows(n), pipelines, seed=seed), heard


def test_every_variant_answers_every_row_once_in_the_same_order_of_rows() -> None:
    answers, heard = asked()
    answers.ask()
    assert answers.done
    by = {name: [text for who, text in heard if who == name] for name in "AB"}
    assert by["A"] == by["B"]
    assert len(set(by["A"])) == 200
    assert by["A"] != sorted(by["A"], key=lambda t: int(t.split()[-1]))  # not the table's order
    a, b = answers.predictions()
    assert a.ids == b.ids == tuple(f"r{i}" for i in range(200))
    assert a.gold == b.gold
    assert answers.tally.rows == 400


def test_turns_alternate_at_random_but_seeded() -> None:
    def turns(seed: int) -> list[str]:
        answers, heard = asked(640, seed)
        answers.ask()
        who = [name for name, _ in heard]
        return [who[i] for i in range(0, len(who), CHUNK)]

    first = turns(0)
    assert first == turns(0)
    assert first != turns(1)
    assert Counter(first) == {"A": 10, "B": 10}
    leads = {tuple(first[i : i + 2]) for i in range(0, 20, 2)}
    assert leads == {("A", "B"), ("B", "A")}


def test_predictions_are_the_pipelines_whatever_the_order() -> None:
    one, two = asked(90, seed=0)[0], asked(90, seed=5)[0]
    one.ask()
    two.ask(30)
    two.ask(60)
    for x, y in zip(one.predictions(), two.predictions(), strict=True):
        assert x.predicted == y.predicted
        np.testing.assert_array_equal(np.array(x.probabilities), np.array(y.probabilities))
    system = one.predictions()[0]
    assert set(system.slices) == {"shop", "text length"}
    assert len(set(system.slices["text length"])) == 3
    assert system.extra["prompt"][3].rstrip().splitlines()[-2].endswith(" 3")
    assert system.positive == "positive"
    assert system.prompt_tokens is not None
    assert (system.prompt_tokens > 0).all()


def test_half_asked_gives_the_rows_asked_in_the_tables_order() -> None:
    answers, heard = asked(100)
    answers.ask(30)
    a, b = answers.predictions()
    assert len(a) == len(b) == answers.asked == 30
    assert a.ids == b.ids
    assert list(a.ids) == sorted(a.ids, key=lambda i: int(i[1:]))
    assert len(heard) == 60
    assert not answers.done


def test_an_engine_that_is_gone_raises() -> None:
    pipeline = classifier().pipeline_
    gone = classifier(ScriptedEngine(gone=True)).pipeline_
    with pytest.raises(EngineUnavailableError):
        VariantAnswers(rows(5), {"A": pipeline, "B": gone}).ask()


# -- watching ----------------------------------------------------------------------------------


def two(n: int, *, better: bool) -> VariantAnswers:
    """A and B by two templates; where ``better``, the gold labels are what B answers."""
    pipelines = {
        name: classifier(template=template).pipeline_
        for name, template in (("A", "v1"), ("B", "v2"))
    }
    test = rows(n)
    if better:
        known = classifier(template="v2").classify(
            [r.fields for r in test.rows], [r.id for r in test.rows]
        )
        test = ComparedRows(
            tuple(replace(r, label=str(p.label)) for r, p in zip(test.rows, known, strict=True))
        )
    return VariantAnswers(test, pipelines)


def test_a_clear_difference_stops_early() -> None:
    answers = two(400, better=True)
    looks: list[int] = []
    [state] = run_sequential(
        answers, 1, Design(every=20), on_look=lambda s: looks.append(s[0].rows)
    )
    assert state.decision == "b better"
    assert state.rows == answers.asked < 200
    assert looks == list(range(20, state.rows + 1, 20))


def test_without_a_difference_all_rows_are_used() -> None:
    answers = two(130, better=False)
    [state] = run_sequential(answers, 1, Design(alpha=0.01, every=50))
    assert answers.done
    assert state.rows == 130
    [again] = run_sequential(two(130, better=False), 1, Design(alpha=0.01, every=130))
    assert again.mean == state.mean
    assert again.e_value == pytest.approx(state.e_value)


def test_several_challengers_share_the_level() -> None:
    same, other = classifier().pipeline_, classifier(template="v2").pipeline_
    answers = VariantAnswers(rows(20), {"A": same, "B": other, "C": same})
    one, two = run_sequential(answers, 2, Design(alpha=0.1, every=20))
    assert one.level == two.level == pytest.approx(0.95)
    assert two.mean == 0


def test_failed_rows_are_not_evidence() -> None:
    heard: list[tuple[str, str]] = []
    engine = Recording(heard, "B", fails_on="x 5")
    pipelines = {
        "A": classifier().pipeline_,
        "B": classifier(engine, template="v2").pipeline_,
    }
    answers = VariantAnswers(rows(60), pipelines)
    [state] = run_sequential(answers, 1, Design(alpha=0.001, every=10))
    failed = sum(s == "failed" for s in answers.predictions()[1].status)
    assert failed > 0
    assert state.rows == 60 - failed
    broken = classifier(ScriptedEngine(fails_on="thing")).pipeline_
    with pytest.raises(EmptyDataError, match="60 of 60 rows"):
        run_sequential(
            VariantAnswers(rows(60), {"A": pipelines["A"], "B": broken}), 1, Design(every=10)
        )
