"""Ranks candidates by the probability of the positive label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ecomfs.core import event_loop
from ecomfs.core.progress import READING, Progress, part, showing, silent
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline
from ecomfs.rank.users_and_items import (
    Catalogue,
    Item,
    TableSource,
    User,
    history_keys,
    item_keys,
    read_users_and_items,
)
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Prediction, Row, Status

CHUNK = 256
"""Pairs per call of the pipeline."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate in a user's list.

    Attributes:
        rank: its rank, from 1; ``None`` without a score.
        score: P(positive label); ``None`` if the row failed (the prediction has the reason).
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
        candidates: number of items scored.
        seen: number of items left out because they are in the user's history.
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
    """The label whose probability is the score, in the pool's spelling: ``wanted``, or the card's
    ``positive``.

    Raises:
        UnknownLabelError: there is no such label.
        ConfigError: neither is set.

    >>> from ecomfs.task import load_task
    >>> card = load_task("product_preference")
    >>> positive_label(LabelSpace.resolve(card, ["Yes", "No"]), card)
    'Yes'
    """
    name = wanted if wanted is not None else card.positive
    if name is None:
        raise ConfigError(
            f"task {card.name!r} names no positive label",
            hint=f"name one with --positive (positive=): {', '.join(space.names[:12])}",
        )
    return space.names[space.require(name, "the positive label")]


def rank_order(scores: Sequence[float | None]) -> list[int]:
    """Positions in rank order: high scores first, ties in input order, rows without a score last.

    >>> rank_order([0.2, None, 0.9, 0.2])
    [2, 0, 3, 1]
    """

    def key(position: int) -> tuple[bool, float]:
        score = scores[position]
        return score is None, -(score or 0.0)

    return sorted(range(len(scores)), key=key)


def list_order(
    lists: Sequence[str], scores: Sequence[float | None], top: int | None = None
) -> list[tuple[int, int | None]]:
    """(position, rank) of the rows to show: lists in order of first appearance, best rows first;
    rows without a score are last in their list and have no rank.

    >>> list_order(["u1", "u2", "u1", "u1"], [0.2, 0.5, None, 0.9], top=1)
    [(3, 1), (2, None), (1, 1)]
    """
    members: dict[str, list[int]] = {}
    for position, name in enumerate(lists):
        members.setdefault(name, []).append(position)
    out: list[tuple[int, int | None]] = []
    for positions in members.values():
        for place, i in enumerate(rank_order([scores[p] for p in positions]), 1):
            position = positions[i]
            if scores[position] is None:
                out.append((position, None))
            elif top is None or place <= top:
                out.append((position, place))
    return out


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
    """Yield one list per user as soon as it is ready.

    Args:
        pipeline: pipeline of a task whose rows are pairs of a user and an item.
        users: the users with their histories.
        catalogue: the candidates.
        positive: the label whose probability is the score, in the pool's spelling.
        top, keep_seen, progress: as in :func:`rank`.

    Yields:
        Lists in the order of ``users``.

    Raises:
        EngineError: the engine is unavailable.
        ConfigError: ``top`` below 1.

    A row of the catalogue that cannot be read has no score, and needs no model:

    >>> from ecomfs import FewShotClassifier
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {"liked": "", "item": "Mug"}, "Yes"),
    ...         Example("2", {"liked": "", "item": "Rug"}, "No")]
    >>> clf = FewShotClassifier("product_preference", None, embedder="hashed", calibration_size=0)
    >>> pipeline = clf.fit(pool).pipeline_
    >>> mug = Item("c1", {"item": "Mug"}, {"title": "Mug"}, error="line 2: 3 cells")
    >>> (found,) = rank_users(pipeline, [User("u1", {"liked": ""})], Catalogue(("title",), (mug,)),
    ...                       positive="Yes")
    >>> [(r.item.id, r.rank, r.prediction.error) for r in found.items], found.failed
    ([('c1', None, 'line 2: 3 cells')], 1)
    """
    check_top(top)
    total, done = len(users) * len(catalogue.items), 0
    progress(READING, 0, total)
    for user, candidates in candidates_of(pipeline.card, users, catalogue, keep_seen=keep_seen):
        done += len(catalogue.items) - len(candidates)
        predictions = predict(
            pipeline,
            [f"{user.id}:{item.id}" for item in candidates],
            [pair_row(pipeline.card, user, item) for item in candidates],
            [item.error for item in candidates],
            progress,
            done,
            total,
        )
        done += len(candidates)
        progress(READING, done, total)
        scores = [p.probabilities.get(positive) for p in predictions]
        ranked = tuple(
            Ranked(candidates[i], place, scores[i], predictions[i])
            for i, place in list_order([user.id] * len(candidates), scores, top)
        )
        seen = len(catalogue.items) - len(candidates)
        yield UserRanking(user, ranked, len(candidates), seen)


