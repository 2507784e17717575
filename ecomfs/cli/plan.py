"""``ecomfs plan``: what a run would do and cost, before anything is spent."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ecomfs.cli.score import score

if TYPE_CHECKING:
    from ecomfs.batch.plan import Interval, Plan


def _plan(
    price: Annotated[
        float | None, typer.Option(help="of a million prompt tokens, in any currency")
    ] = None,
    price_cached: Annotated[
        float | None, typer.Option(help="of a million prompt tokens the provider had in its cache")
    ] = None,
    price_answer: Annotated[float, typer.Option(help="of a million answer tokens")] = 0.0,
    probe: Annotated[
        int,
        typer.Option(help="rows that the model reads now, to time it; 0: as fast as its last run"),
    ] = 0,
    block_size: Annotated[
        int, typer.Option(help="tokens a block of the prefix cache: 16 on GPUs, 128 on CPUs")
    ] = 16,
    prompts: Annotated[
        int, typer.Option(help="most prompts that are rendered to count tokens")
    ] = 500,
    **options: Any,
) -> None:
    """Say what ``ecomfs score`` would do with the same options: rows, copies, what is known
    already, prompt tokens, time and cost."""
    from rich.console import Console
    from rich.table import Table

    from ecomfs.batch import find_columns
    from ecomfs.batch.files import find_inputs, name_outputs
    from ecomfs.batch.identity import pipeline_identity
    from ecomfs.batch.output import journal_path
    from ecomfs.batch.plan import Prices, plan_table, total
    from ecomfs.batch.score import run_identity
    from ecomfs.cli.scoring import prepare
    from ecomfs.errors import ConfigError

    if probe < 0 or block_size < 1 or prompts < 1:
        raise ConfigError("--probe is 0 or more, --block-size and --prompts are 1 or more")
    prices = None if price is None else Prices(price, price_cached, price_answer)
    jobs = name_outputs(find_inputs(options["sources"]), options["output"])
    if not any(journal_path(job.output).exists() for job in jobs):
        # A plan reads nothing leave-one-out. Where a run was interrupted, it has done so, the
        # reading cache knows the answers, and its journal fits no other calibration.
        options["calibrate"] = 0
    ready = prepare(options)
    plans: list[Plan] = []
    for job in ready.jobs:
        columns = find_columns(
            job.source, ready.card, fields=ready.fields, id_column=options["id_column"],
            gold_column=options["gold"],
        )  # fmt: skip
        identity = run_identity(
            job.source, pipeline_identity(ready.pipeline), columns, ready.selection
        )
        found = plan_table(
            job.source, job.output, ready.pipeline, columns, ready.selection, identity,
            prices=prices, probe=0 if plans else probe, block_size=block_size,
            max_prompts=prompts, seed=options["seed"],
        )  # fmt: skip
        plans.append(found)
    table = Table(title=f"{len(plans)} input(s) · {ready.pipeline.engine.spec}", show_header=False)
    for name, value in _lines(total(plans)):
        table.add_row(name, value)
    Console().print(table)


def _lines(plan: Plan) -> list[tuple[str, str]]:
    lines = [("rows", f"{plan.rows:,}")]
    for name, number in (
        ("left out by --where or --sample", plan.left_out),
        ("cannot be used", plan.unusable),
        ("identical to another row", plan.copies),
        ("done by an interrupted run", plan.journaled),
    ):
        if number:
            lines.append((name, f"{number:,}"))
    if plan.journal:
        lines.append(("journal that is not used", plan.journal))
    lines += [
        ("in the reading cache", _number(plan.remembered)),
        ("to be read by the model", _number(plan.asked)),
    ]
    tokens = "unknown: the model shows no tokenizer"
    lines.append(
        ("prompt tokens", tokens if plan.prompt_tokens is None else _number(plan.prompt_tokens))
    )
    if plan.shared is not None:
        lines.append(("of these shared with prompts before", f"{plan.shared:.0%} (simulated)"))
    if plan.sampled and not plan.asked.exact:
        lines.append(("rendered for this", f"{plan.sampled:,} prompts; intervals are 95 %"))
    if plan.seconds is not None and plan.rate is not None:
        lines.append(
            ("time", f"{_time(plan.seconds)} at {plan.rate:.1f} rows/s ({plan.rate_from})")
        )
    else:
        lines.append(("time", plan.rate_from))
    if plan.cost is not None:
        lines.append(("cost", _number(plan.cost, ",.4g" if plan.cost.value < 100 else ",.0f")))
    else:
        lines.append(("cost", "give --price (of a million prompt tokens)"))
    return lines


def _number(interval: Interval, form: str = ",.0f") -> str:
    text = format(interval.value, form)
    if interval.exact:
        return text
    return f"{text} ({format(interval.low, form)} – {format(interval.high, form)})"


def _time(seconds: Interval) -> str:
    if seconds.value < 120:
        return f"{seconds.value:.0f} s"
    minutes = seconds.value / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _with_options_of_score() -> Any:
    """One signature: ``plan`` takes whatever ``score`` takes, and never lags behind."""
    hints = {
        **get_type_hints(score, include_extras=True),
        **get_type_hints(_plan, include_extras=True),
    }
    taken = [
        p for name, p in inspect.signature(score).parameters.items() if name not in _NOT_FOR_PLANS
    ]
    own = [p for p in inspect.signature(_plan).parameters.values() if p.name != "options"]
    parameters = [
        p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for p in (*taken, *own)
    ]
    plan: Any = _plan
    plan.__signature__ = inspect.Signature(parameters)
    plan.__annotations__ = {p.name: p.annotation for p in parameters}
    return plan


_NOT_FOR_PLANS = frozenset({"ctx", "quiet", "restart", "keep_journal"})

plan = _with_options_of_score()
