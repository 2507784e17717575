"""Rows that wait for a person, and what people decided.

A decision adds the row to the pool as a labelled example in the same transaction, so that a
decision that is stored counts for the next prediction, and one that is not changed nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import sqlalchemy as sa

from ecomfs.core.json import plain
from ecomfs.errors import ConflictError, NotFoundError
from ecomfs.pool import Pool
from ecomfs.prepare.suggest import normalised_entropy
from ecomfs.serve.tables import decisions, insert_if_absent, migrate, reviews
from ecomfs.types import Example, Prediction, Row

State = Literal["open", "decided"]


@dataclass(frozen=True, slots=True)
class Review:
    """One row that waits for a person, or that a person labelled.

    Attributes:
        id: made by the service.
        task: of the row.
        row_id: as the sender called it; empty if it did not.
        fields: of the row.
        state: ``open`` or ``decided``.
        version: grows with every decision and every undo; a change names the one it has seen.
        skips: how often a person passed it over; such rows come later.
        label, reviewer, decided_at: the decision, by whom and when (ISO 8601, UTC).
        second_label, second_reviewer: a second person's opinion; the pool has the first.
        suggestion, uncertainty, probabilities, pool_version: of the latest prediction. The
            uncertainty is the entropy from 0 to 1; 1 without a distribution.
        source: where it came from: ``page``, ``api``, ``classify`` or ``run``.
        added_by, added_at: who sent it, and when.
    """

    id: str
    task: str
    row_id: str
    fields: Row
    state: State
    version: int
    skips: int
    label: str | None
    reviewer: str | None
    decided_at: str | None
    second_label: str | None
    second_reviewer: str | None
    suggestion: str | None
    uncertainty: float
    probabilities: Mapping[str, float]
    pool_version: int
    source: str
    added_by: str
    added_at: str

    @property
    def example_id(self) -> str:
        """The id of the example that its decision makes."""
        return f"review-{self.id}"


@dataclass(frozen=True, slots=True)
class Decided:
    """One entry of the log of decisions.

    Attributes:
        action: ``decide``, ``undo``, ``skip`` or ``second``.
        pool_version: the pool's version after it.
    """

    number: int
    review: str
    action: str
    label: str | None
    reviewer: str
    at: str
    pool_version: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two people agree on the rows that both labelled.

    Attributes:
        rows: labelled by two.
        same: of these, with the same label.
        kappa: Cohen's kappa; ``None`` where it is not defined (no rows, or one label only).
        conflicts: reviews with two labels, the latest first.
    """

    rows: int
    same: int
    kappa: float | None
    conflicts: tuple[Review, ...]


