"""The shipped sample files: enough rows, unique ids, no leakage, both languages."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from ecomfs.task import load_task

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
EVAL_TASKS = SAMPLES.parent / "eval" / "tasks"
"""Cards that the suites have beside the shipped ones."""
HAN = re.compile(r"[\u4e00-\u9fff]")
SESSION = (
    "pages_viewed",
    "product_pages",
    "minutes_on_site",
    "added_to_cart",
    "bounce_rate",
    "page_value",
    "returning_visitor",
    "weekend",
    "month",
    "device",
)
PERSON = (
    "age",
    "income",
    "kids_at_home",
    "days_since_last_order",
    "spend_wine",
    "spend_food",
    "web_visits_month",
    "campaigns_accepted",
    "signup_date",
)


class Sample(NamedTuple):
    """What a task's two files promise. ``zh`` is a share range of rows with Han characters."""

    task: str
    inputs: tuple[str, ...]
    labels: int
    zh: tuple[float, float] | None


def of_a_card(task: str) -> Sample:
    """What the sample of a task promises that is not in the list below: the card's fields and
    labels, and half of the rows in each language."""
    card = load_task(task)
    return Sample(task, tuple(f.name for f in card.fields), len(card.labels), (0.45, 0.55))


# Those that promise something else: other columns, the pool's labels, other shares of languages.
LISTED = [
    Sample("review_sentiment", ("text",), 2, (0.45, 0.55)),
    Sample("product_category", ("title",), 8, (0.2, 0.3)),
    Sample("customer_intent", ("text",), 10, (0.4, 0.6)),
    Sample("query_relevance", ("query", "product"), 2, (0.4, 0.6)),
    Sample("product_preference", ("user", "history", "item"), 2, (0.4, 0.6)),
    Sample("purchase_intent", SESSION, 2, None),
    Sample("next_category", ("history", "device"), 6, None),
    Sample("ad_response", PERSON, 2, None),
    Sample("product_path", ("title",), 8, None),
]
SAMPLE_SETS = LISTED + [
    of_a_card(folder.name)
    for folder in sorted(SAMPLES.iterdir())
    if folder.is_dir() and folder.name not in {sample.task for sample in LISTED}
]
every_task = pytest.mark.parametrize("sample", SAMPLE_SETS, ids=lambda s: s.task)
every_part = pytest.mark.parametrize("part", ["pool", "test"])


def read(task: str, part: str) -> pd.DataFrame:
    return pd.read_csv(SAMPLES / task / f"{part}.csv", dtype=str, keep_default_na=False)


