"""Borrows labelled examples of a related task, or of the other language, for this task.

They were labelled for another question, so the classifier must agree with each mapped label. Kept
examples are marked synthetic, with the file and the id of their source.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ecomfs.errors import ConfigError, EngineError, UnknownLabelError
from ecomfs.prepare.augment.candidates import Augmented, Candidate, RareLabel
from ecomfs.prepare.augment.checks import CandidateFilter
from ecomfs.task import LabelSpace, TaskCard
from ecomfs.types import Example

_ROUND = 64  # texts that are read at once


def map_labels(
    mapping: Mapping[str, str], found: Sequence[str], space: LabelSpace, where: str
) -> dict[str, str]:
    """Map each borrowed label to a label of this task: as given, or the label of the same name.

    Args:
        mapping: borrowed label → label of this task.
        found: the labels of the borrowed examples.
        space: the labels of this task.
        where: the borrowed file, for messages.

    Returns:
        Borrowed label → label of this task.

    Raises:
        UnknownLabelError: ``mapping`` names an unknown label, or no borrowed label can be mapped.

    >>> from ecomfs.task import load_task
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), ["positive", "negative"])
    >>> map_labels({"liked": "positive"}, ["liked", "pos", "returned"], space, "other.csv")
    {'liked': 'positive', 'pos': 'positive'}
    """
    meanings: dict[str, str] = {}
    known = list(dict.fromkeys(found))
    for there, here in mapping.items():
        if there not in known:
            raise UnknownLabelError(
                f"--map {there}={here}: {where} has no label {there!r}",
                hint=f"its labels are: {', '.join(known[:12])}",
            )
        meanings[there] = space.names[space.require(here, f"--map {there}={here}")]
    for label in known:
        position = space.index(label)
        if position is not None:
            meanings.setdefault(label, space.names[position])
    if not meanings:
        raise UnknownLabelError(
            f"{where}: none of its labels is a label of this task",
            hint=f"map them, such as --map {known[0] if known else 'LABEL'}={space.names[0]}",
        )
    return meanings


def map_fields(
    card: TaskCard, other: TaskCard, explicit: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Map each field of this task to a field of the other: as given, of the same name, or the only
    required one of each.

    Args:
        card: the card of this task.
        other: the card of the other task.
        explicit: field of this task → field of the other.

    Returns:
        Field of this task → field of the other.

    Raises:
        ConfigError: a required field has no counterpart, or a name is not a field.

    >>> from ecomfs.task import load_task
    >>> map_fields(load_task("review_sentiment"), load_task("product_category"))
    {'text': 'title'}
    """
    here, there = [f.name for f in card.fields], [f.name for f in other.fields]
    fields = {name: name for name in here if name in there}
    needed = [f.name for f in card.fields if f.required]
    theirs = [f.name for f in other.fields if f.required]
    if len(needed) == len(theirs) == 1:
        fields.setdefault(needed[0], theirs[0])
    for name, source in (explicit or {}).items():
        for task, known, value in ((card, here, name), (other, there, source)):
            if value not in known:
                raise ConfigError(
                    f"--borrow-field {name}={source}: task {task.name!r} has no field {value!r}",
                    hint=f"fields are: {', '.join(known)}",
                )
        fields[name] = source
    missing = [name for name in needed if name not in fields]
    if missing:
        raise ConfigError(
            f"task {other.name!r} has no field for field {missing[0]!r} of {card.name!r}",
            hint=f"name one: --borrow-field {missing[0]}=FIELD; fields are: {', '.join(there)}",
        )
    return fields


async def borrow(
    checks: CandidateFilter,
    examples: Sequence[Example],
    labels: Mapping[str, str],
    fields: Mapping[str, str],
    origin: str,
    needs: Sequence[RareLabel] | None = None,
) -> Augmented:
    """Check borrowed examples, in order.

    Args:
        checks: the checks that a candidate must pass.
        examples: labelled examples of the other task; synthetic ones are rejected.
        labels: see :func:`map_labels`.
        fields: see :func:`map_fields`.
        origin: prefix of ``source_id``, such as ``review_sentiment:other.csv``.
        needs: the rare labels; each gets only as many examples as it lacks. ``None``: no limit.

    Returns:
        All candidates, kept and rejected.

    Raises:
        EngineError: the engine became unavailable before the first candidate.

    >>> from types import SimpleNamespace
    >>> from ecomfs.core import event_loop
    >>> from ecomfs.prepare.augment.checks import FilterPolicy
    >>> from ecomfs.task import load_task
    >>> checks = SimpleNamespace(  # no example gets as far as a check
    ...     pipeline=SimpleNamespace(card=load_task("review_sentiment")), policy=FilterPolicy())
    >>> other = [Example("a", {"text": "arrived late"}, "delivery")]
    >>> found = event_loop.run(borrow(checks, other, {}, {"text": "text"}, "other.csv"))
    >>> [(c.reason, c.detail) for c in found.candidates]
    [('no_label', "label 'delivery'")]
    """
    missing = None if needs is None else Counter({need.label: need.missing for need in needs})
    here = [spec.name for spec in checks.pipeline.card.fields]
    found: list[Candidate] = []
    pending: deque[Example] = deque()
    for example in examples:
        made = _example(example, labels, fields, here, origin)
        if example.label not in labels:
            found.append(Candidate(made, "no_label", f"label {example.label!r}"))
        elif example.synthetic:
            found.append(Candidate(made, "not_needed", "it is synthetic itself"))
        else:
            pending.append(made)
    error: EngineError | None = None
    while asked := _next(checks, pending, missing, found):
        try:
            read = await checks.check_reading(asked, [None] * len(asked))
        except EngineError as gone:
            if not found:
                raise
            error = gone
            pending.extendleft(reversed(asked))
            break
        found += read
        if missing is not None:
            missing.subtract(c.example.label for c in read if not c.reason)
    left = "not read" if error else "its label has enough examples already"
    found += [Candidate(made, "engine_error" if error else "not_needed", left) for made in pending]
    about = {
        "borrowed_from": origin,
        "labels": dict(labels),
        "fields": dict(fields),
        **asdict(checks.policy),
    }
    return Augmented(found, needs or (), about, error)


def _next(
    checks: CandidateFilter,
    pending: deque[Example],
    missing: Counter[str] | None,
    found: list[Candidate],
) -> list[Example]:
    """Take the next examples to read from ``pending``, as many of a label as it lacks; those whose
    text fails a check are added to ``found``."""
    asked: list[Example] = []
    taken: Counter[str] = Counter()
    for _ in range(len(pending)):
        made = pending.popleft()
        if len(asked) == _ROUND or (
            missing is not None and taken[made.label] >= missing[made.label]
        ):
            pending.append(made)
        elif (fault := checks.check_text(made)) is not None:
            found.append(Candidate(made, *fault))
        else:
            taken[made.label] += 1
            asked.append(made)
    return asked


def _example(
    example: Example,
    labels: Mapping[str, str],
    fields: Mapping[str, str],
    here: Sequence[str],
    origin: str,
) -> Example:
    row = {name: example.fields.get(fields.get(name, ""), "") for name in here}
    source = f"{origin}:{example.id}"
    digest = hashlib.sha256(source.encode()).hexdigest()
    label = labels.get(example.label, example.label)
    return Example(f"bo-{digest[:12]}", row, label, True, source, "borrow")