def predict(
    pipeline: Pipeline,
    ids: Sequence[str],
    rows: Sequence[Row],
    errors: Sequence[str],
    progress: Progress,
    done: int = 0,
    total: int | None = None,
) -> list[Prediction]:
    """One prediction per row, :data:`CHUNK` at a time; a row with an error fails without a
    reading. ``done`` of ``total`` rows were done before, for the progress."""
    total = len(rows) if total is None else total
    out: list[Prediction] = []
    # Ranking needs comparable probabilities of all rows, so the model reads every row.
    every = replace(pipeline, cascade=False)
    for start in range(0, len(rows), CHUNK):
        chunk = range(start, min(start + CHUNK, len(rows)))
        usable = [i for i in chunk if not errors[i]]
        answered = every.classify(
            [rows[i] for i in usable],
            [ids[i] for i in usable],
            progress=part(progress, READING, done + start, total),
        )
        found = iter(event_loop.run(answered))
        out += [
            Prediction(ids[i], None, status=Status.FAILED, error=errors[i])
            if errors[i]
            else next(found)
            for i in chunk
        ]
    return out


def candidates_of(
    card: TaskCard, users: Sequence[User], catalogue: Catalogue, *, keep_seen: bool = False
) -> Iterator[tuple[User, list[Item]]]:
    """Each user with the candidates: all items, or those that are not in the user's history.

    >>> from ecomfs.task import load_task
    >>> card, user = load_task("product_preference"), User("u1", {"liked": '["Go"]'})
    >>> items = tuple(Item(t, {"item": t}, {"title": t}) for t in ("Chess", "Go"))
    >>> [(user, found)] = candidates_of(card, [user], Catalogue(("title",), items))
    >>> [item.id for item in found]
    ['Chess']
    """
    texts = [s.name for s in card.fields if s.kind == "text"]
    keys = [
        item_keys(item.id, [str(item.fields[name]) for name in texts if name in item.fields])
        for item in catalogue.items
    ]
    for user in users:
        seen = frozenset() if keep_seen else history_keys(user.fields, card)
        yield user, [i for i, k in zip(catalogue.items, keys, strict=True) if not k & seen]


def pair_row(card: TaskCard, user: User, item: Item) -> Row:
    """A user and an item as one row of the task.

    >>> from ecomfs.task import load_task
    >>> card = load_task("product_preference")
    >>> pair_row(card, User("u1", {"liked": '["Go"]'}), Item("c1", {"item": "Mug"}, {}))
    {'user': 'u1', 'liked': '["Go"]', 'disliked': '', 'history': '', 'item': 'Mug'}
    """
    named = {} if card.user is None else {card.user: user.id}
    empty = {spec.name: "" for spec in card.fields}
    return empty | dict(user.fields) | dict(item.fields) | named


def check_top(top: int | None) -> None:
    """Raise :class:`ConfigError` for a list length below 1.

    >>> check_top(0)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: top = 0 (use 1 or more)
    """
    if top is not None and top < 1:
        raise ConfigError(f"top = {top}", hint="use 1 or more")


def rank(
    classifier: FewShotClassifier,
    users: TableSource,
    items: TableSource,
    *,
    top: int | None = 10,
    positive: str | None = None,
    keep_seen: bool = False,
    user_column: str | None = None,
    item_column: str | None = None,
    progress: Progress | bool | None = None,
) -> list[UserRanking]:
    """Rank a catalogue for each user.

    Every pair of a user and an item is one row of the task. Its score is the probability of the
    positive label.

    Args:
        classifier: a fitted classifier; its ``fields`` map fields to columns.
        users: a file, a DataFrame, a dict, or a list of dicts.
        items: the candidates, in the same forms.
        top: length of the lists; ``None``: all candidates.
        positive: the label whose probability is the score; the card's ``positive`` by default.
        keep_seen: also rank items in the user's history; by default they are left out and counted.
            Titles are compared without case and punctuation, ids exactly.
        user_column, item_column: columns with the ids.
        progress: as in :meth:`ecomfs.FewShotClassifier.fit`.

    Returns:
        One list per user, in the order of ``users``. Candidates without a score are last.

    Raises:
        InputError, ColumnError, DuplicateIdError: see :func:`read_users_and_items`.
        ConfigError, UnknownLabelError: see :func:`positive_label`.
        EngineError: the engine is unavailable.

    >>> from ecomfs.errors import NotFittedError
    >>> try:
    ...     rank(FewShotClassifier("product_preference"), "history.csv", "catalogue.csv")
    ... except NotFittedError as error:
    ...     print(error)
    the classifier has no examples yet (call fit first)

    A fitted classifier reads a model, so it is not run here:

    >>> clf = FewShotClassifier("product_preference").fit(pool)  # doctest: +SKIP
    >>> for r in rank(clf, "history.csv", "catalogue.csv", top=5)[0].items:  # doctest: +SKIP
    ...     print(r.rank, f"{r.score:.2f}", r.item.cells["title"])
    """
    pipeline = classifier.refresh()
    label = positive_label(pipeline.space, pipeline.card, positive)
    found, catalogue = read_users_and_items(
        pipeline.card,
        users,
        items,
        fields=classifier.fields,
        user_column=user_column,
        item_column=item_column,
    )
    with showing(progress) as report:
        return list(
            rank_users(
                pipeline,
                found,
                catalogue,
                positive=label,
                top=top,
                keep_seen=keep_seen,
                progress=report,
            )
        )
