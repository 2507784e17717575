"""The order of open reviews."""

from __future__ import annotations

from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import Pool
from ecomfs.serve.reviews import ReviewOut
from ecomfs.serve.tasks import ServedTask
from ecomfs.types import Example, Prediction

KNOWN = ["the lamp is bright", "the lamp is dark"]
LIKE_KNOWN = [f"the lamp is bright today {n}" for n in range(5)]
NEW = [f"parcel came much too late again {n}" for n in range(5)]


def served(pool: Pool) -> ServedTask:
    clf = FewShotClassifier("review_sentiment", None, embedder="hashed", calibration_size=0)
    return ServedTask("review_sentiment", clf.fit(pool))


def pool_of_two() -> Pool:
    return Pool.in_memory(
        Example(str(n), {"text": text}, label)
        for n, (text, label) in enumerate(zip(KNOWN, ("positive", "negative"), strict=True))
    )


def queued(task: ServedTask, texts: list[str], p: float) -> list[ReviewOut]:
    unsure = [Prediction("", None, {"positive": p, "negative": 1 - p}) for _ in texts]
    return task.reviews.add([{"text": t} for t in texts], unsure, source="api", by="shop")


def texts(task: ServedTask, n: int = 99, offset: int = 0) -> list[str]:
    return [review.row["text"] for review in task.waiting(n, offset=offset)]


def test_rows_far_from_every_example_come_before_equally_uncertain_ones() -> None:
    with pool_of_two() as pool:
        task = served(pool)
        queued(task, LIKE_KNOWN + NEW, p=0.6)
        assert texts(task, 1)[0] in NEW
        # Once it has a label, others like it are covered.
        task.reviews.decide(task.waiting(1)[0].id, "negative", reviewer="wen")
        assert texts(task, 1)[0] in LIKE_KNOWN


def test_of_equally_distant_rows_uncertain_ones_come_first() -> None:
    with pool_of_two() as pool:
        task = served(pool)
        queued(task, NEW, p=0.99)
        queued(task, ["parcel came much too late again"], p=0.5)
        assert texts(task, 1) == ["parcel came much too late again"]


def test_the_order_holds_every_row_once_and_pages_of_it_fit_together() -> None:
    with pool_of_two() as pool:
        task = served(pool)
        queued(task, LIKE_KNOWN + NEW, p=0.7)
        whole = texts(task)
        assert sorted(whole) == sorted(LIKE_KNOWN + NEW)
        assert texts(task, 4) + texts(task, 4, 4) + texts(task, 4, 8) == whole


def test_skipped_rows_come_last_and_a_short_queue_goes_by_uncertainty() -> None:
    with pool_of_two() as pool:
        task = served(pool)
        [first, _] = queued(task, ["so so", "parcel late"], p=0.5)
        queued(task, ["very bright"], p=0.9)
        task.reviews.skip(first.id, reviewer="wen")
        assert texts(task) == ["parcel late", "very bright", "so so"]


def test_a_queue_longer_than_what_is_looked_at_is_given_whole() -> None:
    with pool_of_two() as pool:
        task = served(pool)
        queued(task, [f"row {n} of many" for n in range(310)], p=0.6)
        whole = texts(task, 400)
        assert len(set(whole)) == len(whole) == 310
        assert texts(task, 20, 295) == whole[295:]
