"""The board in headless Chromium, tested like the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomfs_eval.board import PublishedResult
from ecomfs_eval.report import render_html

from .test_board import board
from .test_report_in_a_browser import BROWSER, measure

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs Chromium (apt-get install chromium fonts-noto-cjk)"
)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_and_every_glyph_is_there(tmp_path: Path, width: int) -> None:
    row = PublishedResult("theirs", "accuracy", 0.9, "8", "a paper of a long name, table 3")
    page = render_html(board(published={"商店|A": [row]}, notes={"": ["各店的结果" * 30]}))
    found = measure(tmp_path, page, width)
    assert found["width"] == width
    assert found["scrolls"] <= width
    assert found["wide"] == []
    assert found["scrolled"] == []
    assert found["cut"] == []
    assert found["missing"] == []
    assert len(found["charts"]) == 2
    assert found["smallest"] >= 13
