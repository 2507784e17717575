"""The script rule that chooses between the English and the Chinese prompt."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.io import detect_language, majority_language


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


def test_the_majority_ignores_texts_without_letters() -> None:
    assert majority_language(["很好"] + ["123"] * 50) == "zh"
    assert majority_language(["很好", "good"]) == "en"
    assert majority_language([]) == "en"
    assert majority_language(["good"] * 3 + ["很好"] * 9, sample=3) == "en"
