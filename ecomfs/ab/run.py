"""Compares variants on the same rows.

Rows are shuffled with a seed. For every few rows the variants take turns in a new random order, so
that drift during the comparison (server warm-up, a connection pool, a cache that fills) affects all
variants equally. Cached readings are not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ecomfs.ab.outcome import Outcome, outcome
from ecomfs.ab.rows import ComparedRows, in_labels_of
from ecomfs.ab.variant import FittedVariant, Variant, VariantPipeline, check_variants, fit_variants
from ecomfs.batch import Tally, read_examples
from ecomfs.core import event_loop
from ecomfs.core.json import plain
from ecomfs.core.options import OPTIONS, known_option
from ecomfs.core.progress import LOADING, MEASURING, Progress, showing, silent
from ecomfs.errors import ConfigError, PoolError
from ecomfs.estimators import Examples
from ecomfs.estimators.inputs import given_examples
from ecomfs.evaluation.harness import (
    as_predictions,
    at_stage,
    check_metrics,
    harness_errors,
    positive_of,
)
from ecomfs.pipeline import Pipeline, RowState
from ecomfs.pool import Pool
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example, Prediction
from ecomfs_eval import Bootstrap, Predictions, get_metric
from ecomfs_eval.compare import Comparisons, PowerPlan, by_length, compare_many, complete, plan
from ecomfs_eval.errors import EmptyDataError
from ecomfs_eval.metrics.accuracy import correct
from ecomfs_eval.sequential import SequentialState, SequentialTest, all_decided_by

SETS = "Several labels per row: a row counts as right if exactly its labels are predicted."
CHUNK = 64
"""Rows per turn of a variant."""


@dataclass(frozen=True, slots=True)
class Design:
    """The design of a comparison; choose it before looking at results.

    Attributes:
        primary: the metric that decides.
        alpha: significance level (rate of false decisions).
        margin: the smallest difference that matters; ``None``: no margin.
        sequential: test after every ``every`` rows, and stop at a decision.
        failed_as_wrong: count rows on which a variant failed as wrong, instead of leaving them out
            for all variants.
        seed: seed of orders and resamples.

    Raises:
        ConfigError: a value out of range, or a sequential test of a metric other than accuracy.

    >>> Design(primary="log_loss", margin=0.01).how.level
    0.95
    >>> Design(primary="log_loss", sequential=True)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: a sequential test of log_loss (leave out --primary: ...
    """

    primary: str = "accuracy"
    alpha: float = 0.05
    margin: float | None = None
    sequential: bool = False
    every: int = 50
    failed_as_wrong: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"alpha {self.alpha}", hint="use a value between 0 and 0.5")
        with harness_errors():
            unit = get_metric(self.primary).unit
        most = 1.0 if unit == "share" else math.inf
        if self.margin is not None and not 0 < self.margin < most:
            hint = "use 0 to 1 (0.01 is one point)" if unit == "share" else "use more than 0"
            raise ConfigError(f"margin {self.margin}", hint=hint)
        if self.every < 1:
            raise ConfigError(f"every {self.every}", hint="use 1 or more rows")
        if self.sequential and self.primary != "accuracy":
            raise ConfigError(
                f"a sequential test of {self.primary}",
                hint="leave out --primary: a sequential test needs accuracy",
            )

    def plan(self, rows: int, challengers: int) -> PowerPlan:
        """The statistical power with this number of rows, for the margin as effect size."""
        effect = self.margin if self.primary == "accuracy" else None
        return plan(rows, challengers=challengers, effect=effect, alpha=self.alpha)

    @property
    def how(self) -> Bootstrap:
        """The bootstrap at this significance level."""
        return Bootstrap(level=1 - self.alpha, seed=self.seed)


class VariantAnswers:
    """The predictions of all variants on the same rows so far.

    Args:
        test: the rows.
        pipelines: variant → pipeline.
        seed: seed of the order of rows and turns.
        progress: called after each turn.
    """

    def __init__(
        self,
        test: ComparedRows,
        pipelines: Mapping[str, VariantPipeline],
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> None:
        self._test = test
        self._pipelines = dict(pipelines)
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(test))
        self._found: dict[str, dict[int, tuple[RowState, Prediction]]] = {n: {} for n in pipelines}
        self._report = progress
        self.tally = Tally()
        self.asked = 0

    @property
    def done(self) -> bool:
        """Whether all variants have classified every row."""
        return self.asked == len(self._test)

    def ask(self, rows: int | None = None) -> None:
        """Classify the next rows with every variant; by default all remaining rows."""
        self._report_progress()
        end = len(self._test) if rows is None else min(len(self._test), self.asked + rows)
        while self.asked < end:
            part = self._order[self.asked : min(end, self.asked + CHUNK)].tolist()
            names = list(self._pipelines)
            for turn in self._rng.permutation(len(names)).tolist():
                self._turn(names[turn], part)
            self.asked += len(part)

    def _turn(self, name: str, part: Sequence[int]) -> None:
        rows = [self._test.rows[i] for i in part]
        pipeline = self._pipelines[name]
        states: Sequence[Any] = pipeline.prepare([r.fields for r in rows], [r.id for r in rows])
        answered = event_loop.run(_answered(pipeline, states))
        for i, (case, _, prediction) in zip(part, answered, strict=True):
            self._found[name][i] = (case, prediction)
            self.tally.add(prediction)
        self._report_progress()

    def _report_progress(self) -> None:
        self.tally.total = len(self._test) * len(self._pipelines)
        self.tally.report(self._report)

    def predictions(self) -> list[Predictions]:
        """One system per variant, on the rows so far, in the order of the table."""
        return self._systems(lambda prediction: prediction)

    def model_alone(self) -> list[Predictions]:
        """The same systems by the model alone, before fusion; empty without experts, or if a
        variant has no model. A row that skipped the model keeps its prediction."""
        if not all(isinstance(pipeline, Pipeline) for pipeline in self._pipelines.values()):
            return []  # the stages of a hierarchy are its levels
        sources = {p.source for rows in self._found.values() for _, p in rows.values()}
        models = all(pipeline.has_model for pipeline in self._pipelines.values())
        return self._systems(_model_alone) if models and sources & {"fused", "experts"} else []

    def _systems(self, stage: Callable[[Prediction], Prediction]) -> list[Predictions]:
        asked = sorted(self._order[: self.asked].tolist())
        return [self._system(name, asked, stage) for name in self._pipelines]

    def _system(
        self, name: str, asked: Sequence[int], stage: Callable[[Prediction], Prediction]
    ) -> Predictions:
        pipeline = self._pipelines[name]
        rows = [self._test.rows[i] for i in asked]
        cases = [self._found[name][i][0] for i in asked]
        found = [stage(self._found[name][i][1]) for i in asked]
        texts = tuple(pipeline.text(row.fields) for row in rows)
        # A true label that the pipeline does not have (a sampled pool may lack it) stays in the
        # comparison; every variant is wrong on it.
        return as_predictions(
            found,
            [row.label for row in rows],
            pipeline.card,
            pipeline.space.names,
            ids=[row.id for row in rows],
            positive=positive_of(pipeline.card, pipeline.space),
            slices=self._slices(asked, [case.language for case in cases], texts),
            extra={
                "text": texts,
                "prompt": tuple(case.prompt.text if case.prompt else "" for case in cases),
                "error": tuple(p.error for p in found),
            },
            name=name,
        )

    def _slices(
        self, asked: Sequence[int], languages: Sequence[str], texts: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        slices: dict[str, tuple[str, ...]] = {}
        if len(set(languages)) > 1:
            slices["language"] = tuple(languages)
        for column, values in self._test.slices.items():
            slices[column] = tuple(values[i] for i in asked)
        lengths = by_length(texts)
        if lengths is not None:
            slices["text length"] = lengths
        return slices


async def _answered(pipeline: VariantPipeline, states: Sequence[Any]) -> Sequence[Any]:
    return await pipeline.answer(states)


def _model_alone(prediction: Prediction) -> Prediction:
    return at_stage(prediction, ("calibrated", "read"))


def run_sequential(
    answers: VariantAnswers,
    challengers: int,
    design: Design,
    on_look: Callable[[list[SequentialState]], None] = lambda states: None,
) -> list[SequentialState]:
    """Run a sequential test of accuracy until every challenger is decided, or no rows are left.

    With several challengers, each test uses the ``alpha`` of the design divided by their number
    (Bonferroni), so that the overall error rate holds.

    Args:
        answers: the predictions; empty at the start, then filled with the rows used.
        challengers: number of variants besides the first.
        on_look: called at each look, with one state per challenger.

    Returns:
        The last state of each challenger, with the number of rows that count.

    Raises:
        EmptyDataError: some variant failed on every row.
    """
    level = 1 - design.alpha / challengers
    tests = [SequentialTest(level, design.margin) for _ in range(challengers)]
    states = [test.look() for test in tests]
    seen: set[str] = set()
    while not answers.done and any(s.decision == "continue" for s in states):
        answers.ask(design.every)
        systems = _counted(answers, design.failed_as_wrong)
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


def _counted(answers: VariantAnswers, failed_as_wrong: bool) -> Sequence[Predictions]:
    """The systems on the rows that count; empty while every row failed in some variant."""
    systems = answers.predictions()
    if failed_as_wrong:
        return systems
    try:
        return complete(systems)[0]
    except EmptyDataError:
        if answers.done:
            raise
        return ()


@harness_errors()
def run(
    variants: Sequence[FittedVariant],
    test: ComparedRows,
    design: Design,
    *,
    texts: bool = True,
    progress: Progress = silent,
    on_look: Callable[[list[SequentialState]], None] = lambda states: None,
) -> Outcome:
    """Classify the rows with every variant, compare, and decide.

    Args:
        variants: the variants; the first is the one in use.
        texts: whether reports may contain rows and prompts.
        progress: called with the number of predictions of all variants together.
        on_look: called at each look of a sequential test.

    Raises:
        InputError, ConfigError: the harness refuses the rows, or the design.
        EngineError: an engine is unavailable.
    """
    pipelines = {c.name: c.pipeline for c in variants}
    card = next(iter(pipelines.values())).card
    if design.primary != "accuracy":
        check_metrics([design.primary], card, "--primary")
    answers = VariantAnswers(test, pipelines, seed=design.seed, progress=progress)
    states: list[SequentialState] = []
    if design.sequential:
        states = run_sequential(answers, len(variants) - 1, design, on_look)
    else:
        answers.ask()
    progress(MEASURING)
    systems: Sequence[Predictions] = answers.predictions()
    alone: Sequence[Predictions] = answers.model_alone()
    left_out = ""
    if not design.failed_as_wrong:
        systems, excluded = complete(systems)
        left_out = excluded.text()
        alone = complete(alone)[0] if alone else alone
    compared = partial(compare_many, primary=design.primary, margin=design.margin, how=design.how)
    result = compared(systems)
    if states:
        result = all_decided_by(result, states)
    n_examples = _examples_of(variants)
    notes = [
        *([SETS] if card.multi_label else []),
        *(c.describe() for c in variants),
        f"{n_examples} labelled examples." if n_examples else "Zero-shot: no labelled examples.",
        _asked(answers, len(test), design, result),
        *([left_out + "."] if left_out else []),
    ]
    about = _about(variants, answers, test, design, left_out, n_examples)
    model = None
    if alone:
        lines = hidden_differences(systems, alone)
        notes += lines
        if states:
            lines = [*lines, "Its intervals do not count the looks of the sequential test."]
        model = outcome(alone, compared(alone), design.how, notes=lines, about=about, texts=texts)
    return outcome(
        systems, result, design.how, notes=notes, about=about, texts=texts, model_alone=model
    )


def hidden_differences(systems: Sequence[Predictions], alone: Sequence[Predictions]) -> list[str]:
    """One line per challenger: the number of rows on which it differs from the first variant, by
    the model alone and after fusion with the experts, which are the same for all.

    Args:
        systems: predictions of the variants.
        alone: predictions of their models alone.
    """
    out = []
    for one, behind in zip(systems[1:], alone[1:], strict=True):
        after, before = _differ(systems[0], one), _differ(alone[0], behind)
        hides = " Fusion hides most of their differences." if 2 * after < before else ""
        out.append(
            f"The predictions of {one.name} and {systems[0].name} differ on {before:,} of "
            f"{len(behind):,} rows by the model alone, and on {after:,} after fusion with the "
            f"experts.{hides}"
        )
    return out


def _differ(one: Predictions, other: Predictions) -> int:
    return sum(a != b for a, b in zip(one.predicted, other.predicted, strict=True))


def _examples_of(variants: Sequence[FittedVariant]) -> int:
    """The number of labelled examples of each variant."""
    retriever = variants[0].pipeline.retriever
    return 0 if retriever is None else len(retriever.examples)


def _asked(answers: VariantAnswers, rows: int, design: Design, result: Comparisons) -> str:
    share = answers.tally.cache_share
    cached = "" if share is None else f"; {share:.0%} of prompt tokens came from a cache"
    seed = f"order and resamples by seed {design.seed}"
    if not design.sequential:
        return f"{answers.asked:,} rows, asked in turns; {seed}{cached}."
    m = len(result.comparisons)
    shared = f", divided by {m} challengers" if m > 1 else ""
    return (
        f"Sequential: {answers.asked:,} of {rows:,} rows used, a look every {design.every} rows, "
        f"{100 * design.alpha:g} % level at all looks together{shared}; {seed}{cached}."
    )


def _about(
    variants: Sequence[FittedVariant],
    answers: VariantAnswers,
    test: ComparedRows,
    design: Design,
    out: str,
    n_examples: int,
) -> dict[str, Any]:
    first = variants[0].pipeline
    return {
        "design": "paired",
        "task": first.card.name,
        "engine": first.engine.spec,
        "fingerprint": first.engine.fingerprint,
        "k": first.k,
        "seed": design.seed,
        "alpha": design.alpha,
        "margin": design.margin,
        "sequential": design.sequential,
        "examples": n_examples,
        "rows": len(test),
        "rows_asked": answers.asked,
        "kept_out": out,
        "plan": asdict(design.plan(len(test), len(variants) - 1)),
        "prompt_tokens": answers.tally.prompt_tokens,
        "cached_tokens": answers.tally.cached_tokens,
        "variants": {
            c.name: {
                "source": c.variant.source,
                "options": plain(c.variant.options),
                "templates": c.templates,
                "engine": c.pipeline.engine.spec,
                "fingerprint": c.pipeline.engine.fingerprint,
                "k": c.pipeline.k,
            }
            for c in variants
        },
    }


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
    correction for several challengers. With ``sequential`` the test stops as soon as there is a
    decision, at the same error rate.

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
        Column of the label; found by the names in the card by default.
    primary : str, default "accuracy"
        The metric that decides.
    margin : float, optional
        The smallest difference that matters, in the unit of the metric (0.01 is one point).
    alpha : float, default 0.05
        Significance level (rate of false decisions).
    sequential : bool, default False
        Test while rows are read, and stop at a decision.
    seed : int, default 0
        Seed of the classifiers, of the order of rows, and of resampling.
    progress : callable or bool, optional
        Called with the progress; ``True``: show it; ``None``: show it in notebooks only.
    **options
        Options of the classifier that all variants share, such as ``engine``.

    Returns
    -------
    Outcome
        ``decision`` is the result in one sentence; ``scores`` has the metrics of every variant with
        intervals, ``result`` the paired differences, ``to_dict()`` everything.

    Raises
    ------
    ConfigError
        Fewer than two variants, equal variants, an unknown option or an invalid value.
    InputError
        A row, a label or a column of ``examples`` or ``data`` cannot be used.
    EngineError
        An engine cannot be opened, or becomes unavailable.

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
        raise PoolError("there are no labelled examples", hint="give at least one of each label")
    where = Path(data).name if isinstance(data, str | PathLike) else "data"
    test = ComparedRows(in_labels_of(labelled, _examples(data, card, *given), card, where))
    with showing(progress) as report:
        report(LOADING)
        fitted = fit_variants(chosen, common, task, pool, progress=report)
        return run(fitted, test, design, progress=report)


def _checked(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    for name, value in options.items():
        OPTIONS[known_option(name, where)].check(value, f"{where}: {name}")
    return dict(options)


def _examples(
    source: Any, card: TaskCard, fields: Mapping[str, str] | None, label_column: str | None
) -> list[Example]:
    if isinstance(source, str | PathLike):
        return read_examples(str(source), card, fields=fields, label_column=label_column)
    return given_examples(source, None, card, fields=fields, label_column=label_column)[0]
