"""Forms for comparing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.text import fold, squeeze


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Great product!", "great  product"),
        ("ＬＥＧＯ　７５３１３", "lego 75313"),
        ("很好，下次还来！！", "很好 下次还来"),
        ("STRASSE", "straße"),
        ("I love it ❤️", "i love it"),
        ("ｶﾞﾗｽ", "ガラス"),
    ],
)
def test_texts_that_differ_in_looks_only_fold_together(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("128gb", "256gb"), ("很好", "不好"), ("café", "cafe"), ("किताब", "कतब")]
)
def test_texts_that_differ_in_content_do_not(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@settings(deadline=None)
@given(st.text())
def test_folding_and_squeezing_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert squeeze(squeeze(text)) == squeeze(text)
