"""Normalised forms for comparing texts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.io import detect_language, fold, same_text, squeeze


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
    ("one", "other"),
    [
        ("Great product!", "ｇｒｅａｔ  PRODUCT."),
        ("很好，下次还来！！", "很好 下次还来。"),
        ("买 iPhone 15", "买iPhone 15"),
        ("cafe\u0301", "CAFÉ"),
        ("don’t “buy”", 'don\'t "buy"'),
        ("zero\u200bwidth\u00ad", "zerowidth"),
        ("non\u00a0breaking\tspace", "non breaking space"),
        ("love ❤️", "love ❤"),
        ("ｶﾞﾗｽ", "ガラス"),
        ("STRASSE", "straße"),
        ("−5 °C", "-5 °C"),
        ("oﬃce…", "office"),
        ("\u4e00\ufe00", "一"),
    ],
)
def test_texts_that_look_alike_to_a_reader_are_the_same(one: str, other: str) -> None:
    assert same_text(one) == same_text(other)


DIFFERENT = [
    ("👍", "👎"),
    ("great 👍", "great 👎"),
    ("great 👍", "great"),
    ("👍🏻", "👍🏿"),
    (":)", ":("),
    ("screen 6.1 inch", "screen 61 inch"),
    ("C#", "C"),
    ("C++", "C"),
    (".NET", "NET"),
    ("-5 C", "5 C"),
    ("A+", "A"),
    ("A+", "A-"),
    ("$5", "€5"),
    ("50%", "50"),
    ("50%", "50‰"),
    ("1/2", "12"),
    ("½", "12"),
    ("1½", "11/2"),
    ("m²", "m2"),
    ("①", "1"),
    ("!", "?"),
    ("!", "."),
    ("really?", "really!"),
    ("1,5", "15"),
    ("1:1", "11"),
    ("<5", ">5"),
    ("<3", "3"),
    ("~5", "5"),
    ("★★★★★", "★"),
    ("→", "←"),
    ("it's", "its"),
    ("no, good", "no good"),
    ("no where", "nowhere"),
    ("不，好", "不好"),
    ("1 2", "12"),
    ("café", "cafe"),
    ("x^2", "x2"),
    ("#1", "1"),
    ("@me", "me"),
    ("🇩🇪", "🇫🇷"),
    ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
    ("می\u200cخواهم", "میخواهم"),
    ("5'", '5"'),
    ("👨‍👩‍👧", "👨👩👧"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_characters_that_carry_meaning_make_two_texts(one: str, other: str) -> None:
    assert same_text(one) != same_text(other)


@settings(deadline=None)
@given(st.text(), st.sampled_from("+#%$€°²½👍★/<>=@&?"))
def test_a_symbol_more_is_another_text(text: str, symbol: str) -> None:
    assert same_text(text + symbol) != same_text(text)


@settings(deadline=None)
@given(st.text())
def test_case_and_white_space_and_unicode_form_make_no_other_text(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert same_text(unicodedata.normalize(form, text)) == same_text(text)
    assert same_text(f" \t{text}\n ") == same_text(text)
    assert same_text(text.casefold()) == same_text(text)


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


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Great phone, terrible battery", "en"),
        ("手机不错，电池很差", "zh"),
        ("iPhone 15 Pro Max 手机壳透明防摔", "zh"),
        ("Huawei (华为) P20 Pro smartphone, black", "en"),
        ("ＦＵＬＬ ＷＩＤＴＨ 好", "en"),
        ("", "en"),
        ("5 ★ 😀 123", "en"),
        ("好", "zh"),
        ("繁體中文也算", "zh"),
    ],
)
def test_language_of_a_text(text: str, language: str) -> None:
    assert detect_language(text) == language


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30))
def test_the_rule_is_a_third_of_the_letters(han: int, latin: int) -> None:
    expected = "zh" if han and han / (han + latin) >= 1 / 3 else "en"
    assert detect_language("好" * han + "a" * latin) == expected
