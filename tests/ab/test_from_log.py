"""Variants compared by the log of split live traffic."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.ab import Design, compare_log
from ecomfs.ab.rows import GoldLabels
from ecomfs.errors import EmptyInputError, UnknownLabelError
from ecomfs.task import load_task
from ecomfs.traffic import LoggedPrediction, LoggedStart, TrafficRecord
from ecomfs.types import Prediction, Status

CARD = load_task("review_sentiment")
NAMES = ("positive", "negative")


def answered(id_: str, variant: str, label: str, failed: bool = False) -> LoggedPrediction:
    if failed:
        found = Prediction(id_, None, status=Status.FAILED, error="field 'text' is empty")
    else:
        found = Prediction(id_, label, {name: float(name == label) for name in NAMES})
    return LoggedPrediction.of(variant, "en", found)


def log(entries: Sequence[LoggedPrediction], **counts: int) -> TrafficRecord:
    start = LoggedStart(task="t", labels=NAMES, weights={"A": 1, "B": 1}, seed=0)
    seen = {"repeated": 0, "crossed": 0, "unreadable": 0} | counts
    return TrafficRecord((start,), tuple(entries), **seen)


def all_positive(entries: Sequence[LoggedPrediction]) -> GoldLabels:
    return GoldLabels({entry.id: "positive" for entry in entries}, {}, 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=12), st.lists(st.booleans(), min_size=2))
def test_the_scores_are_those_of_each_variants_own_rows(a: list[bool], b: list[bool]) -> None:
    entries = [
        answered(f"{name}{i}", name, NAMES[0] if right else NAMES[1])
        for name, rows in (("A", a), ("B", b))
        for i, right in enumerate(rows)
    ]
    found = compare_log(log(entries), all_positive(entries), CARD, Design())
    for name, rows in (("A", a), ("B", b)):
        assert found.scores[name]["accuracy"].value == pytest.approx(sum(rows) / len(rows))


def test_rows_that_failed_are_left_out_or_count_as_wrong() -> None:
    rows = [(f"{n}{i}", n, i == 0) for n in "AB" for i in range(4)]  # one of four fails
    entries = [answered(id_, name, "positive", failed) for id_, name, failed in rows]
    gold = all_positive(entries)
    left_out = compare_log(log(entries), gold, CARD, Design())
    wrong = compare_log(log(entries), gold, CARD, Design(failed_as_wrong=True))
    assert [left_out.scores[n]["accuracy"].value for n in "AB"] == [1.0, 1.0]
    assert [wrong.scores[n]["accuracy"].value for n in "AB"] == [0.75, 0.75]
    assert "Rows that failed are left out (A 1, B 1)." in left_out.notes
    assert "Rows that failed count as wrong (A 1, B 1)." in wrong.notes


def test_a_variant_that_only_failed_is_named() -> None:
    entries = [answered(f"{n}{i}", n, "positive", n == "B") for n in "AB" for i in range(3)]
    with pytest.raises(EmptyInputError, match="every labelled row of variant 'B' failed"):
        compare_log(log(entries), all_positive(entries), CARD, Design())


def test_labels_that_fit_no_logged_row_or_no_label_are_refused() -> None:
    entries = [answered(f"{n}{i}", n, "positive") for n in "AB" for i in range(3)]
    with pytest.raises(EmptyInputError, match="none of the 1 ids is in the log"):
        compare_log(log(entries), GoldLabels({"other": "positive"}, {}, 0), CARD, Design())
    with pytest.raises(EmptyInputError, match="no gold labels for rows of B"):
        compare_log(log(entries), all_positive(entries[:3]), CARD, Design())
    labels = {entry.id: "positive" for entry in entries} | {"A0": "splendid"}
    with pytest.raises(UnknownLabelError, match="gold, row 'A0'"):
        compare_log(log(entries), GoldLabels(labels, {}, 0), CARD, Design())


def test_what_was_left_out_and_groups_of_the_wrong_size_are_said() -> None:
    entries = [answered(f"A{i}", "A", "positive") for i in range(90)]
    entries += [answered(f"B{i}", "B", "positive") for i in range(10)]
    gold = GoldLabels({e.id: "positive" for e in entries[5:]} | {"new": "negative"}, {}, 2)
    found = compare_log(log(entries, repeated=3, crossed=1), gold, CARD, Design())
    assert {
        "5 logged rows without a gold label.",
        "1 gold labels of rows that are not in the log.",
        "2 rows of the gold file without a label.",
        "3 repeated predictions of an id, only the first counts.",
        "1 ids classified by several variants, left out.",
    } <= set(found.notes)
    assert not any("cannot be read" in note for note in found.notes)
    assert "WARNING: the group sizes do not match the weights" in found.notes[-1]
    assert "A 90 instead of 50, B 10 instead of 50" in found.notes[-1]


def test_values_of_a_slice_are_those_of_the_gold_file() -> None:
    entries = [answered(f"{n}{i}", n, NAMES[i % 2]) for n in "AB" for i in range(40)]
    shop = {"shop": {e.id: "web" if int(e.id[1:]) % 2 else "app" for e in entries}}
    gold = GoldLabels({e.id: "positive" for e in entries}, shop, 0)
    found = compare_log(log(entries), gold, CARD, Design())
    for system in found.systems:
        assert system.slices["shop"] == ("app", "web") * 20
        assert set(system.slices["language"]) == {"en"}


def test_a_variant_without_labelled_rows_is_left_out_and_named() -> None:
    entries = [answered(f"{n}{i}", n, "positive") for n in "ABC" for i in range(4)]
    start = LoggedStart(task="t", labels=NAMES, weights={"A": 1, "B": 1, "C": 1}, seed=0)
    gold = all_positive([entry for entry in entries if entry.variant != "A"])
    found = compare_log(TrafficRecord((start,), tuple(entries), 0, 0, 0), gold, CARD, Design())
    assert set(found.scores) == {"B", "C"}
    assert any("no labelled rows of A, left out" in n and "with B" in n for n in found.notes)