def folded(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[str]:
    """One comparison key a row: NFKC, lower case, letters and digits only."""
    joined = frame[list(columns)].agg(" | ".join, axis=1)
    keys = []
    for text in joined:
        normal = unicodedata.normalize("NFKC", text).lower()
        keys.append("".join(c for c in normal if c.isalnum() or c == "|"))
    return keys


@every_part
@every_task
def test_columns_counts_and_ids(sample: Sample, part: str) -> None:
    frame = read(sample.task, part)
    assert list(frame.columns) == ["id", *sample.inputs, "label"]
    assert len(frame) >= 60
    assert frame["id"].is_unique
    assert not (frame == "").any(axis=None)
    assert not frame.apply(lambda column: column != column.str.strip()).any(axis=None)


def labels(task: str, frame: pd.DataFrame) -> set[str]:
    """All labels of a table; a row may have several, or none."""
    own = EVAL_TASKS / task
    card = load_task(own if own.is_dir() else task)
    return {label for cell in frame["label"] for label in card.labels_of(cell, "row")}


@every_task
def test_labels(sample: Sample) -> None:
    pool, test = read(sample.task, "pool"), read(sample.task, "test")
    assert len(labels(sample.task, pool)) == sample.labels
    assert labels(sample.task, test) <= labels(sample.task, pool)


@every_task
def test_no_test_row_is_in_the_pool(sample: Sample) -> None:
    pool, test = read(sample.task, "pool"), read(sample.task, "test")
    pool_keys, test_keys = folded(pool, sample.inputs), folded(test, sample.inputs)
    assert len(set(pool_keys)) == len(pool_keys)
    assert len(set(test_keys)) == len(test_keys)
    assert not set(pool_keys) & set(test_keys)
    assert not set(pool["id"]) & set(test["id"])


@every_part
@pytest.mark.parametrize("sample", [s for s in SAMPLE_SETS if s.zh], ids=lambda s: s.task)
def test_both_languages(sample: Sample, part: str) -> None:
    frame = read(sample.task, part)
    chinese = frame[list(sample.inputs)].agg(" ".join, axis=1).str.contains(HAN)
    assert sample.zh is not None
    low, high = sample.zh
    assert low <= chinese.mean() <= high
    # Each label is seen in each language, so a model cannot read the label off the script.
    every = labels(sample.task, frame)
    assert labels(sample.task, frame[chinese]) == labels(sample.task, frame[~chinese]) == every


@pytest.mark.parametrize(
    ("task", "label", "share"),
    [
        ("review_sentiment", "positive", 0.5),
        ("query_relevance", "relevant", 0.475),
        ("product_preference", "like", 0.5),
        ("purchase_intent", "buy", 0.354),
        ("ad_response", "responds", 0.25),
        ("return_reason", "wrong_size", 1 / 6),
        ("fake_review", "fake", 1 / 3),
        ("address_quality", "invalid", 1 / 3),
        ("support_priority", "urgent", 1 / 3),
    ],
)
@every_part
def test_label_shares(task: str, label: str, share: float, part: str) -> None:
    assert (read(task, part)["label"] == label).mean() == pytest.approx(share, abs=0.005)


@every_part
def test_preference_histories(part: str) -> None:
    frame = read("product_preference", part)
    for cell, item in zip(frame["history"], frame["item"], strict=True):
        history = json.loads(cell)
        assert len(history) >= 3
        assert all(set(entry) == {"title", "rating"} for entry in history)
        assert all(entry["rating"] in range(1, 6) for entry in history)
        assert item not in {entry["title"] for entry in history}
    by_user = frame.groupby("user")
    assert (by_user["history"].nunique() == 1).all()
    # A user with one label only has no AUC, and ranking metrics say nothing about them.
    assert (by_user["label"].nunique() == 2).all()


@every_part
def test_rows_with_several_aspects(part: str) -> None:
    card, frame = load_task("review_aspects"), read("review_aspects", part)
    sizes = [len(card.labels_of(cell, "row")) for cell in frame["label"]]
    assert {0, 1, 2, 3} == set(sizes)
    assert 1.5 <= sum(sizes) / len(sizes) <= 2
    for cell in frame["label"]:  # nobody praises and blames one aspect in one sentence here
        aspects = [label.partition("_")[0] for label in card.labels_of(cell, "row")]
        assert len(set(aspects)) == len(aspects)


def test_users_and_queries_are_not_shared() -> None:
    for task, column in (("product_preference", "user"), ("query_relevance", "query")):
        assert not set(read(task, "pool")[column]) & set(read(task, "test")[column])


@every_part
def test_next_category_histories_use_the_label_space(part: str) -> None:
    frame = read("next_category", part)
    categories = set(frame["label"])
    for cell in frame["history"]:
        history = json.loads(cell)
        assert history
        assert set(history) <= categories


@every_part
def test_tabular_values(part: str) -> None:
    sessions, people = read("purchase_intent", part), read("ad_response", part)
    numbers = sessions[list(SESSION[:6])].astype(float)
    assert (numbers >= 0).all(axis=None)
    assert (numbers["product_pages"] <= numbers["pages_viewed"]).all()
    assert (numbers["bounce_rate"] <= 1).all()
    assert set(sessions["returning_visitor"]) == set(sessions["weekend"]) == {"yes", "no"}
    assert set(sessions["device"]) <= {"mobile", "desktop", "tablet"}
    assert people["age"].astype(int).between(18, 100).all()
    signup = pd.to_datetime(people["signup_date"], format="%Y-%m-%d")
    last_order = pd.Timestamp("2025-06-30") - pd.to_timedelta(
        people["days_since_last_order"].astype(int), unit="D"
    )
    assert (signup <= last_order).all()


def test_same_product_pairs() -> None:
    frame = read("query_relevance", "same_product")
    assert list(frame.columns) == ["id", "left", "right", "label"]
    assert len(frame) == 40
    assert frame["id"].is_unique
    assert frame["label"].value_counts().to_dict() == {"same": 20, "different": 20}
    assert (frame["left"] != frame["right"]).all()
    chinese = (frame["left"] + frame["right"]).str.contains(HAN)
    assert 0.4 <= chinese.mean() <= 0.6


def test_ranking_files() -> None:
    user = read("product_preference", "user")
    catalogue = read("product_preference", "catalogue")
    assert list(user.columns) == ["title", "rating", "date"]
    assert list(catalogue.columns) == ["item_id", "title", "category", "price"]
    assert len(catalogue) == 30
    assert catalogue["item_id"].is_unique
    assert (catalogue["price"].astype(float) > 0).all()
    assert user["rating"].astype(int).between(1, 5).all()
    assert pd.to_datetime(user["date"], format="%Y-%m-%d").is_monotonic_increasing
    assert not set(user["title"]) & set(catalogue["title"])


def test_files_are_plain_utf8_with_lf() -> None:
    files = sorted(SAMPLES.rglob("*.csv"))
    assert files
    for path in files:
        raw = path.read_bytes()
        assert b"\r" not in raw, path.name
        assert not raw.startswith(b"\xef\xbb\xbf"), path.name
        assert raw.endswith(b"\n"), path.name
        assert "\ufffd" not in raw.decode("utf-8"), path.name