class Reviews:
    """The reviews of one task, beside its pool.

    Examples
    --------
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
    ) -> list[Review]:
        """Queue rows for a person; one that is there already, open or decided, is not added
        twice. One review per row, in order."""
        out = []
        with self._pool.database.writing() as connection:
            for i, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
                fields = json.dumps(plain(dict(row)), ensure_ascii=True)
                key = hashlib.sha256(_canonical(row).encode()).hexdigest()
                values = {
                    "id": uuid4().hex,
                    "task": self._task,
                    "row_id": row_ids[i] if row_ids is not None else "",
                    "fields": fields,
                    "row_key": key,
                    "state": "open",
                    "version": 1,
                    "skips": 0,
                    "source": source,
                    "added_by": by,
                    "added_at": now(),
                    **_predicted(prediction),
                }
                connection.execute(insert_if_absent(connection, reviews, values))
                found = connection.execute(
                    sa.select(reviews).where(reviews.c.task == self._task, reviews.c.row_key == key)
                ).one()
                out.append(_review(found))
        return out

    def get(self, id: str) -> Review:
        """One review.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._pool.database.reading() as connection:
            return self._get(connection, id)

    def queue(self, n: int, *, state: State = "open", offset: int = 0) -> list[Review]:
        """Open reviews, the most uncertain first and those that were skipped after the others; or
        decided ones, the latest first."""
        order: tuple[Any, ...] = (reviews.c.skips, reviews.c.uncertainty.desc(), reviews.c.id)
        if state == "decided":
            order = (reviews.c.decided_at.desc(), reviews.c.id)
        query = (
            sa.select(reviews)
            .where(reviews.c.task == self._task, reviews.c.state == state)
            .order_by(*order)
            .limit(n)
            .offset(offset)
        )
        with self._pool.database.reading() as connection:
            return [_review(row) for row in connection.execute(query)]

    def counts(self) -> dict[State, int]:
        """How many are open, and how many decided."""
        query = (
            sa.select(reviews.c.state, sa.func.count())
            .where(reviews.c.task == self._task)
            .group_by(reviews.c.state)
        )
        with self._pool.database.reading() as connection:
            found = {state: int(n) for state, n in connection.execute(query)}
        return {"open": found.get("open", 0), "decided": found.get("decided", 0)}

    def decide(self, id: str, label: str, *, reviewer: str, version: int | None = None) -> Review:
        """Label a row: it is an example of the pool from the next prediction on.

        Args:
            label: in the spelling of the pool.
            version: of the review that the reviewer has seen; ``None``: whatever it is.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is decided already, or was changed since ``version``.
        """
        with self._pool.database.writing() as connection:
            review = self._locked(connection, id)
            if review.state == "decided":
                raise ConflictError(
                    f"review {id} is decided already: {review.label!r}, by {review.reviewer}",
                    hint="undo the decision first, or give a second opinion",
                )
            _same_version(review, version)
            made = Example(review.example_id, review.fields, label)
            pool_version = self._pool.add([made], note=f"review by {reviewer}")
            values = {"label": label, "reviewer": reviewer, "decided_at": now()}
            self._change(connection, review, state="decided", **values)
            self._log(connection, id, "decide", label, reviewer, pool_version)
            return self._get(connection, id)

    def undo(self, id: str, *, reviewer: str, version: int | None = None) -> Review:
        """Take a decision back: its example is retired, and the row waits again.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is not decided, or it or its example was changed meanwhile.
        """
        with self._pool.database.writing() as connection:
            review = self._locked(connection, id)
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
            pool_version = self._pool.version
            if alive:
                pool_version = self._pool.retire([review.example_id], note=f"undo by {reviewer}")
            gone = {"label": None, "reviewer": None, "decided_at": None}
            second = {"second_label": None, "second_reviewer": None}
            self._change(connection, review, state="open", **gone, **second)
            self._log(connection, id, "undo", None, reviewer, pool_version)
            return self._get(connection, id)

    def skip(self, id: str, *, reviewer: str) -> Review:
        """Pass a row over: it comes again after the others.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is decided already.
        """
        with self._pool.database.writing() as connection:
            review = self._locked(connection, id)
            if review.state == "decided":
                raise ConflictError(f"review {id} is decided already", hint="take the next one")
            connection.execute(
                sa.update(reviews).where(reviews.c.id == id).values(skips=review.skips + 1)
            )
            self._log(connection, id, "skip", None, reviewer, self._pool.version)
            return self._get(connection, id)

    def second(self, id: str, label: str, *, reviewer: str) -> Review:
        """A second person's label of a decided row, to measure how two people agree. The pool
        keeps the first.

        Raises:
            NotFoundError: there is no such review.
            ConflictError: it is not decided, has a second opinion, or the first is this person's.
        """
        with self._pool.database.writing() as connection:
            review = self._locked(connection, id)
            if review.state != "decided":
                raise ConflictError(f"review {id} is not decided yet", hint="decide it")
            if review.reviewer == reviewer:
                raise ConflictError(
                    f"review {id} was decided by {reviewer}", hint="another person gives the second"
                )
            if review.second_label is not None:
                raise ConflictError(
                    f"review {id} has a second opinion: {review.second_label!r}, by "
                    f"{review.second_reviewer}",
                    hint="take the next one",
                )
            values = {"second_label": label, "second_reviewer": reviewer}
            self._change(connection, review, state="decided", **values)
            self._log(connection, id, "second", label, reviewer, self._pool.version)
            return self._get(connection, id)

    def predicted(self, predictions: Mapping[str, Prediction]) -> None:
        """Keep newer predictions of reviews, by review id."""
        with self._pool.database.writing() as connection:
            # In one order: two transactions that lock the same rows must not wait for each other.
            for id in sorted(predictions):
                values = _predicted(predictions[id])
                connection.execute(sa.update(reviews).where(reviews.c.id == id).values(**values))

    def log(self, n: int, *, review: str | None = None) -> list[Decided]:
        """The latest decisions, the newest first; of one review, or of all."""
        columns = [c for c in decisions.c if c.name != "task"]
        query = sa.select(*columns).where(decisions.c.task == self._task)
        if review is not None:
            query = query.where(decisions.c.review == review)
        query = query.order_by(decisions.c.number.desc()).limit(n)
        with self._pool.database.reading() as connection:
            return [Decided(*row) for row in connection.execute(query)]

    def labelled(self) -> dict[str, str]:
        """Row id, as the sender called it → label, of every decided row that has one."""
        query = sa.select(reviews.c.row_id, reviews.c.label).where(
            reviews.c.task == self._task, reviews.c.state == "decided", reviews.c.row_id != ""
        )
        with self._pool.database.reading() as connection:
            return {row.row_id: row.label for row in connection.execute(query)}

    def agreement(self) -> Agreement:
        """How two people agree on the rows that both labelled."""
        query = (
            sa.select(reviews)
            .where(reviews.c.task == self._task, reviews.c.second_label.is_not(None))
            .order_by(reviews.c.decided_at.desc())
        )
        with self._pool.database.reading() as connection:
            both = [_review(row) for row in connection.execute(query)]
        pairs = [(r.label or "", r.second_label or "") for r in both]
        apart = tuple(r for r in both if r.label != r.second_label)
        return Agreement(len(both), len(both) - len(apart), cohen_kappa(pairs), apart)

    def _get(self, connection: sa.Connection, id: str, *, lock: bool = False) -> Review:
        query = sa.select(reviews).where(reviews.c.task == self._task, reviews.c.id == id)
        if lock:
            query = query.with_for_update()
        found = connection.execute(query).one_or_none()
        if found is None:
            raise NotFoundError(
                f"task {self._task!r} has no review {id!r}", hint="GET /v1/reviews lists them"
            )
        return _review(found)

    def _locked(self, connection: sa.Connection, id: str) -> Review:
        return self._get(connection, id, lock=True)

    def _change(self, connection: sa.Connection, review: Review, **values: Any) -> None:
        connection.execute(
            sa.update(reviews)
            .where(reviews.c.id == review.id)
            .values(version=review.version + 1, **values)
        )

    def _log(
        self,
        connection: sa.Connection,
        id: str,
        action: str,
        label: str | None,
        reviewer: str,
        pool_version: int,
    ) -> None:
        entry = {"review": id, "task": self._task, "action": action, "label": label}
        entry |= {"reviewer": reviewer, "at": now()}
        connection.execute(sa.insert(decisions), {**entry, "pool_version": pool_version})


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement of two people beyond chance (Cohen, 1960): (p_o - p_e) / (1 - p_e); ``None``
    where it is not defined.

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


def now() -> str:
    """This moment, ISO 8601 in UTC.

    >>> now()[-6:]
    '+00:00'
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _canonical(row: Row) -> str:
    return json.dumps(plain(dict(row)), sort_keys=True, ensure_ascii=True)


def _predicted(prediction: Prediction) -> dict[str, Any]:
    shares = dict(prediction.probabilities)
    return {
        "suggestion": prediction.suggestion,
        "uncertainty": normalised_entropy([*shares.values()]) if shares else 1.0,
        "probabilities": json.dumps(shares),
        "pool_version": prediction.pool_version,
    }


def _review(row: Any) -> Review:
    values = {c.name: row._mapping[c.name] for c in reviews.c if c.name != "row_key"}
    values["fields"] = json.loads(values["fields"])
    values["probabilities"] = json.loads(values["probabilities"])
    return Review(**values)


def _same_version(review: Review, version: int | None) -> None:
    if version is not None and version != review.version:
        raise ConflictError(
            f"review {review.id} is at version {review.version}, this change is for {version}",
            hint="load it again: somebody changed it meanwhile",
        )
