from __future__ import annotations

import pytest

from ecomfs.prepare.clean import fix_mojibake


@pytest.mark.parametrize(
    "text", ["耐心帮我解决了问题，谢谢😊", "质量很好👍👍，下次还来", "很好用❤️物流也快"]
)
def test_gbk_read_as_latin1_is_repaired_with_its_emoji(text: str) -> None:
    ruined = text.encode("gb18030").decode("latin-1")
    assert fix_mojibake(ruined) == text


@pytest.mark.parametrize(
    "text", ["déçu, très cher", "café crème", "Größe ist gut", "很好😊", "5 €"]
)
def test_correct_text_is_not_changed(text: str) -> None:
    assert fix_mojibake(text) == text
