"""``ecomfs plan``: estimate what a run would do and cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import OptionalExamples, check_guarantees, fitted_classifier, without_fit
from ecomfs.cli.json_result import set_result
from ecomfs.cli.score import RowOptions, RunnerOptions, Sources, check, jobs_of
from ecomfs.cli.terminal import show_phases
from ecomfs.core.options import NO_MODEL
from ecomfs.core.progress import CHECKING

if TYPE_CHECKING:
    from ecomfs.batch import Interval, RunPlan


@o.flatten_options
def plan(
    sources: Sources,
    labelled: OptionalExamples,
    table: RowOptions,
    settings: o.Answering,
    cluster: RunnerOptions,
    price: Annotated[
        float | None, typer.Option(help="price per million prompt tokens, in any currency")
    ] = None,
    price_cached: Annotated[
        float | None,
        typer.Option(help="price per million prompt tokens from the provider's cache"),
    ] = None,
    price_answer: Annotated[
        float, typer.Option(hidden=True, help="price per million answer tokens")
    ] = 0.0,
    probe: Annotated[
        int,
        typer.Option(
            help="rows to read now to measure the speed; 0: use the speed of the last run"
        ),
    ] = 0,
    block_size: Annotated[
        int,
        typer.Option(
            hidden=True, help="tokens per block of the prefix cache: 16 on GPUs, 128 on CPUs"
        ),
    ] = 16,
    prompts: Annotated[
        int, typer.Option(hidden=True, help="most prompts that are rendered to count tokens")
    ] = 500,
) -> None:
    """Print what ``ecomfs score`` would do with the same options: rows, duplicates, cached
    readings, prompt tokens, time and cost."""
    phases = show_phases(CHECKING)
    from ecomfs.batch import (
        Prices,
        add_plans,
        identity_of,
        journal_path,
        plan_table,
        read_marks,
        run_identity,
    )
    from ecomfs.cli.present import marks, note, profile_of, show_table, without_model
    from ecomfs.errors import ConfigError
    from ecomfs.io import TableReader
    from ecomfs.pipeline import needs_uniform_draw

    if probe < 0 or block_size < 1 or prompts < 1:
        raise ConfigError("--probe must be 0 or more, --block-size and --prompts 1 or more")
    prices = None if price is None else Prices(price, price_cached, price_answer)
    check_guarantees(settings, labelled)
    skips, readings, uniform = "", 0, needs_uniform_draw(settings)
    jobs = jobs_of(sources, table)
    if not any(journal_path(job.base).exists() for job in jobs):
        # A plan makes no leave-one-out readings, but after an interrupted run they are in the
        # reading cache, and its journal matches only a pipeline with that calibration.
        skips = _unread(settings, labelled)
        readings = 0 if settings["profile"] else settings["calibration_size"]
        settings = without_fit(settings)
    known = check(sources, table, labelled)
    clf = fitted_classifier(labelled, settings, known.pool, phases)
    pipeline = clf.pipeline_
    plans: list[RunPlan] = []
    phases("counting tokens")
    numbers: dict[str, str] = {}
    for job, columns in known.jobs:
        reader = TableReader(job.source, encoding=labelled.input_encoding)
        columns = replace(columns, fields=read_marks(columns.fields, pipeline.card, reader))
        numbers |= columns.fields.conventions(pipeline.card)
        numbers |= known.selection.checked(reader).numbers
        identity = run_identity(
            job.source, identity_of(pipeline), columns, known.selection, labelled.input_encoding
        )
        found = plan_table(
            job.source,
            job.base,
            pipeline,
            columns,
            known.selection,
            identity,
            prices=prices,
            probe=0 if plans else probe,
            block_size=block_size,
            max_prompts=prompts,
            seed=labelled.seed,
            readings=0 if plans else readings,
            uniform=uniform,
            encoding=labelled.input_encoding,
        )
        plans.append(found)
    set_result(
        {
            "inputs": [job.source for job, _ in known.jobs],
            "engine": pipeline.engine.spec,
            "plan": add_plans(plans),
            "numbers": numbers,
        }
    )
    lines = [tuple(line.split(": ", 1)) for line in marks(numbers)]
    if pipeline.retriever is not None:
        lines.insert(0, ("labelled examples", pipeline.retriever.index.description))
    lines += plan_lines(add_plans(plans))
    if skips:
        lines.append((f"of these not read by the model{skips}", "known after the fit of the run"))
    phases.clear()
    title = f"{len(plans)} input(s) · {pipeline.engine.spec}"
    show_table((), lines, title=title, show_header=False)
    if not pipeline.has_model:
        note(without_model(profile_of(clf), add_plans(plans).rows))


def _unread(settings: o.Settings, labelled: OptionalExamples) -> str:
    """Why the number of unread rows is known only after the fit; empty if it is known now."""
    if settings["max_loss"] is not None:
        return " (--max-loss)"
    fits = labelled.sources and settings["calibration_size"] and settings["profile"] is None
    reads = settings["engine"] not in (None, NO_MODEL) and settings["suspicious"] != "review"
    settles = settings["cascade"] and settings["fusion"] and not settings.guarantees
    return " (it could not change the label)" if fits and reads and settles else ""


def plan_lines(plan: RunPlan) -> list[tuple[str, str]]:
    """A plan as lines of name and value."""
    from ecomfs.cli.present import duration

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
    if plan.skipped.value:
        lines.append(("answered by the experts, without the model", _number(plan.skipped)))
    if plan.decided.value:
        lines.append(("of these, the model could not change the label", _number(plan.decided)))
    lines += [
        ("in the reading cache", _number(plan.remembered)),
        ("to be read by the model", _number(plan.asked)),
    ]
    if plan.fit.examples:
        known = f" ({plan.fit.remembered:,} in the reading cache)" if plan.fit.remembered else ""
        lines.append(("examples the fit reads leave-one-out", f"{plan.fit.examples:,}{known}"))
        if plan.fit.tokens is not None:
            lines.append(("prompt tokens of the fit", f"{plan.fit.tokens:,}"))
    tokens = "unknown: the engine gives no tokenizer"
    lines.append(
        ("prompt tokens", tokens if plan.prompt_tokens is None else _number(plan.prompt_tokens))
    )
    if plan.shared is not None:
        lines.append(("of these shared with earlier prompts", f"{plan.shared:.0%} (simulated)"))
    if plan.sampled and not plan.asked.exact:
        lines.append(("sample", f"{plan.sampled:,} rendered prompts; 95 % intervals"))
    if plan.seconds is not None and plan.rate is not None:
        unit = "rows" if plan.prompt_tokens is None else "tokens"
        fit = ", the fit with it" if plan.fit.asked else ""
        rate = f"{plan.rate:,.1f} {unit}/s ({plan.rate_from})"
        lines.append(("time", f"{duration(plan.seconds.value)}{fit} at {rate}"))
    else:
        lines.append(("time", plan.rate_from))
    if plan.cost is not None:
        lines.append(("cost", _number(plan.cost, ",.4g" if plan.cost.value < 100 else ",.0f")))
    elif plan.asked.value or plan.remembered.value:
        lines.append(("cost", "give --price (per million prompt tokens)"))
    return lines


def _number(interval: Interval, form: str = ",.0f") -> str:
    text = format(interval.value, form)
    if interval.exact:
        return text
    return f"{text} ({format(interval.low, form)} – {format(interval.high, form)})"
