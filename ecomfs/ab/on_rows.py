"""An A/B test in one call: variants of the classifier on the same labelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ecomfs.ab.outcome import Outcome
from ecomfs.ab.rows import ComparedRows, in_labels_of
from ecomfs.ab.run import Design, run
from ecomfs.ab.variant import Variant, check_variants, fit_variants
from ecomfs.batch import read_examples
from ecomfs.core.options import OPTIONS, option_named
from ecomfs.core.progress import LOADING, Progress, showing
from ecomfs.errors import ConfigError, PoolError
from ecomfs.estimators import Examples
from ecomfs.estimators.inputs import as_examples
from ecomfs.pool import Pool
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example


def compare(
    variants: Mapping[str, Mapping[str, Any]],
    examples: Examples | str | PathLike[str],
    data: Examples | str | PathLike[str],
    *,
    task: str | Path,
    fields: Mapping[str, str] | None = None,
    label_column: str | None = None,
    primary: str = "accuracy",
    margin: float | None = None,
    alpha: float = 0.05,
    sequential: bool = False,
    seed: int = 0,
    progress: Progress | bool | None = None,
    **options: Any,
) -> Outcome:
    """Classify the same rows with each variant, and test whether the variants differ.

    The tests are paired: exact McNemar for accuracy, the bootstrap for other metrics, with Holm's
    correction where several variants are compared with the first. With ``sequential`` the test
    stops as soon as the difference is decided, at the same error rate.

    Parameters
    ----------
    variants : mapping of str to mapping
        Name → options of :class:`~ecomfs.FewShotClassifier` in which the variant differs; two or
        more. The first is the one in use.
    examples : path, DataFrame, list of Example, or Pool
        The labelled examples, the same for all variants.
    data : path, DataFrame, or list of Example
        The rows to compare on, with their true labels.
    task : str or Path
        Task name or path of a task folder.
    fields : mapping of str to str, optional
        Task field → column, where names differ.
    label_column : str, optional
        Column that holds the label. By default found by the task's names.
    primary : str, default "accuracy"
        The metric that decides.
    margin : float, optional
        The smallest difference that matters, in the unit of the metric (0.01 is one point).
    alpha : float, default 0.05
        Rate of false decisions.
    sequential : bool, default False
        Test while rows are read, and stop at a decision.
    seed : int, default 0
        Seed of the classifiers, of the order of rows, and of resampling.
    progress : callable or bool, optional
        Receives the progress; ``True``: shown; ``None``: shown in notebooks only.
    **options
        Options of the classifier that all variants share, such as ``engine``.

    Returns
    -------
    Outcome
        ``decision`` is the result in one sentence; ``scores`` has every variant's metrics with
        intervals, ``result`` the paired differences, ``to_dict()`` everything.

    Raises
    ------
    ConfigError
        Fewer than two variants, variants that are the same, an unknown option or a wrong value.
    InputError
        A row, a label or a column of ``examples`` or ``data``.
    EngineError
        An engine cannot be opened, or is lost.

    Examples
    --------
    >>> from ecomfs import compare
    >>> compare({"few": {"k": 2}}, "pool.csv", "test.csv", task="review_sentiment")
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: 1 variants to compare (name two or more)

    Two variants read the packaged demo model, so they are not run here:

    >>> found = compare(  # doctest: +SKIP
    ...     {"few": {"k": 2}, "many": {"k": 8}},
    ...     "samples/review_sentiment/pool.csv",
    ...     "samples/review_sentiment/test.csv",
    ...     task="review_sentiment",
    ... )
    >>> print(found.decision)  # doctest: +SKIP
    """
    if len(variants) < 2:
        raise ConfigError(f"{len(variants)} variants to compare", hint="name two or more")
    common = {**_checked(options, "options"), "seed": seed}
    chosen = [
        Variant(name, ", ".join(f"{k}={v}" for k, v in own.items()), _checked(own, name))
        for name, own in variants.items()
    ]
    design = Design(primary=primary, margin=margin, alpha=alpha, sequential=sequential, seed=seed)
    card = load_task(task)
    check_variants(chosen, common, card, task)
    given = (fields, label_column)
    pool = examples if isinstance(examples, Pool) else _examples(examples, card, *given)
    labelled = pool.examples() if isinstance(pool, Pool) else pool
    if not labelled:
        raise PoolError("examples: no labelled examples", hint="give at least one of each label")
    where = Path(data).name if isinstance(data, str | PathLike) else "data"
    test = ComparedRows(in_labels_of(labelled, _examples(data, card, *given), card, where))
    with showing(progress) as report:
        report(LOADING)
        fitted = fit_variants(chosen, common, task, pool, progress=report)
        return run(fitted, test, design, progress=report)


def _checked(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name, value in options.items():
        OPTIONS[option_named(name, where)].check(value, f"{where}: {name}")
    return dict(options)


def _examples(
    source: Any, card: TaskCard, fields: Mapping[str, str] | None, label_column: str | None
) -> list[Example]:
    if isinstance(source, str | PathLike):
        return read_examples(str(source), card, fields=fields, label_column=label_column)
    return as_examples(source, None, card, fields=fields, label_column=label_column)


__all__ = ["compare"]
