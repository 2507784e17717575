"""``ecomfs check``: run the canary of an engine."""

from __future__ import annotations

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.core.options import DEFAULTS, NO_MODEL
from ecomfs.errors import ConfigError


def check(engine: o.EngineOption = DEFAULTS["engine"]) -> None:
    """Run the start-up canary on an engine and print what the engine supports."""
    from rich.table import Table

    from ecomfs.cli.console import Console
    from ecomfs.core import event_loop
    from ecomfs.engine.canary import canary_each
    from ecomfs.engine.factory import open_engine
    from ecomfs.engine.shared import drop_lacking
    from ecomfs.readout import steps

    if engine == NO_MODEL:
        raise ConfigError("--engine none is no model: nothing to check", hint="name a model")
    opened = open_engine(engine)
    try:
        reports = event_loop.run(canary_each(opened))
        drop_lacking(opened, reports)
    finally:
        event_loop.run(opened.aclose())
    console = Console()
    can = opened.capabilities
    set_result(
        {
            "engine": opened.spec,
            "fingerprint": opened.fingerprint,
            "capabilities": can,
            "readouts": [step.name for step in steps(opened)],
            "servers": [
                {
                    "engine": report.engine,
                    "checks": [
                        {"name": c.name, "ok": c.ok, "detail": c.detail, "hint": c.hint}
                        for c in report.checks
                    ],
                }
                for report in reports
            ],
        }
    )
    console.print(
        f"[bold]{opened.spec}[/]  fingerprint {opened.fingerprint}\n"
        f"log-probabilities {'yes' if can.logprobs else 'no'} · "
        f"likely tokens {can.top_logprobs or 'no'} · "
        f"choice {'yes' if can.choice else 'no'} · "
        f"prefix reuse {'yes' if can.prefix_reuse else 'no'} · "
        f"context {can.context_tokens} tokens\n"
        f"labels can be read by --readout {', '.join(step.name for step in steps(opened))}"
    )
    for report in reports:
        table = Table("check", "", "what was seen", title=report.engine if len(reports) > 1 else "")
        for item in report.checks:
            table.add_row(item.name, "[green]ok[/]" if item.ok else "[red]FAILED[/]", item.detail)
        console.print(table)
        for item in report.checks:
            if not item.ok:
                console.print(f"[red]{item.name}[/]: {item.hint}")
    if not all(report.ok for report in reports):
        raise typer.Exit(1)
