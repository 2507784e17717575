"""A comparison that is watched as its rows come, and may stop at any look."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ecomfs.ab.answers import Answers
from ecomfs_eval import Predictions
from ecomfs_eval.compare import complete
from ecomfs_eval.errors import EmptyDataError
from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.sequential import SequentialState, SequentialTest


def watch(
    answers: Answers,
    challengers: int,
    *,
    alpha: float = 0.05,
    margin: float | None = None,
    every: int = 50,
    failed_as_wrong: bool = False,
    on_look: Callable[[list[SequentialState]], None] = lambda states: None,
) -> list[SequentialState]:
    """Ask rows until every challenger is decided, or none are left.

    The accuracy is what is watched. With several challengers each test runs at ``alpha`` divided
    by their number, so that all decisions together are wrong no more often than ``alpha``.

    Args:
        answers: nothing asked yet; afterwards it holds the rows that were used.
        challengers: variants besides the first.
        every: rows between looks.
        failed_as_wrong: as for the comparison that follows.
        on_look: called at each look, with one state a challenger.

    Returns:
        The last state of each challenger; its rows are those that count.

    Raises:
        EmptyDataError: on every row some variant failed.
        OptionError: alpha or margin are out of range.
    """
    tests = [SequentialTest(1 - alpha / challengers, margin) for _ in range(challengers)]
    states = [test.look() for test in tests]
    seen: set[str] = set()
    while not answers.done and any(s.decision == "continue" for s in states):
        answers.ask(every)
        systems = _counted(answers, failed_as_wrong)
        if not systems:
            continue
        base, *others = systems
        new = [k for k, id_ in enumerate(base.ids) if id_ not in seen]
        seen.update(base.ids)
        states = [
            test.update((correct(other) - correct(base))[new])
            for test, other in zip(tests, others, strict=True)
        ]
        on_look(states)
    return states


def _counted(answers: Answers, failed_as_wrong: bool) -> Sequence[Predictions]:
    """The systems on the rows that count; none while every row so far failed in some variant."""
    systems = answers.predictions()
    if failed_as_wrong:
        return systems
    try:
        return complete(systems)[0]
    except EmptyDataError:
        if answers.done:
            raise
        return ()
