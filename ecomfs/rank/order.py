"""Candidates in the order of P(like)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ecomfs.core import event_loop
from ecomfs.core.progress import READING, Progress, part, showing, silent
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline
from ecomfs.rank.parties import Catalogue, Item, User, read_parties
from ecomfs.rank.records import Rows
from ecomfs.rank.seen import history_keys, item_keys
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Row, Status

CHUNK = 256
"""Pairs asked at once."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate in a user's list.

    Attributes:
        rank: its place, from 1; ``None`` when it has no score.
        score: P(positive label); ``None`` when the model gave none (the prediction says why).
    """

    item: Item
    rank: int | None
    score: float | None
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class UserRanking:
    """A user's list.

    Attributes:
        items: the best first, at most ``top`` of them; then every candidate without a score.
        candidates: how many items were asked about.
        seen: how many were left out, because the user's history holds them.
    """

    user: User
    items: tuple[Ranked, ...]
    candidates: int
    seen: int

    @property
    def failed(self) -> int:
        """Candidates without a score."""
        return sum(r.rank is None for r in self.items)


def positive_label(space: LabelSpace, card: TaskCard, wanted: str | None = None) -> str:
    """The label whose probability is the score, in the pool's spelling: the one named, else the
    card's ``positive``.

    Raises:
        UnknownLabelError: no label is called so.
        ConfigError: neither names one.
    """
    name = wanted if wanted is not None else card.positive
    if name is None:
        raise ConfigError(
            f"task {card.name!r} names no positive label",
            hint=f"name one with --positive (positive=): {', '.join(space.names[:12])}",
        )
    return space.names[space.require(name, "the positive label")]


def places(scores: Sequence[float | None]) -> list[int]:
    """Positions in rank order: high scores first, equal ones as they came, those without a score
    at the end.

    >>> places([0.2, None, 0.9, 0.2])
    [2, 0, 3, 1]
    """

    def key(position: int) -> tuple[bool, float]:
        score = scores[position]
        return score is None, -(score or 0.0)

    return sorted(range(len(scores)), key=key)


def rank_users(
    pipeline: Pipeline,
    users: Sequence[User],
    catalogue: Catalogue,
    *,
    positive: str,
    top: int | None = None,
    keep_seen: bool = False,
    progress: Progress = silent,
) -> Iterator[UserRanking]:
    """One list a user, as soon as it is ready; for arguments see :func:`rank`.

    Raises:
        EngineError: the engine is gone.
        ConfigError: ``top`` below 1.
    """
    check_top(top)
    total, done = len(users) * len(catalogue.items), 0
    progress(READING, 0, total)
    for user, candidates in candidates_of(pipeline.card, users, catalogue, keep_seen=keep_seen):
        done += len(catalogue.items) - len(candidates)
        predictions: list[Prediction] = []
        for start in range(0, len(candidates), CHUNK):
            chunk = candidates[start : start + CHUNK]
            asked = [item for item in chunk if not item.error]
            rows = [pair_row(pipeline.card, user, item) for item in asked]
            ids = [f"{user.id}:{item.id}" for item in asked]
            told = part(progress, READING, done + start, total)
            answers = iter(event_loop.run(pipeline.classify(rows, ids, progress=told)))
            for item in chunk:
                predictions.append(
                    Prediction(f"{user.id}:{item.id}", None, status=Status.FAILED, error=item.error)
                    if item.error
                    else next(answers)
                )
        done += len(candidates)
        progress(READING, done, total)
        scores = [p.probabilities.get(positive) for p in predictions]
        ranked: list[Ranked] = []
        for place, i in enumerate(places(scores), 1):
            score = scores[i]
            if score is None or top is None or place <= top:
                where = None if score is None else place
                ranked.append(Ranked(candidates[i], where, score, predictions[i]))
        seen_items = len(catalogue.items) - len(candidates)
        yield UserRanking(user, tuple(ranked), len(candidates), seen_items)


def candidates_of(
    card: TaskCard, users: Sequence[User], catalogue: Catalogue, *, keep_seen: bool = False
) -> Iterator[tuple[User, list[Item]]]:
    """Each user with the items to ask about: all, or those that the history does not hold."""
    texts = [s.name for s in card.fields if s.kind == "text"]
    keys = [
        item_keys(item.id, [str(item.fields[name]) for name in texts if name in item.fields])
        for item in catalogue.items
    ]
    for user in users:
        seen = frozenset() if keep_seen else history_keys(user.fields, card)
        yield user, [i for i, k in zip(catalogue.items, keys, strict=True) if not k & seen]


def pair_row(card: TaskCard, user: User, item: Item) -> Row:
    """A user and an item as one row of the task."""
    return {spec.name: "" for spec in card.fields} | dict(user.fields) | dict(item.fields)


def check_top(top: int | None) -> None:
    """Raise :class:`ConfigError` for a list of no places."""
    if top is not None and top < 1:
        raise ConfigError(f"top = {top}", hint="1 or more")


def rank(
    classifier: FewShotClassifier,
    users: Rows,
    items: Rows,
    *,
    top: int | None = 10,
    positive: str | None = None,
    keep_seen: bool = False,
    user_column: str | None = None,
    item_column: str | None = None,
    progress: Progress | bool | None = None,
) -> list[UserRanking]:
    """Rank a catalogue for each user.

    Every pair of a user and an item is a row of the task, and its score the probability of the
    positive label. The model is asked once a pair.

    Args:
        classifier: a fitted classifier; its ``fields`` say which column is which field.
        users: see :mod:`ecomfs.rank.parties`: a file, a DataFrame, a dict, or a list of dicts.
        items: the candidates, likewise.
        top: longest list; ``None``: all candidates.
        positive: the label that is the score; the card's ``positive`` by default.
        keep_seen: keep items that the user's history holds; they are left out, and counted, by
            default. Titles are compared without case and punctuation, ids as they are.
        user_column, item_column: columns with the ids.
        progress: as for :meth:`ecomfs.FewShotClassifier.fit`.

    Returns:
        One list a user, in the order of ``users``. Candidates without a score stand at its end.

    Raises:
        InputError, ColumnError, DuplicateIdError: see :func:`read_parties`.
        ConfigError, UnknownLabelError: see :func:`positive_label`.
        EngineError: the engine is gone.

    Example (reads the packaged demo model)::

        clf = FewShotClassifier("product_preference").fit(pd.read_csv("pool.csv"))
        for r in rank(clf, "history.csv", "catalogue.csv", top=5)[0].items:
            print(r.rank, f"{r.score:.2f}", r.item.cells["title"])
    """
    pipeline = classifier.refresh()
    label = positive_label(pipeline.space, pipeline.card, positive)
    named: dict[str, Any] = {"user_column": user_column, "item_column": item_column}
    people, catalogue = read_parties(pipeline.card, users, items, fields=classifier.fields, **named)
    with showing(progress) as report:
        return list(
            rank_users(
                pipeline, people, catalogue, positive=label, top=top, keep_seen=keep_seen,
                progress=report,
            )
        )  # fmt: skip
