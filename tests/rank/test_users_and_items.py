"""Users and items from two tables, and invalid ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    EcomfsError,
    EmptyInputError,
    InputError,
)
from ecomfs.features import RowText
from ecomfs.rank import candidates_of, read_users_and_items
from ecomfs.rank.users_and_items import history_keys, item_keys
from ecomfs.task import CardField, load_task

CARD = load_task("product_preference")
ITEMS = "item_id,title,price\nc1,Moka pot,30\nc2,Grinder,90\n"


def tables(tmp_path: Path, users: str, items: str = ITEMS, **options: Any) -> Any:
    (tmp_path / "history.csv").write_text(users, encoding="utf-8")
    (tmp_path / "catalogue.csv").write_text(items, encoding="utf-8")
    return read_users_and_items(
        CARD, tmp_path / "history.csv", tmp_path / "catalogue.csv", **options
    )


def test_a_row_a_user(tmp_path: Path) -> None:
    users, catalogue = tables(
        tmp_path, 'user,liked,disliked\nu1,"[""Chess""]","[]"\nu2,"[""Go"", ""Catan""]",\n'
    )
    assert [u.id for u in users] == ["u1", "u2"]
    assert users[1].fields == {"liked": '["Go", "Catan"]', "disliked": ""}
    assert [(i.id, dict(i.fields)) for i in catalogue.items] == [
        ("c1", {"item": "Moka pot"}),
        ("c2", {"item": "Grinder"}),
    ]
    assert catalogue.header == ("item_id", "title", "price")


def test_a_row_an_event(tmp_path: Path) -> None:
    users, _ = tables(tmp_path, "user,title,rating\nu1,Chess,5\nu2,Go,\nu1,Mug,1\n")
    assert [(u.id, u.fields["history"]) for u in users] == [
        ("u1", [{"title": "Chess", "rating": "5"}, {"title": "Mug", "rating": "1"}]),
        ("u2", [{"title": "Go"}]),
    ]
    text = RowText(CARD).render({**users[0].fields, "item": "Grinder"}, "en")
    assert text.index("Chess") < text.index("Mug") < text.index("Grinder")


def test_columns_of_a_user_stay_in_every_row_of_events(tmp_path: Path) -> None:
    card = CARD.model_copy(
        update={
            "fields": (
                *CARD.fields,
                CardField.model_validate(
                    {"name": "age", "title": {"en": "Age", "zh": "年龄"}, "kind": "number"}
                ),
            )
        }
    )
    rows = [
        {"user": "u1", "title": "Chess", "age": 30},
        {"user": "u1", "title": "Mug", "age": ""},
        {"user": "u2", "title": "Go", "age": 41},
    ]
    items = [{"item_id": "c1", "title": "Mug"}]
    users, _ = read_users_and_items(card, rows, items)
    assert [u.fields for u in users] == [
        {"age": 30, "history": [{"title": "Chess"}, {"title": "Mug"}]},
        {"age": 41, "history": [{"title": "Go"}]},
    ]
    rows[1]["age"] = 31
    with pytest.raises(InputError, match=r"users, row 1: column 'age' is 31 for user 'u1', in an"):
        read_users_and_items(card, rows, items)


def test_ids_that_pandas_turned_into_floats_are_recognised() -> None:
    users = pd.DataFrame({"user": [1.0, 1.0], "title": ["Moka", "Mug"], "item_id": [7.0, None]})
    items = pd.DataFrame({"item_id": [7, 8], "title": ["Moka pot", "Cup"]})
    found, catalogue = read_users_and_items(CARD, users, items)
    assert [u.id for u in found] == ["1"]
    [(_, kept)] = candidates_of(CARD, found, catalogue)
    assert [item.id for item in kept] == ["8"]
    for written in ("7.0", " 7 ", 7, 7.0):
        cell = json.dumps([{"title": "Moka", "item_id": written}])
        assert "id:7" in history_keys({"history": cell}, CARD)
    assert "id:7.1" in history_keys({"history": [{"item_id": 7.1}]}, CARD)


def test_events_without_a_user_are_one_users(tmp_path: Path) -> None:
    users, _ = tables(tmp_path, "title,rating\nChess,5\nMug,1\n")
    assert [(u.id, len(u.fields["history"])) for u in users] == [("1", 2)]


def test_memory_is_read_as_files_are() -> None:
    users = pd.DataFrame({"title": ["Chess", "Mug"], "rating": [5, None]})
    items = pd.DataFrame({"sku": [7, 8], "title": ["Go", "Cup"]})
    [user], catalogue = read_users_and_items(CARD, users, items)
    assert user.fields["history"] == [{"title": "Chess", "rating": 5.0}, {"title": "Mug"}]
    assert [i.id for i in catalogue.items] == ["7", "8"]
    [one], _ = read_users_and_items(CARD, {"liked": ["Chess"]}, items)
    assert one.fields == {"liked": ["Chess"]}


def test_columns_of_other_names(tmp_path: Path) -> None:
    users, catalogue = tables(
        tmp_path,
        'who,past\nann,"[""Chess""]"\n',
        "key,what\nk1,Go\n",
        fields={"history": "past", "item": "what"},
        user_column="who",
        item_column="key",
    )
    assert (users[0].id, users[0].fields) == ("ann", {"history": '["Chess"]'})
    assert (catalogue.items[0].id, catalogue.items[0].fields) == ("k1", {"item": "Go"})


def test_a_new_user_has_an_empty_history(tmp_path: Path) -> None:
    users, _ = tables(tmp_path, "user,liked\nu1,\n")
    assert users[0].fields == {"liked": ""}


def test_an_item_that_cannot_be_read_is_kept_with_its_error(tmp_path: Path) -> None:
    _, catalogue = tables(tmp_path, "title\nMug\n", ITEMS + "c3,Kettle,20,blue,new\n")
    assert [bool(i.error) for i in catalogue.items] == [False, False, True]
    assert "5 cells where the header has 3" in catalogue.items[2].error


WIDE = 'user,liked\nu1,"[""Chess""]"\n'


@pytest.mark.parametrize(
    ("users", "items", "options", "kind", "message"),
    [
        (
            WIDE,
            ITEMS + "c1,Cup,3\n",
            {},
            DuplicateIdError,
            "catalogue.csv, line 4: item 'c1' is already at catalogue.csv, line 2",
        ),
        (WIDE, ITEMS + ",Cup,3\n", {}, InputError, "line 4: column 'item_id' is empty"),
        (WIDE, "item_id,title\n", {}, EmptyInputError, "catalogue.csv"),
        (WIDE, "", {}, EmptyInputError, "catalogue.csv"),
        (
            WIDE,
            "item_id,price\nc1,3\n",
            {},
            ColumnError,
            "catalogue.csv: no column 'item' (columns are: item_id, price; name it with --field "
            "item=COLUMN)",
        ),
        (WIDE, ITEMS, {"item_column": "sku"}, ColumnError, "no column 'sku'"),
        (WIDE, ITEMS, {"user_column": "who"}, ColumnError, "history.csv: no column 'who'"),
        (WIDE, ITEMS, {"fields": {"item": "titel"}}, ColumnError, "no column 'titel' for 'item'"),
        (WIDE, ITEMS, {"fields": {"age": "x"}}, ColumnError, "has no field 'age'"),
        (
            "user,liked\nu1,Chess\n",
            ITEMS,
            {},
            InputError,
            "history.csv, line 2: column 'liked': 'Chess' is not JSON",
        ),
        (
            'user,likes\nu1,"{""a"": 1}"\n',
            ITEMS,
            {},
            InputError,
            "history.csv, line 2: column 'likes': '{\"a\": 1}' is not a list",
        ),
        (WIDE + "u1,\n", ITEMS, {}, DuplicateIdError, "line 3: user 'u1' is already at history"),
        (WIDE + ",\n", ITEMS, {}, InputError, "history.csv, line 3: column 'user' is empty"),
        (WIDE + "u2,a,b\n", ITEMS, {}, InputError, "history.csv, line 3: 3 cells"),
        ("user,liked\n", ITEMS, {}, EmptyInputError, "history.csv"),
        (
            "user,age\nu1,30\n",
            ITEMS,
            {},
            ColumnError,
            "history.csv: no column that describes a user (liked, disliked, history)",
        ),
        ("user,title\n,Mug\n", ITEMS, {}, InputError, "history.csv, line 2: column 'user' is"),
        ("user,title\nu1,\n", ITEMS, {}, InputError, "history.csv, line 2: nothing in 'title'"),
        ("user,title,rating\nu1,Mug,five\n", ITEMS, {}, InputError, "history.csv, line 2: "),
    ],
)
def test_errors_name_file_row_and_column(
    tmp_path: Path,
    users: str,
    items: str,
    options: dict[str, Any],
    kind: type[EcomfsError],
    message: str,
) -> None:
    with pytest.raises(kind) as caught:
        tables(tmp_path, users, items, **options)
    assert message in str(caught.value)


def test_something_that_is_no_row() -> None:
    with pytest.raises(ConfigError, match="items: a row is 'Mug'"):
        read_users_and_items(CARD, {"liked": ["Chess"]}, ["Mug"])  # type: ignore[list-item]


titles = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() != ""
)


@given(bought=st.lists(titles, min_size=1, max_size=4), form=st.sampled_from(["list", "parts"]))
def test_items_of_the_history_are_recognised(bought: list[str], form: str) -> None:
    cell = json.dumps(bought if form == "list" else [{"title": text} for text in bought])
    fields = {"liked": cell} if form == "list" else {"history": cell}
    keys = history_keys(fields, CARD)
    for text in bought:
        assert item_keys("x", [text]) & keys
        assert item_keys("x", [f" {text}\n"]) & keys


def test_other_items_are_not_known() -> None:
    keys = history_keys({"history": '[{"title": "Moka pot", "rating": 5, "item_id": "c1"}]'}, CARD)
    assert not item_keys("c2", ["Moka pot, 6 cups"]) & keys
    assert not item_keys("5", ["5"]) & keys  # a rating is no title
    assert item_keys("c1", ["Espresso maker"]) & keys  # the same id under a new title
