"""Legacy encodings: the right one or none; never a wrong one without a note."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.io.legacy import guess_encoding

REVIEWS = [
    ("cp1252", "Kleid in Größe 38, fällt größer aus als üblich"),
    ("cp1252", "Edição limitada, a promoção não vale a pena"),
    ("cp1250", "Przesyłka dotarła szybko, więcej nie zamówię"),
    ("cp1250", "Látka je příjemná, všem doporučuji"),
    ("cp1251", "Ткань приятная, но размер маловат"),
    ("koi8-r", "Ткань приятная, но размер маловат"),
    ("cp1253", "Εξαιρετικό προϊόν, χάλασε όμως αμέσως"),
    ("cp1254", "Kumaşı çok yumuşak, herkese tavsiye ederim, bir daha alacağım"),
    ("cp949", "금방 깨졌어요 환불 원해요"),
    ("cp932", "とても満足しています。また注文します"),
    ("euc_jp", "とても満足しています。また注文します"),
    ("cp950", "品質很好，運送也很快"),
    ("gb18030", "质量很好，物流也快"),
    ("gb18030", "很好"),
    ("gb18030", "好好好好好好好好好好好好好好"),
    ("gb18030", "👍 很好，五星"),
    ("gb18030", "iPhone手机壳T恤L码"),
]


def decoded(raw: bytes, name: str) -> str:
    return raw.decode(name)


@pytest.mark.parametrize(("codec", "text"), REVIEWS)
def test_a_review_is_read_in_its_own_encoding(codec: str, text: str) -> None:
    raw = text.encode(codec)
    found = guess_encoding([raw])
    assert raw.decode(found.name) == text


@pytest.mark.parametrize("broken", [b"\xff\xff", b"\x81", b"abc\x80"])
@pytest.mark.parametrize(("codec", "text"), [r for r in REVIEWS if r[0] in ("gb18030", "cp949")])
def test_a_broken_line_in_ten_decides_nothing(codec: str, text: str, broken: bytes) -> None:
    lines = [text.encode(codec)] * 12
    assert guess_encoding([*lines, broken]).name == guess_encoding(lines).name


def test_a_few_repeated_labels_are_enough() -> None:
    lines = [f"r{i},{'好评' if i % 3 else '差评'},好评".encode("gbk") for i in range(200)]
    assert guess_encoding(lines).name == "gb18030"


@pytest.mark.parametrize("codec", ["cp437", "mac-roman", "cp866", "iso8859-5"])
def test_rare_encodings_are_named_not_taken(codec: str) -> None:
    text = "Größe fällt größer aus" if codec in ("cp437", "mac-roman") else "Ткань приятная"
    found = guess_encoding([text.encode(codec)])
    assert found.name == ""
    assert found.likely


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=1, max_size=60))
def test_no_bytes_crash_it_and_what_it_names_decodes(raw: bytes) -> None:
    found = guess_encoding([raw])
    if found.name:
        assert raw.decode(found.name, "replace")
