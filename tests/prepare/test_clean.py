"""Cleaning, rule by rule: what is changed, what is removed, and that both are reported."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecomfs.errors import ColumnError, ConfigError
from ecomfs.prepare.clean import CleanPolicy, CleanResult, clean, clean_text, fix_mojibake

KEEP_ALL = CleanPolicy(
    mojibake=False,
    html="keep",
    controls=False,
    unicode="keep",
    spaces=False,
    labels=False,
    unreadable="ignore",
    empty="ignore",
    unlabelled="ignore",
    over_long="ignore",
    duplicate="ignore",
    near_duplicate="ignore",
    conflict="ignore",
    leak="ignore",
    near_leak="ignore",
)


def run(texts: list[Any], labels: list[Any] | None = None, **options: Any) -> CleanResult:
    frame = pd.DataFrame({"text": texts})
    if labels is not None:
        frame["label"] = labels
        options["label_column"] = "label"
    if isinstance(policy := options.get("policy"), dict):
        options["policy"] = CleanPolicy(**policy)
    return clean(frame, text_columns=["text"], **options)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ("plain text, 1 < 2 & 3 > 2", "plain text, 1 < 2 & 3 > 2", []),
        ("I <3 this <brand>", "I <3 this <brand>", []),
        ("<p class='x'>Good</p> <b>value</b>", "Good\nvalue", ["html", "space"]),
        ("a<br/>b", "a\nb", ["html"]),
        ("<script>alert('x')</script>nice<!-- hidden -->", "nice", ["html", "space"]),
        ("5 &lt; 6 &amp;amp; 7&rdquo;", "5 < 6 & 7”", ["html"]),
        ("R&D & AT&T;", "R&D & AT&T;", []),
        ("zero\u200bwidth\ufeff \x00nul", "zerowidth nul", ["control"]),
        ("ignore\u202e all\U000e0041", "ignore all", ["control"]),
        ("a\r\nb\rc", "a\nb\nc", ["control"]),
        ("cafe\u0301", "café", ["unicode"]),
        ("  a\t b\u3000c \n\n\n\n d ", "a b c\n\nd", ["space"]),
        ("👨‍👩‍👧 ❤️ किताब", "👨‍👩‍👧 ❤️ किताब", []),
        ("å¿«é€’å¾ˆå¿«", "快递很快", ["mojibake"]),
    ],
)
def test_a_text_is_repaired(before: str, after: str, kinds: list[str]) -> None:
    assert clean_text(before, CleanPolicy()) == (after, kinds)


@pytest.mark.parametrize(
    ("policy", "text", "after"),
    [
        ({"html": "keep"}, "<b>x</b>&amp;", "<b>x</b>&amp;"),
        ({"html": "unescape"}, "<b>x</b>&amp;", "<b>x</b>&"),
        ({"unicode": "NFKC"}, "ＡＢＣ　１２", "ABC 12"),
        ({"unicode": "NFC"}, "ＡＢＣ", "ＡＢＣ"),
        ({"emoji": "drop"}, "good 👍🏽 Brand™", "good Brand™"),
        ({"emoji": "name"}, "good 👍", "good :thumbs_up:"),
        ({"emoji": "name"}, "不错👍", "不错:拇指向上:"),
        ({"controls": False, "spaces": False}, " a\x00 ", " a\x00 "),
        ({"mojibake": False}, "å¾ˆå¥½", "å¾ˆå¥½"),
    ],
)
def test_the_policy_decides(policy: dict[str, Any], text: str, after: str) -> None:
    assert clean_text(text, CleanPolicy(**policy))[0] == after


@pytest.mark.parametrize(
    "text",
    [
        "质量很好，物流也快",
        "très déçu, à éviter",
        "Größe fällt zu groß aus",
        "ÀÉ ÇA",
        "naïve café – 5 €",
        "日本語のレビュー",
        "한국어 리뷰",
        "Отличный товар",
        "联通",
        "★★★★★",
        "½ Ø 20 µm",
    ],
)
def test_sound_text_is_not_taken_for_mojibake(text: str) -> None:
    assert fix_mojibake(text) == text


@settings(deadline=None)
@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    policy = CleanPolicy(mojibake=False, html="keep")
    once = clean_text(text, policy)[0]
    assert clean_text(once, policy) == (once, [])


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=6))
def test_every_row_is_kept_or_removed_and_its_original_with_it(texts: list[str]) -> None:
    result = run(texts, ["a"] * len(texts))
    assert sorted([*result.frame.index, *result.removed.index]) == list(range(len(texts)))
    assert result.report.rows_in == len(texts)
    assert result.report.rows_out == len(result.frame)
    for row, original in result.frame["text_original"].items():
        assert original == texts[row]
    for row, text in result.removed["text"].items():
        assert text == texts[row]
    removed = {f.row for f in result.report if f.action == "removed"}
    assert removed == set(result.removed.index)


def test_texts_lost_for_good_are_reported() -> None:
    result = run(["物流锟斤拷很快", "caf\ufffd"])
    assert len(result.frame) == 2
    assert result.report.rows("mojibake", "reported") == [0, 1]


def test_empty_texts_and_missing_values() -> None:
    result = run(["", " \u200b ", None, np.nan, "<br>", "ok"])
    assert result.removed.index.to_list() == [0, 1, 2, 3, 4]
    assert set(result.removed["removed_because"]) == {"empty"}


def test_rows_without_label_and_over_long_ones() -> None:
    result = run(["a", "b" * 50, "c"], ["", "x", " "], policy={"max_chars": 49})
    assert result.report.rows("unlabelled", "removed") == [0, 2]
    assert result.report.rows("over_long", "reported") == [1]
    removing = run(["b" * 50], policy={"max_chars": 49, "over_long": "remove"})
    assert removing.removed["removed_detail"].to_list() == ["50 characters, the limit is 49"]


def test_labels_become_one_spelling_the_most_frequent() -> None:
    result = run(["a", "b", "c", "d", "e"], ["Good", "good ", "Good", "ＢＡＤ", "bad"])
    assert result.frame["label"].to_list() == ["Good", "Good", "Good", "ＢＡＤ", "ＢＡＤ"]
    assert result.frame["label_original"].to_list() == ["Good", "good ", "Good", "ＢＡＤ", "bad"]
    assert [f.detail for f in result.report] == ["'good ' is 'Good'", "'bad' is 'ＢＡＤ'"]


def test_the_first_duplicate_is_kept() -> None:
    result = run(["Nice one!", "other", "nice  ONE", "Nice one"], ["x", "x", "x", "x"])
    assert result.frame.index.to_list() == [0, 1]
    assert result.removed["removed_detail"].to_list() == ["row 0", "row 0"]


def test_texts_without_letters_are_compared_as_they_are() -> None:
    result = run(["★★★★★", "★", "★★★★★", "👍"])
    assert result.removed.index.to_list() == [2]


LONG = "The parcel arrived two days late and the corner of the box was crushed"


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (LONG.replace("corner", "korner"), True),
        (LONG + " badly", True),
        (LONG + " 128GB", False),
        ("Completely different words about a phone", False),
    ],
)
def test_near_duplicates(other: str, near: bool) -> None:
    assert bool(run([LONG, other], ["x", "x"]).report.rows("near_duplicate")) == near


def test_near_duplicates_with_other_numbers_or_codes_are_other_products() -> None:
    titles = [
        "Samsung Galaxy S9 smartphone 64GB midnight black",
        "Samsung Galaxy S9 smartphone 128GB midnight black",
        "Samsung Galaxy S8 smartphone 64GB midnight black",
    ]
    assert len(run(titles).frame) == 3


def test_near_texts_with_other_labels_are_only_reported() -> None:
    result = run([LONG, LONG.replace("late", "latex")], ["late", "fine"])
    assert len(result.frame) == 2
    (finding,) = result.report
    assert (finding.kind, finding.action) == ("near_conflict", "reported")
    assert finding.detail == "row 0, similarity 0.91, label 'late'"


@pytest.mark.parametrize(
    ("fate", "kept"),
    [
        ("remove", ["other"]),
        ("majority", ["same", "other"]),
        ("report", ["same", "SAME", "other"]),
        ("ignore", ["same", "SAME", "other"]),
    ],
)
def test_conflicting_labels(fate: str, kept: list[str]) -> None:
    texts = ["same", "Same!", "SAME", "other"]
    result = run(texts, ["a", "a", "b", "a"], policy={"conflict": fate})
    assert result.frame["text"].to_list() == kept
    assert bool(result.report.rows("conflict")) == (fate != "ignore")


def test_a_row_without_a_label_contradicts_no_label() -> None:
    texts = ["same", "Same!", LONG, LONG.replace("late", "latex")]
    result = run(texts, ["a", "", "b", ""], policy={"unlabelled": "report"})
    assert len(result.frame) == 4
    assert {finding.kind for finding in result.report} == {"unlabelled"}


def test_a_tie_has_no_majority() -> None:
    result = run(["same", "same"], ["a", "b"], policy={"conflict": "majority"})
    assert result.removed["removed_detail"].to_list() == ["'a' × 1, 'b' × 1"] * 2


def test_rows_of_the_test_set_leave_the_pool() -> None:
    test = pd.DataFrame({"text": ["Nice &amp; cheap", LONG], "more": [1, 2]}, index=["t1", "t2"])
    result = run(["nice & cheap!", LONG.replace("two", "too"), "mine"], test=test)
    assert result.removed["removed_because"].to_list() == ["leak", "near_leak"]
    assert result.removed["removed_detail"].to_list()[0] == "test row t1"
    kept = run(["nice & cheap!"], test=test, policy={"leak": "report", "near_leak": "ignore"})
    assert len(kept.frame) == 1
    assert kept.report.rows("leak", "reported") == [0]


def test_several_text_columns_are_compared_together() -> None:
    frame = pd.DataFrame({"q": ["cup", "cup", "cup"], "p": ["red", "blue", "Red"]})
    result = clean(frame, text_columns=["q", "p"])
    assert result.removed.index.to_list() == [2]
    assert list(result.frame.columns) == ["q", "q_original", "p", "p_original"]


def test_ids_name_rows_and_doubled_ones_are_reported() -> None:
    frame = pd.DataFrame({"id": ["r1", "r2", "r1"], "text": ["a", "A", "b"]}, index=[7, 8, 9])
    result = clean(frame, text_columns=["text"], id_column="id")
    assert result.report.rows("duplicate_id", "reported") == [9]
    (duplicate,) = (f for f in result.report if f.kind == "duplicate")
    assert (duplicate.row, duplicate.id, duplicate.detail) == (8, "r2", "row r1")


def test_notes_of_the_reader_are_in_the_report() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"]}, index=[2, 3, 4])
    result = clean(
        frame, text_columns=["text"], errors={3: "line 3: 1 cell"}, notes={4: "as gb18030"}
    )
    assert result.removed.index.to_list() == [3]
    assert [(f.kind, f.detail) for f in result.report] == [
        ("unreadable", "line 3: 1 cell"),
        ("encoding", "as gb18030"),
    ]


def test_the_report_as_table_and_json() -> None:
    report = run(["a", "A", "b<br>"], ["x", "x", "x"]).report
    assert report.to_frame()["kind"].to_list() == ["html", "space", "duplicate"]
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["rows_in"], data["rows_out"]) == (3, 2)
    assert data["counts"][-1] == {
        "kind": "duplicate",
        "action": "removed",
        "rows": 1,
        "meaning": "the same text as an earlier row",
    }
    assert str(report).startswith("3 rows in, 2 out, 1 removed, 1 text changed\n")


def test_a_policy_that_does_nothing_changes_nothing() -> None:
    texts = ["<b>x</b>", "<b>x</b>", "", "å¾ˆå¥½", " y "]
    result = run(texts, ["a", "b", "", "A", " a"], policy=KEEP_ALL)
    assert result.frame["text"].to_list() == texts
    assert result.report.findings == []


def test_the_frame_that_came_in_is_not_touched() -> None:
    frame = pd.DataFrame({"text": ["a&amp;b", "a&amp;b"]})
    clean(frame, text_columns=["text"])
    assert frame["text"].to_list() == ["a&amp;b", "a&amp;b"]
    assert list(frame.columns) == ["text"]


def test_wrong_columns() -> None:
    frame = pd.DataFrame({"text": ["a"], "text_original": ["b"]})
    with pytest.raises(ColumnError, match=r"no column 'review' \(columns are: text, text_orig"):
        clean(frame, text_columns=["review"])
    with pytest.raises(ColumnError, match="already has a column 'text_original'"):
        clean(frame, text_columns=["text"])
    with pytest.raises(ColumnError, match="the test table has no column 'text'"):
        clean(frame[["text"]], text_columns=["text"], test=pd.DataFrame({"x": ["a"]}))
    with pytest.raises(ConfigError, match="at least one text column"):
        clean(frame, text_columns=[])
    with pytest.raises(ConfigError, match="'text' is named both as a text and as the label"):
        clean(frame[["text"]], text_columns=["text"], label_column="text")


def test_a_policy_with_a_typing_error_is_refused() -> None:
    with pytest.raises(ValidationError):
        CleanPolicy(emojis="drop")  # type: ignore[call-arg]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(ConfigError, match=r"fixing mojibake needs ftfy .*ecomfs\[clean\]"):
        run(["très bon"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("👍", "👎"),
        (":)", ":("),
        ("screen 6.1 inch", "screen 61 inch"),
        ("C#", "C"),
        ("-5 C", "5 C"),
        ("A+", "A"),
        ("$5", "€5"),
        ("50%", "50"),
        ("1/2", "12"),
        ("m²", "m2"),
    ],
)
@pytest.mark.parametrize("context", ["{}", "we got {} after two weeks of waiting for the parcel"])
@pytest.mark.parametrize("labels", [["yes", "no"], ["yes", "yes"], None])
def test_texts_that_differ_in_a_character_with_meaning_are_kept(
    one: str, other: str, context: str, labels: list[str] | None
) -> None:
    result = run([context.format(one), context.format(other)], labels)
    assert result.frame.index.to_list() == [0, 1]


def test_texts_that_look_alike_are_a_conflict() -> None:
    result = run(["Great  product!", "ｇｒｅａｔ product"], ["yes", "no"])
    assert result.report.rows("conflict", "removed") == [0, 1]
