from __future__ import annotations

import random

import pytest

from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.retrieve import LabelShortlist, Retriever
from ecomfs.types import Example

ROWS = [
    ("where is my parcel", "track_order"),
    ("my parcel is late", "track_order"),
    ("give my money back", "refund"),
    ("i want a refund", "refund"),
    ("change the delivery address", "change_address"),
    ("forgot my password", "log_in"),
]
PARENTS = {
    "track_order": "delivery",
    "change_address": "delivery",
    "refund": "payment",
    "log_in": "account",
}


def retriever() -> Retriever:
    examples = [Example(f"e{n}", {"text": t}, label) for n, (t, label) in enumerate(ROWS)]
    return Retriever(examples, [t for t, _ in ROWS], HashedEmbedder(2048))


def test_likely_labels_come_first_and_every_label_once() -> None:
    lists = LabelShortlist(retriever()).shortlist(["parcel has not come", "password reset"], 4)
    assert [names[0] for names in lists] == ["track_order", "log_in"]
    assert all(sorted(names) == sorted(PARENTS) for names in lists)


def test_a_definition_finds_a_label_whose_examples_do_not() -> None:
    query = ["wrong street and house number"]
    plain = LabelShortlist(retriever())
    defined = LabelShortlist(
        retriever(), {"change_address": "street, house number or city is wrong"}
    )
    rank = [s.shortlist(query, 4)[0].index("change_address") for s in (plain, defined)]
    assert rank == [1, 0]


def test_recall_counts_true_labels_on_the_list() -> None:
    shortlist = LabelShortlist(retriever())
    queries = ["parcel is late", "refund please", "hello"]
    gold = ["track_order", "refund", "no_such_label"]
    assert shortlist.recall(queries, gold, 1) == pytest.approx(2 / 3)
    assert shortlist.recall(queries[:2], gold[:2], 4) == 1
    assert shortlist.recall([], [], 4) is None


def test_leave_self_out_takes_the_only_example_of_a_label_away() -> None:
    shortlist = LabelShortlist(retriever(), dict.fromkeys(PARENTS, "?"))
    texts = [t for t, _ in ROWS]
    gold = [label for _, label in ROWS]
    ids = [[f"e{n}"] for n in range(len(ROWS))]
    assert shortlist.recall(texts, gold, 1) == 1
    honest = shortlist.recall(texts, gold, 1, exclude_ids=ids, leave_self_out=True)
    assert honest is not None
    assert honest < 1
    last = shortlist.shortlist(texts[5:], 4, exclude_ids=ids[5:], leave_self_out=True)[0]
    assert last[-1] == "log_in"


def test_two_levels() -> None:
    tree = LabelShortlist(retriever(), parents=PARENTS).descend(["where is the parcel"], 2)[0]
    assert next(iter(tree)) == "delivery"
    assert set(tree["delivery"]) == {"track_order", "change_address"}
    assert len(tree) == 2


def test_bad_arguments_are_refused() -> None:
    shortlist = LabelShortlist(retriever())
    with pytest.raises(ConfigError, match="1 or more"):
        shortlist.shortlist(["a"], 0)
    with pytest.raises(ConfigError, match="1 queries but 0"):
        shortlist.recall(["a"], [], 1)
    with pytest.raises(ConfigError, match="parents"):
        shortlist.descend(["a"])
    incomplete = {k: v for k, v in PARENTS.items() if k != "refund"}
    gappy = LabelShortlist(retriever(), parents=incomplete)
    with pytest.raises(ConfigError, match="no parent for 'refund'"):
        gappy.descend(["a"])


def test_an_approximate_index_puts_the_same_labels_first() -> None:
    words = [f"w{n}" for n in range(300)]
    lots = random.Random(0)
    topics = [lots.sample(words, 6) for _ in range(40)]
    said = [(" ".join(lots.sample(topics[n % 40], 4)), f"topic {n % 40}") for n in range(2000)]
    examples = [Example(f"e{n}", {"text": t}, label) for n, (t, label) in enumerate(said)]
    queries = [" ".join(lots.sample(topic, 4)) for topic in topics]
    exact, near = (
        LabelShortlist(Retriever(examples, [t for t, _ in said], HashedEmbedder(256), index=kind))
        for kind in ("exact", "ivf")
    )
    pairs = zip(exact.shortlist(queries, 3), near.shortlist(queries, 3), strict=True)
    assert sum(a[0] == b[0] for a, b in pairs) >= 39
    assert near.recall(queries, [f"topic {n}" for n in range(40)], 3) == 1
    assert all(len(names) == 40 for names in near.shortlist(queries, 40))
