"""Runs with a budget of seconds or tokens for model calls."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from pools import reviews
from scripted import ScriptedEngine, classifier

from ecomfs.batch import Budget, journal_path, score_table
from ecomfs.batch.budget import NOT_READ
from ecomfs.calibration import Evidence
from ecomfs.core import event_loop
from ecomfs.errors import ConfigError, EngineUnavailableError

ROWS = [example.fields["text"] for example in reviews(48, seed=7)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        # The last row is a copy of the first.
        writer.writerows([n, text] for n, text in enumerate([*ROWS, ROWS[0]]))
    return tmp_path / "in.csv"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def score(source: Path, clf: Any, name: str = "out.csv", **options: Any) -> list[dict[str, str]]:
    score_table(source, source.with_name(name), clf.pipeline_, **options)
    return read(source.with_name(name))


def sureness(clf: Any) -> list[float]:
    """How sure the experts are of each row."""
    pipeline = clf.pipeline_
    found = event_loop.run(pipeline.trace([{"text": text} for text in ROWS], list(map(str, ROWS))))
    opinions = [state.opinion for state, _, _ in found]
    return pipeline.policy.experts_only.apply(Evidence.of(opinions)).max(axis=1).tolist()


def test_doubtful_rows_are_read_and_the_experts_answer_the_rest(source: Path) -> None:
    engine = ScriptedEngine(batch=4)
    clf = classifier(engine, calibration_size=20)
    whole = score(source, clf, "whole.csv")
    engine.calls.clear()
    out = score(source, clf, budget=Budget(tokens=1_000))
    assert [row["id"] for row in out] == [row["id"] for row in whole]
    assert {row["status"] for row in out} == {"ok"}
    unread = [row["note"] == NOT_READ for row in out]
    assert unread[0] == unread[-1]
    asked = len(ROWS) - sum(unread[:-1])
    assert 0 < asked == sum(engine.calls) < len(ROWS)
    for row, other, left in zip(out, whole, unread, strict=True):
        if left:
            assert row["source"] == "experts"
        else:
            assert {**row, "template": ""} == {**other, "template": ""}
    sure = sureness(clf)
    order = sorted(range(len(ROWS)), key=lambda n: sure[n])
    # Doubtful rows first, but for the order within one part of the rows.
    part = len(ROWS) // 16
    assert not any(unread[n] for n in order[: asked - asked % part])
    assert all(unread[n] for n in order[asked + part :])


def test_enough_is_as_good_as_no_budget(source: Path) -> None:
    clf = classifier(calibration_size=20)
    whole = score(source, clf, "whole.csv")
    assert score(source, clf, budget=Budget(seconds=3_600, tokens=10**9)) == whole


class _Breaks(ScriptedEngine):
    """Gone from the third call on, until it is mended."""

    armed = mended = False
    failed = 0

    async def read(self, prompts: Any, questions: Any) -> Any:
        self.gone = self.armed and len(self.calls) >= 2 and not self.mended
        self.failed += len(prompts) * self.gone
        return await super().read(prompts, questions)


def test_a_run_that_was_cut_short_goes_on_with_what_is_left(source: Path) -> None:
    engine = _Breaks(batch=8)
    clf = classifier(engine, calibration_size=20)
    engine.calls.clear()
    engine.armed = True
    budget = Budget(tokens=1_500)
    with pytest.raises(EngineUnavailableError):
        score(source, clf, budget=budget)
    assert journal_path(source.with_name("out.csv")).exists()
    engine.mended = True
    out = score(source, clf, budget=budget)
    asked = sum(engine.calls)
    assert len(out) == len(ROWS) + 1
    # Rows stored before the end are not read again, and the failed call gave no reading.
    # Of the two calls before it the last may still have been on its way to the journal.
    answered = sum(row["note"] != NOT_READ for row in out[:-1])
    assert answered in (asked - engine.failed, asked - engine.failed - engine.calls[1])
    assert 16 <= asked < len(ROWS)


def test_a_budget_of_nothing_is_refused() -> None:
    for wrong in ({"seconds": 0.0}, {"tokens": 0}, {"tokens": -3}):
        with pytest.raises(ConfigError, match="more than 0"):
            Budget(**wrong)  # type: ignore[arg-type]
    assert not Budget()


def test_a_budget_needs_the_experts(source: Path) -> None:
    clf = classifier(fusion=False, calibration_size=20)
    with pytest.raises(ConfigError, match="--budget-tokens needs the experts"):
        score(source, clf, budget=Budget(tokens=100))


def test_no_guarantee_holds_for_rows_that_are_not_read(source: Path) -> None:
    clf = classifier(calibration_size=20, coverage=0.8)
    with pytest.raises(ConfigError, match="together with a guarantee"):
        score(source, clf, budget=Budget(seconds=5))
