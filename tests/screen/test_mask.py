"""Personal data in rows: what is found, its placeholders, and what is not masked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import FRAMES, KINDS, planted_value

import ecomfs.screen.personal
from ecomfs.errors import ConfigError
from ecomfs.screen import Mask
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example

pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")
MASK = Mask("patterns")
CARD = load_task("review_sentiment")


def card(**kinds: str) -> TaskCard:
    fields = [{"name": n, "kind": kind, "title": n} for n, kind in kinds.items()]
    given = CARD.model_dump(mode="json", exclude={"fields", "templates"})
    return TaskCard.model_validate({**given, "fields": fields})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 138 1234 5678 now", "call [PHONE] now"),
        ("(415) 555-2671 or +44 20 7946 0958", "[PHONE] or [PHONE 2]"),
        ("my number is 5551234", "my number is [PHONE]"),
        ("电话：010-62345678，手机１３８１２３４５６７８", "电话：[电话]，手机[电话 2]"),
        ("加我138\u200b1234\u200b5678谢谢", "加我[电话]谢谢"),
        ("write to Wei.Li+shop@mail.example.com.", "write to [EMAIL]."),
        ("身份证11010519491231002X", "身份证[证件号]"),
        ("my SSN 536-90-4399", "my SSN [ID]"),
        ("护照号码：E12345678", "护照号码：[证件号]"),
        ("paid with 4111 1111 1111 1111", "paid with [CARD]"),
        ("IBAN GB82 WEST 1234 5698 7654 32", "IBAN [CARD]"),
        ("卡号6222020200112233446", "卡号[卡号]"),
        ("order no. AB-12345 and 77889900", "order no. [ORDER] and [ORDER 2]"),
        ("订单50778795174和59671095217", "订单[订单号]和[订单号 2]"),
        ("Tracking number: 1Z999AA10123456784", "Tracking number: [ORDER]"),
        ("加微信号：shop_2020，QQ396276755", "加微信号：[账号]，QQ[账号 2]"),
        ("ship to 350 Fifth Ave Apt 5B, New York, NY 10118", "ship to [ADDRESS]"),
        ("寄到浙江省杭州市西湖区文三路478号3号楼1202室", "寄到[地址]"),
        ("My name is John Smith.", "My name is [NAME]."),
        ("收件人：王小明，张女士签收", "收件人：[姓名]，[姓名 2]女士签收"),
    ],
)
def test_personal_data_gives_way_to_placeholders(text: str, masked: str) -> None:
    assert MASK.text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "arrived 2024-10-12 13:20, 10/12/2024, 2024年10月12日",
        "sizes 32 34 36 38 40; 1080 x 1920; 16GB 256GB; 5.5 inches",
        "$1,299.00 and 12345678元, 99.9%",
        "EAN 6901234567892, SKU 13812345678901, model WX842430B",
        "order 2 shirts, the 2019 model; I ordered 3 in 2023",
        "500 Samsung External Drive, 250 Best Way",
        "Mr Coffee maker, Dear Sir, dear customer",
        "小姐姐很好，安装师傅来了，微信支付很方便，空调得弄一弄",
        "WeChat pay is easy",
        "联系人项目里可以添加四个电话号码",
        "",
    ],
)
def test_other_text_is_not_masked(text: str) -> None:
    assert MASK.text(text) == text


@given(st.data())
def test_a_planted_value_never_stays(data: st.DataObject) -> None:
    language = data.draw(st.sampled_from(["en", "zh"]))
    kind = data.draw(st.sampled_from(KINDS))
    value = planted_value(kind, language, data.draw(st.randoms(use_true_random=False)))
    frame = data.draw(st.sampled_from(FRAMES[language][kind]))
    around = st.text(st.characters(exclude_categories=("Cs", "Nd", "L", "Cf")), max_size=12)
    text = f"{data.draw(around)} {frame.format(value)} {data.draw(around)}"
    masked = MASK.text(text)
    assert value not in masked
    assert MASK.text(masked) == masked


@given(st.text(max_size=200))
def test_a_masked_text_is_masked_as_itself(text: str) -> None:
    masked = MASK.text(text)
    assert MASK.text(masked) == masked


@given(st.text("0123456789 -().+@a电话订单号路街QQ:，", max_size=120))
def test_masking_digits_and_cues_twice_changes_nothing(text: str) -> None:
    masked = MASK.text(text)
    assert MASK.text(masked) == masked


def test_equal_values_share_a_placeholder_in_the_whole_row() -> None:
    made = card(title="text", body="text")
    row = {"title": "a@b.com", "body": "from a@b.com to c@d.org, not [EMAIL 2]"}
    assert MASK.row(row, made) == {
        "title": "[EMAIL]",
        "body": "from [EMAIL] to [EMAIL 3], not [EMAIL 2]",
    }


def test_a_value_that_was_found_stays_nowhere_in_its_row() -> None:
    made = card(title="text", body="text")
    row = {"title": "SF1020 again, 王小明", "body": "快递单号SF1020 not SF10201，收件人：王小明"}
    assert MASK.row(row, made) == {
        "title": "[订单号] again, [姓名]",
        "body": "快递单号[订单号] not SF10201，收件人：[姓名]",
    }


def test_cells_keep_their_kind() -> None:
    made = card(who="id", paid="price", n="number", day="date", seen="history", more="json")
    row: dict[str, Any] = {
        "who": "a@b.com",
        "paid": "13812345678",
        "n": 13812345678,
        "day": "2024-10-12",
        "seen": '["call 13812345678", "shoes"]',
        "more": '{"phone": 13812345678, "ok": true}',
    }
    masked = MASK.row(row, made)
    assert {k: masked[k] for k in ("who", "paid", "n", "day")} == {
        k: row[k] for k in ("who", "paid", "n", "day")
    }
    assert json.loads(masked["seen"]) == ["call [PHONE]", "shoes"]
    assert json.loads(masked["more"]) == {"phone": "[PHONE]", "ok": True}
    lists = MASK.row(
        {"seen": ["13812345678"], "text": 13812345678}, card(seen="history", text="text")
    )
    assert lists == {"seen": ["[PHONE]"], "text": "[PHONE]"}
    # Cells that reading refuses are masked as text.
    deep = "[" * 600 + '"13812345678"' + "]" * 600
    for cell in (deep, "[" * 100_000, '["13812345678"', "[" + "1" * 5000 + "]"):
        assert "13812345678" not in MASK.row({"more": cell}, made)["more"]
    # A cell of another kind than its field's would be quoted in the error of its row.
    assert MASK.row({"n": "call 13812345678"}, made) == {"n": "call [PHONE]"}


def test_a_row_without_personal_data_is_the_same_object() -> None:
    row = {"text": "fits well", "extra": None, "share": 0.5}
    assert MASK.row(row, CARD) is row
    example = Example("1", row, "positive")
    assert MASK.examples([example], CARD)[0] is example


def test_columns_that_the_task_does_not_know_are_masked_too() -> None:
    assert MASK.row({"text": "ok", "mail": "a@b.com"}, CARD) == {"text": "ok", "mail": "[EMAIL]"}


@pytest.mark.parametrize(
    "text", ["1 " * 50_000, "138 " * 25_000, "路1" * 30_000, "北京市区路1" * 15_000, "a@" * 50_000]
)
def test_long_hostile_texts_end(text: str) -> None:
    assert MASK.text(text[:20_000]) is not None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(ecomfs.screen.personal, "import_module", missing)
    with pytest.raises(ConfigError, match=r"phonenumbers .*ecomfs\[privacy\]"):
        Mask.of("patterns")
    assert Mask.of("none") is None


def test_placeholders_are_words_in_brackets() -> None:
    found = re.findall(r"\[[^\]]+\]", MASK.text("a@b.com, 13812345678, order 12345678"))
    assert found == ["[EMAIL]", "[PHONE]", "[ORDER]"]
