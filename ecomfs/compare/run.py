"""A comparison from fitted contenders to its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecomfs.batch.harness import harness_errors
from ecomfs.compare.answers import Answers
from ecomfs.compare.contenders import Contender
from ecomfs.compare.outcome import Outcome, outcome
from ecomfs.compare.rows import TestRows
from ecomfs.compare.watch import watch
from ecomfs.errors import ConfigError
from ecomfs.progress import MEASURING, Progress, silent
from ecomfs_eval import Bootstrap, Predictions, get_metric
from ecomfs_eval.compare import Comparisons, PowerPlan, compare_many, complete, plan
from ecomfs_eval.sequential import SequentialState, all_decided_by


@dataclass(frozen=True, slots=True)
class Design:
    """How variants are compared; to be chosen before looking.

    Attributes:
        primary: the metric that decides.
        alpha: rate of false decisions.
        margin: the smallest difference that matters; ``None``: none is named.
        sequential: look every ``every`` rows and stop when decided.
        failed_as_wrong: count rows a variant failed on as wrong, instead of keeping the row out
            for all.
        seed: of orders and resamples.

    Raises:
        ConfigError: values out of range, or a running test of another metric than accuracy.
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
            raise ConfigError(f"alpha {self.alpha}", hint="between 0 and 0.5, such as 0.05")
        with harness_errors():
            unit = get_metric(self.primary).unit
        most = 1.0 if unit == "share" else math.inf
        if self.margin is not None and not 0 < self.margin < most:
            hint = "between 0 and 1; 0.01 is one point" if unit == "share" else "more than 0"
            raise ConfigError(f"margin {self.margin}", hint=hint)
        if self.every < 1:
            raise ConfigError(f"every {self.every}", hint="one row or more between looks")
        if self.sequential and self.primary != "accuracy":
            raise ConfigError(
                f"a sequential test of {self.primary}",
                hint="only accuracy can be watched row by row; leave out --primary",
            )

    def plan(self, rows: int, challengers: int) -> PowerPlan:
        """What these rows can show; the margin is the effect that rows are counted for."""
        effect = self.margin if self.primary == "accuracy" else None
        return plan(rows, challengers=challengers, effect=effect, alpha=self.alpha)

    @property
    def how(self) -> Bootstrap:
        """The resampling at this level."""
        return Bootstrap(level=1 - self.alpha, seed=self.seed)


@harness_errors()
def run(
    contenders: Sequence[Contender],
    test: TestRows,
    design: Design,
    *,
    texts: bool = True,
    progress: Progress = silent,
    on_look: Callable[[list[SequentialState]], None] = lambda states: None,
) -> Outcome:
    """Ask, compare, decide.

    Args:
        contenders: the first is the one in use.
        texts: whether rows and prompts may stand in what is written.
        progress: told of answers, those of all variants together.
        on_look: called at each look of a sequential run.

    Raises:
        InputError, ConfigError: the harness refuses the rows, or the design.
        EngineError: an engine is gone.
    """
    pipelines = {c.name: c.pipeline for c in contenders}
    answers = Answers(test, pipelines, seed=design.seed, progress=progress)
    states: list[SequentialState] = []
    if design.sequential:
        states = watch(
            answers,
            len(contenders) - 1,
            alpha=design.alpha,
            margin=design.margin,
            every=design.every,
            failed_as_wrong=design.failed_as_wrong,
            on_look=on_look,
        )
    else:
        answers.ask()
    progress(MEASURING)
    systems: Sequence[Predictions] = answers.predictions()
    left_out = ""
    if not design.failed_as_wrong:
        systems, excluded = complete(systems)
        left_out = excluded.text()
    result = compare_many(systems, primary=design.primary, margin=design.margin, how=design.how)
    if states:
        result = all_decided_by(result, states)
    alone: Sequence[Predictions] = answers.model_alone()
    if alone and not design.failed_as_wrong:
        alone, _ = complete(alone)
    behind = (
        compare_many(alone, primary=design.primary, margin=design.margin, how=design.how)
        if alone
        else None
    )
    notes = [
        *(c.describe() for c in contenders),
        _labelled(contenders),
        _asked(answers, len(test), design, result),
        *([left_out + "."] if left_out else []),
    ]
    about = _about(contenders, answers, test, design, left_out)
    model = None
    if behind is not None:
        told = hidden(systems, alone)
        notes += told
        if states:
            told = [*told, "Its intervals do not count the looks of the sequential test."]
        model = outcome(alone, behind, design.how, notes=told, about=about, texts=texts)
    return outcome(
        systems, result, design.how, notes=notes, about=about, texts=texts, model_alone=model
    )


def hidden(systems: Sequence[Predictions], alone: Sequence[Predictions]) -> list[str]:
    """A line a challenger: on how many rows its answer is another than that of the first, by the
    model alone and once the experts were heard, who are the same for all.

    Args:
        systems: the variants' answers.
        alone: those of their models alone.
    """
    out = []
    for one, behind in zip(systems[1:], alone[1:], strict=True):
        after, before = _differ(systems[0], one), _differ(alone[0], behind)
        hides = " Fusion hides most of what differs between them." if 2 * after < before else ""
        out.append(
            f"{one.name} and {systems[0].name} answer {before:,} of {len(behind):,} rows "
            f"differently by the model alone, and {after:,} once the experts are heard.{hides}"
        )
    return out


def _differ(one: Predictions, other: Predictions) -> int:
    return sum(a != b for a, b in zip(one.predicted, other.predicted, strict=True))


def _labelled(contenders: Sequence[Contender]) -> str:
    """How many labelled examples stand behind the answers, the same for all."""
    n = _examples(contenders)
    return f"{n} labelled examples." if n else "Zero-shot: no labelled examples."


def _examples(contenders: Sequence[Contender]) -> int:
    retriever = contenders[0].pipeline.retriever
    return 0 if retriever is None else len(retriever.examples)


def _asked(answers: Answers, rows: int, design: Design, result: Comparisons) -> str:
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
    contenders: Sequence[Contender], answers: Answers, test: TestRows, design: Design, out: str
) -> dict[str, Any]:
    first = contenders[0].pipeline
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
        "examples": _examples(contenders),
        "rows": len(test),
        "rows_asked": answers.asked,
        "kept_out": out,
        "plan": asdict(design.plan(len(test), len(contenders) - 1)),
        "prompt_tokens": answers.tally.prompt_tokens,
        "cached_tokens": answers.tally.cached_tokens,
        "variants": {
            c.name: {
                "source": c.variant.source,
                "options": {k: _plain(v) for k, v in c.variant.options.items()},
                "templates": c.templates,
                "engine": c.pipeline.engine.spec,
                "fingerprint": c.pipeline.engine.fingerprint,
                "k": c.pipeline.k,
            }
            for c in contenders
        },
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
