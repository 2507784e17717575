"""Small text files: read in any encoding that text editors save, or an error of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs.errors import DecodingError
from ecomfs.io import read_text

TEXT = "评价：{{ row.text }}\n情感：很好，质量不错"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_files_saved_by_any_editor_read_the_same(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "zh.v1.jinja"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(codec))
    assert read_text(path) == TEXT


def test_ansi_is_read_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "de.jinja"
    path.write_text("Größe: {{ row.size }}, fällt größer aus", encoding="cp1252")
    assert read_text(path).startswith("Größe")
    assert "de.jinja: read as cp1252" in caplog.text
    assert "save it as UTF-8" in caplog.text


@pytest.mark.parametrize("raw", [b"caf\xe9 {{ text }}", "é".encode("cp1252"), b"\xff\xfea\0b"])
def test_an_unknown_encoding_is_one_line_with_a_hint(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.jinja"
    path.write_bytes(raw)
    with pytest.raises(DecodingError) as refused:
        read_text(path)
    assert str(path) in refused.value.message
    assert refused.value.hint == "save it as UTF-8"
