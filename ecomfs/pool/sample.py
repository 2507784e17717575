"""Draws seeded samples from a pool."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from ecomfs.errors import InputError
from ecomfs.types import Example


def real_examples(examples: Sequence[Example]) -> list[Example]:
    """The examples that are not synthetic.

    Synthetic examples are made from others, so results on them do not apply to real rows.

    >>> real_examples([Example("a", {}, "x"), Example("b", {}, "x", synthetic=True)])
    [Example(id='a', fields={}, label='x', synthetic=False, source_id='', method='')]
    """
    return [example for example in examples if not example.synthetic]


def sample_queries(examples: Sequence[Example], most: int, seed: int) -> list[Example]:
    """Draw at most ``most`` examples to read leave-one-out, none of them synthetic, in the order of
    the pool. They are drawn at random, so that their label shares are those of the pool: what is
    fitted on them assumes that new rows are like the pool.

    >>> pool = [Example(str(i), {"text": "x"}, "ab"[i % 2], synthetic=i > 3) for i in range(10)]
    >>> [example.id for example in sample_queries(pool, 8, seed=0)]
    ['0', '1', '2', '3']
    """
    real = real_examples(examples)
    return random_examples(real, min(most, len(real)), seed)


def random_examples(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """Draw ``n`` examples without replacement, in the order of the pool.

    Raises:
        InputError: there are fewer than ``n``.

    >>> pool = [Example(str(i), {"text": "x"}, "ab"[i % 2]) for i in range(10)]
    >>> len(random_examples(pool, 4, seed=1))
    4
    """
    if n > len(examples):
        raise InputError(f"{n} examples wanted, the pool has {len(examples)}", hint="lower --shots")
    chosen = random.Random(f"random/{seed}").sample(range(len(examples)), n)
    return [examples[i] for i in sorted(chosen)]


def refuse_synthetic(rows: Sequence[Example], where: str) -> None:
    """Refuse a test set with synthetic rows.

    Args:
        rows: the test set.
        where: its file, for messages.

    Raises:
        InputError: a row is synthetic; the message names the first one.

    >>> refuse_synthetic([Example("b", {}, "x", synthetic=True)], "test.csv")
    Traceback (most recent call last):
    ecomfs.errors.InputError: test.csv: example 'b' is synthetic and cannot be tested on ...
    """
    for row in rows:
        if row.synthetic:
            raise InputError(
                f"{where}: example {row.id!r} is synthetic and cannot be tested on",
                hint="remove the rows with synthetic = yes",
            )


def sample_examples(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """Draw ``n`` examples, as evenly over the labels as possible, in the order of the pool.

    Raises:
        InputError: there are fewer than ``n``.

    >>> pool = [Example(str(i), {"text": "x"}, "ab"[i % 2]) for i in range(10)]
    >>> sorted(e.label for e in sample_examples(pool, 4, seed=1))
    ['a', 'a', 'b', 'b']
    """
    if n > len(examples):
        raise InputError(f"{n} examples wanted, the pool has {len(examples)}", hint="lower --shots")
    rng = random.Random(seed)
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    for group in by_label.values():
        rng.shuffle(group)
    order = sorted(by_label)
    rng.shuffle(order)
    chosen: list[Example] = []
    while len(chosen) < n:
        for label in order:
            if by_label[label] and len(chosen) < n:
                chosen.append(by_label[label].pop())
    # The order is that of the pool: a sample must not be grouped by label.
    position = {example.id: i for i, example in enumerate(examples)}
    return sorted(chosen, key=lambda e: position[e.id])


LEAST_OF_LABEL = 2
"""Fewest examples of each label in the pool of a split, if the label has so many."""


def split_examples(
    examples: Sequence[Example], shots: int, test: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Draw a pool and a test set at random, disjoint and each in the order of the examples. Label
    shares are those of the examples, as calibration assumes. A label with fewer than two examples
    in the pool gets them from the remaining examples, in addition to ``shots``.

    Args:
        examples: labelled rows, no two with the same fields.
        shots: size of the pool.
        test: size of the test set.

    Raises:
        InputError: there are fewer than ``shots + test``.

    >>> rows = [Example(str(i), {"text": str(i)}, "ab"[i == 9]) for i in range(10)]
    >>> pool, test = split_examples(rows, 4, 3, seed=0)
    >>> len(pool), len(test), {e.id for e in pool} & {e.id for e in test}
    (4, 3, set())
    """
    if shots + test > len(examples):
        raise InputError(
            f"{shots} examples and {test} test rows wanted, and there are {len(examples)} "
            "different labelled rows",
            hint="lower --shots or --test-rows",
        )
    held = {e.id for e in random_examples(examples, test, seed)}
    rest = [e for e in examples if e.id not in held]
    chosen = {e.id for e in random_examples(rest, shots, seed + 1)}
    counts = Counter(e.label for e in rest if e.id in chosen)
    for example in rest:
        if example.id not in chosen and counts[example.label] < LEAST_OF_LABEL:
            chosen.add(example.id)
            counts[example.label] += 1
    return [e for e in rest if e.id in chosen], [e for e in examples if e.id in held]
