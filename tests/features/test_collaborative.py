"""Other users and an item: which events count; events of the row's own user never do."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomfs.features import FeatureSet
from ecomfs.features.collaborative import OtherUsersBlock
from ecomfs.task import FieldSpec, load_task
from ecomfs.types import Row

CARD = load_task("product_preference")
FILMS = [f"Film {letter}" for letter in "ABCDEFGH"]
WINDOW = 3

Event = tuple[str, bool]


def windows(events: dict[str, list[Event]], size: int = WINDOW) -> list[dict[str, Any]]:
    """Rows as in tables of preferences: each event with the few events before it as its history."""
    return [
        {
            "user": user,
            "liked": [film for film, liked in own[max(0, at - size) : at] if liked],
            "disliked": [film for film, liked in own[max(0, at - size) : at] if not liked],
            "item": film,
        }
        for user, own in events.items()
        for at, (film, _) in enumerate(own)
    ]


def of_others(features: FeatureSet, rows: list[Row]) -> dict[str, list[float]]:
    """The columns that look at other users."""
    table = features.transform(rows)
    return {
        name: table[:, place].tolist() for place, name in enumerate(features.names) if "@" in name
    }


_events = st.lists(st.tuples(st.sampled_from(FILMS), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(dict.fromkeys(("u1", "u2", "u3"), _events)),
    st.lists(st.tuples(st.sampled_from(FILMS), st.booleans()), min_size=1, max_size=4),
)
def test_a_planted_future_event_never_reaches_a_feature(
    events: dict[str, list[Event]], planted: list[Event]
) -> None:
    then = windows(events)
    later = windows(events | {"u1": events["u1"] + planted})
    mine = [row for row in then if row["user"] == "u1"]
    before = of_others(FeatureSet(CARD).fit(then), mine)
    after = of_others(FeatureSet(CARD).fit(later), mine)
    for name in before.keys() & after.keys():
        assert before[name] == after[name], name


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(("u1", "u2", "u3"), _events)), st.data())
def test_no_event_of_the_own_user_counts_whichever_side_it_is_on(
    events: dict[str, list[Event]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(events["u1"]) - 1))
    film, liked = events["u1"][at]
    turned = [*events["u1"]]
    turned[at] = (film, not liked)
    asked = [row for row in windows(events) if row["user"] == "u1"][: at + 1]
    one = of_others(FeatureSet(CARD).fit(windows(events)), asked)
    two = of_others(FeatureSet(CARD).fit(windows(events | {"u1": turned})), asked)
    for name in one.keys() & two.keys():
        assert one[name] == two[name], name


def test_without_the_guard_the_label_would_be_read_and_with_it_chance_is_left() -> None:
    rng = np.random.default_rng(0)
    events = {
        f"u{user}": [(f"Film {film}", bool(rng.random() < 0.5)) for film in rng.permutation(60)]
        for user in range(4)
    }
    rows = windows(events, size=10)
    truth = np.array([liked for own in events.values() for _, liked in own])
    careless = [row | {"user": str(place)} for place, row in enumerate(rows)]  # a user per row

    def area(rows: list[dict[str, Any]]) -> float:
        found = of_others(FeatureSet(CARD).fit(rows), rows)
        scores = np.array(found["item@liked/disliked:users"])
        above = scores[truth][:, None] - scores[~truth][None, :]
        return float(((above > 0) + 0.5 * (above == 0)).mean())

    assert area(careless) > 0.75
    assert abs(area(rows) - 0.5) < 0.1


def test_a_row_without_a_user_has_none() -> None:
    pool = windows({"u1": [("Film A", True), ("Film B", True)], "u2": [("Film A", False)] * 2})
    features = FeatureSet(CARD).fit(pool)
    found = of_others(features, [{"liked": ["Film B"], "disliked": [], "item": "Film A"}])
    assert found
    assert all(column == [0.0] for column in found.values())


def test_events_of_other_users_are_counted_and_rendered() -> None:
    pool: list[Row] = [
        {"user": "u1", "liked": ["Heat", "Alien"], "disliked": ["Jaws"], "item": "Big"},
        {"user": "u2", "liked": ["Heat"], "disliked": [], "item": "Jaws"},
        {"user": "u2", "liked": ["Heat"], "disliked": ["Jaws"], "item": "Big"},
        {"user": "u3", "liked": ["Big"], "disliked": ["Heat"], "item": "Jaws"},
    ]
    features = FeatureSet(CARD).fit(pool)
    new = {"user": "u9", "liked": ["Alien"], "disliked": [], "item": "heat"}
    assert "of 3 other users, 2 have the new item in liked, 1 in disliked" in " / ".join(
        features.describe(new, "en")
    )
    assert any(
        "其他3位用户中，2位的喜欢过含新商品" in said for said in features.describe(new, "zh")
    )


def test_users_who_agree_with_the_row_count_for_more() -> None:
    liked, disliked = (FieldSpec(name=name, kind="history") for name in ("liked", "disliked"))
    item, user = FieldSpec(name="item", kind="text"), FieldSpec(name="user", kind="id")
    block = OtherUsersBlock(user, item, [liked, disliked])
    block.fit(
        [
            {"user": "near", "item": "x", "liked": ["Heat", "Alien"], "disliked": []},
            {"user": "far", "item": "x", "liked": ["Jaws"], "disliked": ["Heat", "Alien"]},
        ]
    )
    row = {"user": "me", "item": "Heat", "liked": ["Alien"], "disliked": ["Jaws"]}
    found = dict(zip([f.name for f in block.features], block.values([row])[0], strict=True))
    assert found["item@liked/disliked:users"] == 0  # one for, one against
    assert found["item@liked/disliked:alike"] > 0.2
