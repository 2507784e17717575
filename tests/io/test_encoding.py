"""Bytes to text: which encoding is chosen, and the treatment of lines that it cannot decode."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import ConfigError, DecodingError
from ecomfs.io.files import (
    LOOK_BYTES,
    Encoding,
    choose_encoding,
    detect_encoding,
    encoding_named,
)
from ecomfs.io.text_tables import read_lines

CODECS = ["utf-8", "gb18030", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
REVIEW = "id,text\n1,质量很好，物流也快\n2,有点小失望😂，不推荐\n"
text_lines = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def decoded(raw: bytes, given: str | None = None) -> list[tuple[str, bool, bool]]:
    """(text, has a note, has an error) a line."""
    encoding, _ = choose_encoding(io.BytesIO(raw), given)
    return [(x.text, bool(x.note), bool(x.error)) for x in read_lines(io.BytesIO(raw), encoding)]


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_every_supported_encoding_reads_the_same(codec: str) -> None:
    lines = decoded(REVIEW.encode(codec))
    assert "".join(text for text, _, _ in lines) == REVIEW
    assert not any(note or error for _, note, error in lines)


@pytest.mark.parametrize("codec", ["utf-16-be", "utf-32-be", "utf-8", "utf-16-le"])
def test_a_mark_decides(codec: str) -> None:
    raw = ("\ufeff" + REVIEW).encode(codec)
    found = detect_encoding(raw)
    assert (found.name, found.how) == (codec, "bom")
    assert "".join(text for text, _, _ in decoded(raw)) == REVIEW


def test_gbk_rows_in_a_utf8_file_are_read_and_noted() -> None:
    raw = REVIEW.encode() + "3,包装破损，态度很差\n".encode("gbk") + "4,好\n".encode()
    assert decoded(raw)[3:] == [("3,包装破损，态度很差\n", True, False), ("4,好\n", False, False)]


def test_utf8_rows_in_a_gbk_file_are_read_and_noted() -> None:
    raw = REVIEW.encode("gb18030") * 3 + "3,包装破损，态度很差\n".encode()
    assert decoded(raw)[-1] == ("3,包装破损，态度很差\n", True, False)
    assert not any(note for _, note, _ in decoded(raw)[:-1])


def test_a_row_in_no_encoding_is_an_error_with_its_bytes_visible() -> None:
    raw = REVIEW.encode() + b"3,caf\xe9 cr\xe8me\n"
    (line,) = list(read_lines(io.BytesIO(raw), Encoding("utf-8")))[3:]
    assert line.text == "3,caf\\xe9 cr\\xe8me\n"
    assert line.error == "byte E9 at position 6 of the line is not valid utf-8"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("id,text\n1,très déçu, réclamation envoyée\n2,café crème\n", "cp1252"),
        ("id,text\n1,Größe fällt zu groß aus\n", "latin-1"),
        ("id,text\n1,品質很好，運送也很快，下次還會再買\n", "big5"),
    ],
)
def test_encodings_that_are_valid_gb18030_too_are_not_read_as_chinese(
    text: str, codec: str
) -> None:
    assert detect_encoding(text.encode(codec), source="shop.csv").note.startswith("read as ")
    for named in (None, codec):
        assert "".join(line for line, _, _ in decoded(text.encode(codec), named)) == text


@pytest.mark.parametrize("text", ["café", "Größe", "ação", "Maß 7"])
def test_a_few_bytes_that_may_be_anything_are_refused_with_the_likely_encodings(text: str) -> None:
    with pytest.raises(DecodingError) as refused:
        detect_encoding(f"id,text\n1,{text}\n".encode("cp1252"), source="shop.csv")
    assert refused.value.message.startswith("shop.csv: ")
    assert "cp1252" in refused.value.message
    assert "--input-encoding" in refused.value.hint


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030"])
def test_a_second_mark_is_no_part_of_the_first_name(codec: str) -> None:
    raw = ("\ufeff\ufeff" + REVIEW).encode(codec)
    assert "".join(line for line, _, _ in decoded(raw)) == REVIEW
    assert "".join(line for line, _, _ in decoded(raw, given=codec)) == REVIEW


@pytest.mark.parametrize("given", ["cp1252", "gbk", "big5", "shift_jis", "koi8-r"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
def test_utf8_is_not_read_in_another_encoding_that_was_named(codec: str, given: str) -> None:
    raw = REVIEW.encode(codec)
    assert "".join(line for line, _, _ in decoded(raw, given)) == REVIEW
    assert f"not as {encoding_named(given).name}" in choose_encoding(io.BytesIO(raw), given)[0].note


def test_gbk_that_is_valid_utf8_by_chance_is_read_as_named() -> None:
    assert decoded("联通\n".encode("gbk"), "gbk") == [("联通\n", False, False)]


def test_utf8_rows_in_a_western_file_are_read_and_noted() -> None:
    raw = (
        "1,Größe fällt größer aus\n2,Maß und Länge stimmen\n".encode("cp1252")
        + "3,schön\n".encode()
    )
    assert decoded(raw)[-1] == ("3,schön\n", True, False)


def test_one_bad_line_in_a_hundred_does_not_refuse_the_file() -> None:
    plain = b"id,text\n" + b"1,fine\n" * 120
    assert [error for _, _, error in decoded(plain + b"2,caf\xe9\n")][-1]
    with pytest.raises(DecodingError):
        detect_encoding(plain + b"2,caf\xe9\n" * 2)


def test_an_encoding_given_is_obeyed_even_where_another_would_fit() -> None:
    lines = decoded("好\n".encode(), given="ascii")
    assert lines == [("\\xe5\\xa5\\xbd\n", False, True)]


def test_the_first_chinese_line_decides_however_late_it_comes() -> None:
    raw = b"id,text\n" + b"1,plain\n" * (LOOK_BYTES // 8) + "2,质量很好\n".encode("gbk")
    encoding, head = choose_encoding(io.BytesIO(raw))
    assert encoding.name == "gb18030"
    assert len(head) == LOOK_BYTES
    last = list(read_lines(io.BytesIO(raw), encoding))[-1]
    assert (last.text, last.note, last.end) == ("2,质量很好\n", "", len(raw))


def test_the_look_may_end_inside_a_character() -> None:
    raw = b"x" * (LOOK_BYTES - 1) + "好".encode()
    assert choose_encoding(io.BytesIO(raw))[0].name == "utf-8"
    raw = b"text\n" + "质".encode("gbk") * (LOOK_BYTES // 2)
    assert choose_encoding(io.BytesIO(raw))[0].name == "gb18030"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_a_cut_off_utf16_file_is_an_error_of_its_last_line(codec: str) -> None:
    raw = ("\ufeff" + REVIEW).encode(codec)[:-1]
    lines = decoded(raw)
    assert [error for _, _, error in lines] == [False, False, True]
    assert lines[0][0] == "id,text\n"


def test_a_lone_surrogate_is_an_error_of_its_line() -> None:
    raw = "\ufeff1,\ud83d\n2,好\n".encode("utf-16-le", "surrogatepass")
    assert decoded(raw) == [("1,\\ud83d\n", False, True), ("2,好\n", False, False)]


@pytest.mark.parametrize("name", ["klingon", "rot13", "hex"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown text encoding '{name}'"):
        encoding_named(name)


def test_long_lines_are_cut_so_that_memory_is_bounded() -> None:
    lines = list(read_lines(io.BytesIO(b"a" * 25 + b"\nb\n"), Encoding("utf-8"), max_line_bytes=10))
    assert [line.text for line in lines] == ["a" * 10, "a" * 10, "aaaaa\n", "b\n"]


@settings(deadline=None)
@given(st.lists(text_lines), st.sampled_from(["utf-8", "gb18030", "utf-16-le", "utf-32-be"]))
def test_given_the_encoding_any_text_comes_back(parts: list[str], codec: str) -> None:
    text = "\n".join(parts)
    raw = text.encode(codec)
    found = Encoding(codec, how="given")
    lines = list(read_lines(io.BytesIO(raw), found))
    assert "".join(line.text for line in lines) == text
    assert not any(line.error or line.note for line in lines)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_crash_the_decoder_and_none_become_replacement_characters(raw: bytes) -> None:
    try:
        encoding, _ = choose_encoding(io.BytesIO(raw))
    except DecodingError:
        return
    for line in read_lines(io.BytesIO(raw), encoding):
        assert "\ufffd" not in line.text or any("\ufffd".encode(c) in raw for c in CODECS)
        line.text.encode("utf-8")
