"""Task cards and rows of every kind of field, for the tests of features."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ecomfs.task import TaskCard


def card(**kinds: Any) -> TaskCard:
    """A card of fields named by kind, or by a mapping of their options."""
    fields = [
        {"name": name, "title": {"en": name.title(), "zh": f"字段{name}"}}
        | ({"kind": kind} if isinstance(kind, str) else kind)
        for name, kind in kinds.items()
    ]
    words = {"en": "x", "zh": "x"}
    return TaskCard.model_validate(
        {"name": "task", "title": words, "description": words, "fields": fields}
        | {"label_title": words, "label_space": "open", "instruction": words}
    )


EVERY_KIND = card(
    age="number",
    paid="price",
    plan="category",
    joined="date",
    left="text",
    right="text",
    liked="history",
    disliked="history",
    shape="json",
    row_id="id",
)

_words = st.text(st.sampled_from("ab1 -杯子😀é."), max_size=8)
_item = st.one_of(
    _words,
    st.integers(-5, 5),
    st.none(),
    st.fixed_dictionaries({"category": st.sampled_from("ab"), "price": st.floats(0, 9)}),
)
_junk = st.sampled_from(
    ["", None, float("nan"), "n/a", "not of this kind", [], {}, 10**400, "1e999"]
)


def _cell(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(value, value, _junk)


rows = st.fixed_dictionaries(
    {},
    optional={
        "age": _cell(st.floats(allow_nan=True, allow_infinity=True)),
        "paid": _cell(st.sampled_from(["$3", "€1,299.00", "¥5", 7])),
        "plan": _cell(st.sampled_from(["a", "b", "c", True])),
        "joined": _cell(st.sampled_from(["2024-05-01", "2024-05-01 09:30", "2019年3月2日"])),
        "left": _cell(_words),
        "right": _cell(_words),
        "liked": _cell(st.lists(_item, max_size=5)),
        "disliked": _cell(st.lists(_item, max_size=5)),
        "shape": _cell(st.just('{"a": 1}')),
        "row_id": _cell(st.just("r1")),
    },
)
