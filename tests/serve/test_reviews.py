"""Reviews and decisions in the pool's database: none is lost or applied twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from ecomfs.errors import ConfigError, ConflictError, InputError, NotFoundError
from ecomfs.pool import Pool
from ecomfs.serve.reviews import ReviewOut, Reviews
from ecomfs.serve.tables import IdempotentWrites, session_secret
from ecomfs.types import Prediction


def predicted(p: float) -> Prediction:
    return Prediction("r", None, {"positive": p, "negative": 1 - p}, pool_version=1)


def queued(reviews: Reviews, *texts: str, p: float = 0.5) -> list[ReviewOut]:
    rows = [{"text": text} for text in texts]
    return reviews.add(rows, [predicted(p)] * len(rows), source="api", by="shop")


def labels(pool: Pool) -> dict[str, str]:
    return {str(e.fields["text"]): e.label for e in pool.examples()}


def test_a_decision_is_an_example_and_undo_takes_it_back(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    [review] = queued(reviews, "so so")
    decided = reviews.decide(review.id, "negative", reviewer="wen", version=1)
    assert (decided.state, decided.label, decided.reviewer) == ("decided", "negative", "wen")
    assert decided.version == 2
    assert labels(any_pool)["so so"] == "negative"
    opened = reviews.undo(review.id, reviewer="ana", version=2)
    assert (opened.state, opened.label, opened.version) == ("open", None, 3)
    assert "so so" not in labels(any_pool)
    again = reviews.decide(review.id, "positive", reviewer="ana", version=3)
    assert labels(any_pool)["so so"] == "positive"
    told = [(d.action, d.label, d.reviewer) for d in reviews.log(9, review=again.id)]
    assert told == [
        ("decide", "positive", "ana"),
        ("undo", None, "ana"),
        ("decide", "negative", "wen"),
    ]


def test_the_most_uncertain_come_first_and_skipped_ones_last(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    queued(reviews, "sure", p=0.99)
    [unsure] = queued(reviews, "unsure", p=0.5)
    queued(reviews, "rather sure", p=0.8)
    order = [r.row["text"] for r in reviews.queue(9)]
    assert order == ["unsure", "rather sure", "sure"]
    reviews.skip(unsure.id, reviewer="wen")
    assert [r.row["text"] for r in reviews.queue(9)] == ["rather sure", "sure", "unsure"]
    assert reviews.queue(1, offset=1)[0].row["text"] == "sure"
    reviews.predicted({unsure.id: predicted(1.0)})
    assert reviews.get(unsure.id).uncertainty == 0


def test_a_row_is_queued_once(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    [first], [second] = queued(reviews, "so so"), queued(reviews, "so so", p=0.9)
    assert first == second
    assert reviews.counts() == {"open": 1, "decided": 0}
    assert Reviews(any_pool, "other").counts() == {"open": 0, "decided": 0}


def test_a_decision_twice_or_of_a_stale_page_is_a_conflict(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    [review] = queued(reviews, "so so")
    reviews.decide(review.id, "negative", reviewer="wen", version=1)
    version = any_pool.version
    with pytest.raises(ConflictError, match="decided already: 'negative', by wen"):
        reviews.decide(review.id, "positive", reviewer="ana", version=1)
    with pytest.raises(ConflictError, match="at version 2, this change is for 1"):
        reviews.undo(review.id, reviewer="ana", version=1)
    with pytest.raises(ConflictError, match="decided already"):
        reviews.skip(review.id, reviewer="ana")
    reviews.undo(review.id, reviewer="wen", version=2)
    with pytest.raises(ConflictError, match="at version 3, this change is for 1"):
        reviews.decide(review.id, "positive", reviewer="ana", version=1)
    with pytest.raises(ConflictError, match="nothing to undo"):
        reviews.undo(review.id, reviewer="ana")
    assert any_pool.version == version + 1
    with pytest.raises(NotFoundError, match="no review 'nothing'"):
        reviews.decide("nothing", "positive", reviewer="ana")


def test_undo_does_not_touch_an_example_that_was_relabelled_since(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    [review] = queued(reviews, "so so")
    decided = reviews.decide(review.id, "negative", reviewer="wen")
    any_pool.relabel(decided.example_id, "positive")
    with pytest.raises(ConflictError, match="relabelled as 'positive' since"):
        reviews.undo(review.id, reviewer="wen")
    any_pool.retire([decided.example_id])
    assert reviews.undo(review.id, reviewer="wen").state == "open"


def test_a_decision_that_cannot_be_stored_changes_nothing(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    [review] = queued(reviews, "so so")
    with any_pool.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE ecomfs_decision"))
    before = any_pool.version
    with pytest.raises(Exception, match="ecomfs_decision"):
        reviews.decide(review.id, "negative", reviewer="wen")
    assert any_pool.version == before
    assert reviews.get(review.id).state == "open"


def test_only_one_of_many_concurrent_decisions_wins(tmp_path: Path) -> None:
    with Pool.open(tmp_path / "pool.db") as pool:
        reviews = Reviews(pool, "t")
        [review] = queued(reviews, "so so")

        def one(i: int) -> bool:
            try:
                reviews.decide(review.id, "negative", reviewer=f"p{i}", version=1)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as people:
            assert sum(people.map(one, range(16))) == 1
        assert len(pool.examples()) == 1


def test_two_people_and_their_agreement(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    found = queued(reviews, "one", "two", "three", "four")
    for review, label in zip(found, ["positive", "positive", "negative", "negative"], strict=True):
        reviews.decide(review.id, label, reviewer="wen")
    with pytest.raises(ConflictError, match="another person"):
        reviews.second(found[0].id, "positive", reviewer="wen")
    for review, label in zip(found, ["positive", "negative", "negative", "negative"], strict=True):
        reviews.second(review.id, label, reviewer="ana")
    with pytest.raises(ConflictError, match="has a second opinion"):
        reviews.second(found[0].id, "positive", reviewer="bo")
    agreement = reviews.agreement()
    assert (agreement.rows, agreement.same, agreement.kappa) == (4, 3, 0.5)
    assert [(r.label, r.second_label) for r in agreement.conflicts] == [("positive", "negative")]
    assert labels(any_pool)["two"] == "positive"  # the first person's


def test_a_request_sent_again_gets_the_first_answer(any_pool: Pool) -> None:
    reviews, writes = Reviews(any_pool, "t"), IdempotentWrites(any_pool.database)
    [review] = queued(reviews, "so so")

    def decide() -> dict[str, object]:
        return {"version": reviews.decide(review.id, "negative", reviewer="wen").version}

    asked = {"id": review.id, "label": "negative"}
    assert writes.once("wen", "k", asked, decide) == {"version": 2}
    assert writes.once("wen", "k", asked, decide) == {"version": 2}
    with pytest.raises(InputError, match="used for another request"):
        writes.once("wen", "k", {"id": "x"}, decide)
    with pytest.raises(ConflictError):  # another caller's key is another key
        writes.once("ana", "k", asked, decide)
    assert len(labels(any_pool)) == 3


def test_a_write_that_failed_leaves_its_key_free(any_pool: Pool) -> None:
    writes = IdempotentWrites(any_pool.database)
    with pytest.raises(ZeroDivisionError):
        writes.once("wen", "k", {}, lambda: {"x": 1 / 0})
    assert writes.once("wen", "k", {}, lambda: {"x": 1}) == {"x": 1}


def test_tables_of_a_newer_release_are_refused(tmp_path: Path) -> None:
    with Pool.open(tmp_path / "pool.db") as pool:
        Reviews(pool, "t")
        with pool.database.writing() as connection:
            connection.execute(sa.text("UPDATE ecomfs_service_version SET version_num = '9999'"))
        with pytest.raises(ConfigError, match="newer release"):
            Reviews(pool, "t")


def test_tables_of_an_older_release_are_upgraded(tmp_path: Path) -> None:
    with Pool.open(tmp_path / "pool.db") as pool:
        [review] = Reviews(pool, "t").add(
            [{"text": "so so"}], [predicted(0.5)], source="api", by=""
        )
        with pool.database.writing() as connection:
            connection.execute(sa.text("DROP TABLE ecomfs_secret"))
            connection.execute(sa.text("UPDATE ecomfs_service_version SET version_num = '0001'"))
        assert len(session_secret(pool.database)) == 64
        assert Reviews(pool, "t").get(review.id).row == review.row


def test_the_secret_of_sessions_is_one_per_database(tmp_path: Path) -> None:
    with Pool.open(tmp_path / "a.db") as one, Pool.open(tmp_path / "b.db") as other:
        assert session_secret(one.database) != session_secret(other.database)
        with Pool.open(tmp_path / "a.db") as again:
            assert session_secret(again.database) == session_secret(one.database)


def test_an_id_of_rows_with_different_labels_has_no_true_label(any_pool: Pool) -> None:
    reviews = Reviews(any_pool, "t")
    rows = [{"text": text} for text in ("so so", "so so, later", "fine", "fine, too")]
    ids = ["r1", "r1", "r2", "r2"]
    added = reviews.add(rows, [predicted(0.5)] * 4, source="api", by="shop", row_ids=ids)
    assert [review.row for review in added] == rows
    for review, label in zip(added, ["negative", "positive", "positive", "positive"], strict=True):
        reviews.decide(review.id, label, reviewer="wen")
    assert reviews.labelled() == {"r2": "positive"}


def test_requests_that_queue_the_same_rows_in_another_order_do_not_block_each_other(
    any_pool: Pool,
) -> None:
    reviews = Reviews(any_pool, "t")
    texts = [f"row {i}" for i in range(40)]
    with ThreadPoolExecutor(4) as threads:
        orders = [texts, texts[::-1]] * 4
        found = list(threads.map(lambda order: queued(reviews, *order), orders))
    assert reviews.counts() == {"open": 40, "decided": 0}
    assert [[r.row["text"] for r in one] for one in found] == orders
