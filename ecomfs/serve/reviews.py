"""Reviews: rows that wait for a person, and their decisions.

A decision adds the row to the pool as a labelled example in the same transaction: it is stored and
used from the next prediction on, or nothing is changed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

import sqlalchemy as sa
from pydantic import Field, JsonValue

from ecomfs.core.json import plain
from ecomfs.errors import ConflictError, NotFoundError
from ecomfs.pool import Pool
from ecomfs.pool.tables import insert_if_absent
from ecomfs.prepare.suggest import normalised_entropy
from ecomfs.serve.schemas import Out, PredictionOut
from ecomfs.serve.tables import decisions, migrate, reviews
from ecomfs.traffic import now
from ecomfs.types import Example, Prediction, Row

State = Literal["open", "decided"]


class ReviewOut(Out):
    """One review: a row that waits for a person, or was labelled by one."""

    # The version grows with every decision and every undo; a change names the version it is for.
    # Skipped rows come later. Times are ISO 8601 in UTC. The second label is another person's
    # opinion; the pool has the first label. The source is page, api, classify or run.

    id: str
    row_id: str = Field(description="id given by the sender")
    row: dict[str, JsonValue]
    state: State
    version: int
    skips: int
    label: str | None
    reviewer: str | None
    decided_at: str | None
    second_label: str | None
    second_reviewer: str | None
    suggestion: str | None = Field(description="the likeliest label by the latest prediction")
    uncertainty: float = Field(description="entropy of that prediction: 0 certain, 1 uniform")
    probabilities: dict[str, float]
    pool_version: int
    example_id: str = Field(description="id of the example that the decision adds")
    source: str
    added_by: str
    added_at: str


class DecisionOut(Out):
    """One entry of the decision log."""

    review: str
    action: Literal["decide", "undo", "skip", "second"]
    label: str | None
    reviewer: str
    at: str
    pool_version: int


class AgainOut(Out):
    """A row before and after a decision."""

    review: str
    row: dict[str, JsonValue]
    similarity: float = Field(description="similarity to the decided row; 1 for that row")
    before: dict[str, float]
    after: PredictionOut


class AgreementOut(Out):
    """The agreement of two people on the rows that both labelled."""

    rows: int
    same: int
    kappa: float | None = Field(description="Cohen's kappa; null if undefined")
    conflicts: list[ReviewOut]


class Reviews:
    """The reviews of one task, beside its pool.

    >>> from ecomfs.types import Prediction
    >>> pool = Pool.in_memory([Example("a", {"text": "fine"}, "positive")])
    >>> reviews = Reviews(pool, "review_sentiment")
    >>> unsure = Prediction("r1", None, {"positive": 0.5, "negative": 0.5})
    >>> [review] = reviews.add([{"text": "so so"}], [unsure], source="api", by="shop")
    >>> review.state, review.uncertainty, len(pool.examples())
    ('open', 1.0, 1)
    >>> decided = reviews.decide(review.id, "negative", reviewer="wen", version=review.version)
    >>> decided.state, [e.label for e in pool.examples()]
    ('decided', ['positive', 'negative'])
    >>> reviews.decide(review.id, "negative", reviewer="wen", version=decided.version)
    Traceback (most recent call last):
    ecomfs.errors.ConflictError: review ... is decided already: 'negative', by wen (undo the ...
    >>> reviews.undo(review.id, reviewer="wen", version=decided.version).state
    'open'
    >>> pool.close()
    """

    def __init__(self, pool: Pool, task: str) -> None:
        self._pool = pool
        self._task = task
        migrate(pool.database)

    def add(
        self,
        rows: Sequence[Row],
        predictions: Sequence[Prediction],
        *,
        source: str,
        by: str,
        row_ids: Sequence[str] | None = None,
    ) -> list[ReviewOut]:
        """Queue rows for review, and return one review per row, in order. A row that has a review,
        open or decided, is not added again."""
        made: list[dict[str, Any]] = []
        for i, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
            fields = plain(dict(row))
            key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
            values = {
                "id": uuid4().hex,
                "task": self._task,
                "row_id": row_ids[i] if row_ids is not None else "",
                "fields": json.dumps(fields),
                "row_key": key,
                "state": "open",
                "version": 1,
                "skips": 0,
                "source": source,
                "added_by": by,
                "added_at": now(),
            }
            made.append(values | _predicted(prediction))
        with self._pool.database.writing() as connection:
            # Always in the same order, to avoid deadlocks between transactions.
            for values in sorted(made, key=lambda values: str(values["row_key"])):
                connection.execute(insert_if_absent(connection, reviews, values))
            return [
                review
                for values in made
                for review in self._select(
                    connection, self._mine().where(reviews.c.row_key == values["row_key"])
                )
            ]

    def get(self, id: str) -> ReviewOut:
        """One review.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._pool.database.reading() as connection:
            return self._get(connection, id)

    def queue(self, n: int, *, state: State = "open", offset: int = 0) -> list[ReviewOut]:
        """Open reviews, the most uncertain first, skipped ones last; or decided ones, the latest
        first."""
        order: tuple[Any, ...] = (reviews.c.skips, reviews.c.uncertainty.desc(), reviews.c.id)
        if state == "decided":
            order = (reviews.c.decided_at.desc(), reviews.c.id)
        query = self._mine().where(reviews.c.state == state).order_by(*order)
        with self._pool.database.reading() as connection:
            return self._select(connection, query.limit(n).offset(offset))

    def counts(self) -> dict[State, int]:
        """The number of open and of decided reviews."""
        query = (
            sa.select(reviews.c.state, sa.func.count())
            .where(reviews.c.task == self._task)
            .group_by(reviews.c.state)
        )
        with self._pool.database.reading() as connection:
            found = {state: int(n) for state, n in connection.execute(query)}
        return {"open": found.get("open", 0), "decided": found.get("decided", 0)}

    def decide(
        self, id: str, label: str, *, reviewer: str, version: int | None = None
    ) -> ReviewOut:
        """Label a row; it is an example of the pool from the next prediction on.

        Args:
            label: in the spelling of the pool.
            version: version of the review that the reviewer saw; ``None``: any.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is decided already, or was changed since ``version``.
        """
        with self._pool.database.writing() as connection:
            review = self._get(connection, id, lock=True)
            if review.state == "decided":
                raise ConflictError(
                    f"review {id} is decided already: {review.label!r}, by {review.reviewer}",
                    hint="undo the decision first, or give a second opinion",
                )
            _same_version(review, version)
            made = Example(review.example_id, review.row, label)
            self._pool.add([made], note=f"review by {reviewer}")
            changed = {
                "state": "decided",
                "version": review.version + 1,
                "label": label,
                "reviewer": reviewer,
                "decided_at": now(),
            }
            return self._changed(connection, id, "decide", reviewer, label, changed)

    def undo(self, id: str, *, reviewer: str, version: int | None = None) -> ReviewOut:
        """Undo a decision: its example is retired, and the row waits for review again.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is not decided, or it or its example was changed in the meantime.
        """
        with self._pool.database.writing() as connection:
            review = self._get(connection, id, lock=True)
            if review.state != "decided":
                raise ConflictError(f"review {id} is not decided", hint="there is nothing to undo")
            _same_version(review, version)
            alive = [r for r in self._pool.history(review.example_id) if r.retired_in is None]
            if alive and alive[0].example.label != review.label:
                raise ConflictError(
                    f"example {review.example_id!r} was relabelled as "
                    f"{alive[0].example.label!r} since the decision",
                    hint="relabel or retire the example itself",
                )
            if alive:
                self._pool.retire([review.example_id], note=f"undo by {reviewer}")
            gone = ("label", "reviewer", "decided_at", "second_label", "second_reviewer")
            changed = {**dict.fromkeys(gone), "state": "open", "version": review.version + 1}
            return self._changed(connection, id, "undo", reviewer, None, changed)

    def skip(self, id: str, *, reviewer: str, version: int | None = None) -> ReviewOut:
        """Skip a row: it comes again after the others.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is decided already, or was changed since ``version``.
        """
        with self._pool.database.writing() as connection:
            review = self._get(connection, id, lock=True)
            if review.state == "decided":
                raise ConflictError(f"review {id} is decided already", hint="go to the next one")
            _same_version(review, version)
            changed = {"skips": review.skips + 1}
            return self._changed(connection, id, "skip", reviewer, None, changed)

    def second(self, id: str, label: str, *, reviewer: str) -> ReviewOut:
        """Add a second person's label for a decided row, to measure agreement. The pool keeps the
        first label.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is not decided, has a second opinion, or the first is this person's.
        """
        with self._pool.database.writing() as connection:
            review = self._get(connection, id, lock=True)
            if review.state != "decided":
                raise ConflictError(f"review {id} is not decided yet", hint="decide it first")
            if review.reviewer == reviewer:
                raise ConflictError(
                    f"review {id} was decided by {reviewer}",
                    hint="the second opinion must come from another person",
                )
            if review.second_label is not None:
                raise ConflictError(
                    f"review {id} has a second opinion: {review.second_label!r}, by "
                    f"{review.second_reviewer}",
                    hint="go to the next one",
                )
            changed = {
                "version": review.version + 1,
                "second_label": label,
                "second_reviewer": reviewer,
            }
            return self._changed(connection, id, "second", reviewer, label, changed)

    def predicted(self, predictions: Mapping[str, Prediction]) -> None:
        """Store new predictions of reviews, by review id."""
        with self._pool.database.writing() as connection:
            # Always in the same order, to avoid deadlocks between transactions.
            for id in sorted(predictions):
                values = _predicted(predictions[id])
                connection.execute(sa.update(reviews).where(reviews.c.id == id).values(**values))

    def log(self, n: int, *, review: str | None = None) -> list[DecisionOut]:
        """The latest decisions, the newest first, for one review or for all."""
        query = sa.select(decisions).where(decisions.c.task == self._task)
        if review is not None:
            query = query.where(decisions.c.review == review)
        query = query.order_by(decisions.c.number.desc()).limit(n)
        with self._pool.database.reading() as connection:
            return [DecisionOut.model_validate(row) for row in connection.execute(query)]

    def labelled(self) -> dict[str, str]:
        """Row id given by the sender → label, for every decided row with such an id. An id of
        several rows with different labels is left out: it has no one true label."""
        query = sa.select(reviews.c.row_id, reviews.c.label).where(
            reviews.c.task == self._task, reviews.c.state == "decided", reviews.c.row_id != ""
        )
        with self._pool.database.reading() as connection:
            found: dict[str, set[str]] = {}
            for row in connection.execute(query):
                found.setdefault(row.row_id, set()).add(row.label)
        return {id: label for id, (label, *others) in found.items() if not others}

    def agreement(self) -> AgreementOut:
        """The agreement of two people on the rows that both labelled, and the conflicts, the latest
        first."""
        query = self._mine().where(reviews.c.second_label.is_not(None))
        with self._pool.database.reading() as connection:
            both = self._select(connection, query.order_by(reviews.c.decided_at.desc()))
        pairs = [(r.label or "", r.second_label or "") for r in both]
        apart = [r for r in both if r.label != r.second_label]
        same = len(both) - len(apart)
        kappa = cohen_kappa(pairs)
        return AgreementOut(rows=len(both), same=same, kappa=kappa, conflicts=apart)

    def _mine(self) -> sa.Select[Any]:
        return sa.select(reviews).where(reviews.c.task == self._task)

    def _select(self, connection: sa.Connection, query: sa.Select[Any]) -> list[ReviewOut]:
        out = []
        for row in connection.execute(query):
            values = dict(row._mapping)
            for name, column in (("row", "fields"), ("probabilities", "probabilities")):
                values[name] = json.loads(values[column])
            out.append(ReviewOut(**values, example_id=f"review-{row.id}"))
        return out

    def _get(self, connection: sa.Connection, id: str, *, lock: bool = False) -> ReviewOut:
        query = self._mine().where(reviews.c.id == id)
        found = self._select(connection, query.with_for_update() if lock else query)
        if not found:
            raise NotFoundError(
                f"task {self._task!r} has no review {id!r}", hint="see GET /v1/reviews"
            )
        return found[0]

    def _changed(
        self,
        connection: sa.Connection,
        id: str,
        action: str,
        reviewer: str,
        label: str | None,
        values: Mapping[str, Any],
    ) -> ReviewOut:
        """Change a review, log the change, and return the review."""
        connection.execute(sa.update(reviews).where(reviews.c.id == id).values(values))
        entry = {"review": id, "task": self._task, "action": action, "label": label}
        entry |= {"reviewer": reviewer, "at": now()}
        pool_version = self._pool.version
        connection.execute(sa.insert(decisions), {**entry, "pool_version": pool_version})
        return self._get(connection, id)


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement of two people beyond chance (Cohen, 1960): (p_o - p_e) / (1 - p_e); ``None`` if
    undefined.

    >>> cohen_kappa([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")])
    0.5
    >>> cohen_kappa([("a", "a")]) is None
    True
    """
    if not pairs:
        return None
    n = len(pairs)
    first, second = (Counter(labels) for labels in zip(*pairs, strict=True))
    chance = sum(first[label] * second[label] for label in first) / n**2
    if chance == 1:
        return None
    return (sum(a == b for a, b in pairs) / n - chance) / (1 - chance)


def _predicted(prediction: Prediction) -> dict[str, Any]:
    shares = dict(prediction.probabilities)
    return {
        "suggestion": prediction.suggestion,
        "uncertainty": normalised_entropy([*shares.values()]) if shares else 1.0,
        "probabilities": json.dumps(shares),
        "pool_version": prediction.pool_version,
    }


def _same_version(review: ReviewOut, version: int | None) -> None:
    if version is not None and version != review.version:
        raise ConflictError(
            f"review {review.id} is at version {review.version}, this change is for {version}",
            hint="load it again: it was changed in the meantime",
        )
