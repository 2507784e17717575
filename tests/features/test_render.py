"""Rows as text: what is said, in which order, in both languages, and what is learned."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.errors import ConfigError, RowError
from ecomfs.features import FeatureRenderer, infer_specs
from ecomfs.task import FieldSpec
from ecomfs.types import Language

SHOP = [
    FieldSpec(name="id", kind="id"),
    FieldSpec(
        name="Duration",
        kind="number",
        names={"en": "time on site", "zh": "停留时间"},
        unit={"en": "s", "zh": "秒"},
    ),
    FieldSpec(name="paid", kind="price", unit="$", names={"en": "paid", "zh": "实付"}),
    FieldSpec(
        name="Visitor",
        kind="category",
        names={"en": "visitor", "zh": "访客"},
        values={"Returning_Visitor": {"en": "returning", "zh": "老客"}},
        aliases=("visitor_type",),
    ),
    FieldSpec(name="day", kind="date", names={"en": "day", "zh": "日期"}),
    FieldSpec(
        name="clicks",
        kind="history",
        names={"en": "clicks", "zh": "浏览"},
        max_items=3,
        items=[
            {"name": "category", "kind": "category"},
            {"name": "price", "kind": "price", "unit": "$"},
            {"name": "stars", "kind": "number"},
        ],
    ),
    FieldSpec(name="extra", kind="json", names={"en": "details", "zh": "详情"}),
    FieldSpec(name="note", kind="text", names={"en": "note", "zh": "留言"}),
]
ROW = {
    "id": "r1",
    "Duration": "710.7",
    "paid": "1299",
    "Visitor": "Returning_Visitor",
    "day": "2024-05-01",
    "clicks": json.dumps(
        [
            {"category": "home", "price": None},
            {"category": "shoes", "price": 59.5, "stars": 4},
            {"category": "shoes", "price": 59.5, "stars": 4},
            {"category": "cart"},
        ]
    ),
    "extra": '{"brand": "Acme", "size": [42, 43], "gift": false}',
    "note": "please\n hurry",
}
CLICKS = {
    "en": "4 items, the last 3, most recent last: shoes, $59.50, stars 4 ×2 → cart; "
    "counts: shoes 2, home 1, cart 1",
    "zh": "共4项，只列最近3项，最新在最后：shoes，$59.50，stars 4 ×2 → cart；"
    "次数：shoes 2，home 1，cart 1",
}


def pool(n: int = 40) -> tuple[list[dict[str, Any]], list[str]]:
    """``paid`` decides the label, ``Visitor`` says nothing about it."""
    kinds = ["Returning_Visitor", "New"]
    rows = [{**ROW, "Duration": i, "paid": i * 10, "Visitor": kinds[i % 2]} for i in range(n)]
    return rows, ["yes" if i > n // 2 else "no" for i in range(n)]


def test_english() -> None:
    assert FeatureRenderer(SHOP).render(ROW).split("; ", 4) == [
        "time on site: 711 s",
        "paid: $1,299",
        "visitor: returning",
        "day: 2024-05-01 (Wed)",
        f"clicks: {CLICKS['en']}; "
        "details: brand: Acme, size: 42 / 43, gift: no; note: please hurry",
    ]


def test_chinese() -> None:
    assert FeatureRenderer(SHOP, "zh").render(ROW) == (
        "停留时间：711秒；实付：$1,299；访客：老客；日期：2024-05-01（周三）；"
        f"浏览：{CLICKS['zh']}；详情：brand：Acme，size：42 / 43，gift：否；留言：please hurry"
    )


def test_numbers_get_words_from_the_pool() -> None:
    fields = SHOP[1:3]
    renderer = FeatureRenderer(fields, order="given").fit(*pool())
    assert renderer.render({"Duration": 35, "paid": "$5"}) == (
        "time on site: 35 s (high, 88th percentile); paid: $5 (very low, 2nd percentile)"
    )
    words = FeatureRenderer(fields, order="given", detail="word").fit(*pool())
    assert words.render({"Duration": 35, "paid": ""}) == "time on site: 35 s (high); paid: unknown"
    plain = FeatureRenderer(fields, order="given", detail="none").fit(*pool())
    assert plain.render({"Duration": 35, "paid": 1}) == "time on site: 35 s; paid: $1"


def test_too_small_a_pool_gives_no_words() -> None:
    renderer = FeatureRenderer(SHOP[1:2]).fit(*pool(19))
    assert renderer.render({"Duration": 5}) == "time on site: 5 s"


def test_the_usual_value_is_called_usual() -> None:
    rows = [{"Duration": max(0, i - 25)} for i in range(40)]
    renderer = FeatureRenderer(SHOP[1:2]).fit(rows)
    assert renderer.render({"Duration": 0}) == "time on site: 0 s (as for most)"


def test_telling_fields_come_first_and_texts_before_them() -> None:
    renderer = FeatureRenderer(SHOP).fit(*pool())
    assert renderer.fields[:3] == ("note", "Duration", "paid")
    assert renderer.fields[3:] == ("Visitor", "day", "clicks", "extra")
    assert renderer.information["paid"] > 0.3
    assert renderer.information["Visitor"] == 0
    assert FeatureRenderer(SHOP).fit(pool()[0]).fields[0] == "Duration"
    assert FeatureRenderer(SHOP, order="given").fit(*pool()).fields[0] == "Duration"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_state_survives_json(language: Language) -> None:
    renderer = FeatureRenderer(SHOP, language).fit(*pool())
    again = FeatureRenderer.from_dict(json.loads(json.dumps(renderer.to_dict())))
    assert again.render(ROW) == renderer.render(ROW)
    assert again.fingerprint == renderer.fingerprint
    assert again.inspect({**ROW, "Visitor": "x"}).unseen == ("Visitor",)
    assert FeatureRenderer(SHOP, language).fit(*pool(41)).fingerprint != renderer.fingerprint
    with pytest.raises(ConfigError, match="another version"):
        FeatureRenderer.from_dict({**renderer.to_dict(), "version": 0})


def test_the_same_pool_gives_the_same_state() -> None:
    rows, labels = pool()
    one = FeatureRenderer(SHOP).fit(rows, labels).to_dict()
    assert FeatureRenderer(SHOP).fit(rows, labels).to_dict() == one
    other = FeatureRenderer(SHOP).fit(rows[::-1], labels[::-1]).to_dict()
    assert other["quantiles"] == one["quantiles"]
    assert other["information"] == one["information"]


def test_missing_and_unseen_values_are_told() -> None:
    renderer = FeatureRenderer(SHOP).fit(*pool())
    row = renderer.inspect({**ROW, "Duration": "", "Visitor": "Robot_X"})
    assert (row.missing, row.unseen) == (("Duration",), ("Visitor",))
    assert "time on site: unknown" in row.text
    assert "visitor: Robot X" in row.text


def test_missing_values_may_be_skipped() -> None:
    fields = [SHOP[1].model_copy(update={"missing": "skip"}), SHOP[2]]
    assert FeatureRenderer(fields).render({"paid": 3}) == "paid: $3"


def test_fields_that_the_pool_never_has_are_not_mentioned() -> None:
    rows = [{"paid": 1, "Duration": ""}, {"paid": 2}]
    assert FeatureRenderer(SHOP[1:3]).fit(rows).render({"paid": 3}) == "paid: $3"


def test_a_row_without_any_value_is_an_error() -> None:
    with pytest.raises(RowError, match=r"no field has a value \(Duration, paid\)"):
        FeatureRenderer(SHOP[1:3]).render({"id": "x"})


def test_aliases_and_case() -> None:
    renderer = FeatureRenderer(SHOP[3:4])
    assert renderer.render({"VISITOR_TYPE": "New"}) == "visitor: New"


def test_a_wrong_cell_of_the_pool_is_listed_and_left_out() -> None:
    rows, labels = pool()
    rows[3] = {**rows[3], "Duration": "three"}
    renderer = FeatureRenderer(SHOP).fit(rows, labels)
    assert renderer.problems == ("row 4: column 'Duration': 'three' is not a number",)
    with pytest.raises(RowError, match="column 'Duration': 'three' is not a number"):
        renderer.render(rows[3])


def test_a_column_of_another_kind_is_an_error_of_the_card() -> None:
    rows = [{"paid": "cheap"}, {"paid": "dear"}]
    with pytest.raises(RowError, match=r"'cheap' is not a price, nor is any other \(is 'price'"):
        FeatureRenderer(SHOP[2:3]).fit(rows)


def test_dates_are_read_as_the_pool_writes_them() -> None:
    spec = FieldSpec(name="day", kind="date")
    renderer = FeatureRenderer([spec]).fit([{"day": "25/12/2024"}, {"day": "3/7/2024"}])
    assert renderer.render({"day": "3/7/2024"}) == "day: 2024-07-03 (Wed)"
    again = FeatureRenderer.from_dict(renderer.to_dict())
    assert again.render({"day": "3/7/2024"}) == "day: 2024-07-03 (Wed)"


def test_specs_and_labels_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="two fields are called 'paid'"):
        FeatureRenderer([SHOP[2], SHOP[2]])
    with pytest.raises(ConfigError, match="no field to render"):
        FeatureRenderer([SHOP[0]])
    with pytest.raises(ConfigError, match="2 rows but 1 labels"):
        FeatureRenderer(SHOP).fit([ROW, ROW], ["yes"])


def test_long_json_says_what_it_leaves_out() -> None:
    renderer = FeatureRenderer([FieldSpec(name="j", kind="json")])
    text = renderer.render({"j": {f"k{i}": i for i in range(50)}})
    assert text.endswith("k39: 39, and 10 more")
    assert renderer.render({"j": [{"a": 1}, [2, None]]}) == "j: [1].a: 1, [2]: 2"


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 10))
def test_a_history_never_hides_how_long_it_is(items: list[str], shown: int) -> None:
    spec = FieldSpec(name="h", kind="history", max_items=shown)
    renderer = FeatureRenderer([spec])
    text = renderer.render({"h": items})
    assert text.startswith("h: none" if not items else f"h: {len(items)} item")
    assert ("the last" in text) == (len(items) > shown)
    if items:
        assert f"→ {items[-1]}" in text or f": {items[-1]}" in text


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(json_values, st.lists(json_values, max_size=5), st.sampled_from(["en", "zh"]))
def test_any_json_renders_on_one_line(value: Any, items: list[Any], language: Language) -> None:
    fields = [FieldSpec(name="j", kind="json"), FieldSpec(name="h", kind="history")]
    text = FeatureRenderer(fields, language).render({"j": json.dumps(value), "h": items})
    assert "\n" not in text


def test_infer_finds_the_kinds() -> None:
    rows = [
        {
            "row_id": f"x{i}",
            "sku": f"A{i}",
            "qty": str(i),
            "flag": str(i % 2),
            "when": f"2024-05-{i + 1:02}",
            "price": f"€{i},50",
            "tags": '["a"]',
            "meta": '{"a": 1}',
            "colour": ["dark red", "blue"][i % 2],
            "标题": f"很好的商品第{i}号",
            "label": "yes",
            "nothing": "",
        }
        for i in range(20)
    ]
    kinds = {spec.name: spec.kind for spec in infer_specs(rows, exclude=["label"])}
    assert kinds == {
        "row_id": "id",
        "sku": "id",
        "qty": "number",
        "flag": "category",
        "when": "date",
        "price": "price",
        "tags": "history",
        "meta": "json",
        "colour": "category",
        "标题": "text",
    }
    assert FeatureRenderer(infer_specs(rows)).fit(rows).problems == ()
