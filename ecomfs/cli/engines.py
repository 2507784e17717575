"""``ecomfs models``, ``ecomfs check`` and ``ecomfs up``: models and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import print_result, set_result
from ecomfs.cli.terminal import is_quiet, say
from ecomfs.core.options import DEFAULTS, NO_MODEL
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.engine import LocalModel
    from ecomfs.engine.vllm.server import VllmServer


app = typer.Typer(help="List the models, how to use them, and download one.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models on this machine, and those that one command downloads."""
    if context.invoked_subcommand is not None:
        return
    from ecomfs.engine import available_models

    found = available_models()
    set_result({"models": [_plain(model) for model in found]})
    _show(found)


@app.command()
def get(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="a name from the list, ORG/REPO[:QUANT] of the Hugging Face hub (GGUF), or "
            "modelscope:ORG/REPO[:QUANT]",
        ),
    ],
) -> None:
    """Download a model. After an interruption, the same command resumes the download."""
    from ecomfs.cli.terminal import is_quiet
    from ecomfs.core.progress import showing
    from ecomfs.engine.models import get_model

    ready = []
    for name in names:
        with showing(not is_quiet()) as progress:
            path = get_model(name, progress=progress)
        spec = f"gguf:{name.removeprefix('gguf:')}"
        ready.append({"engine": spec, "path": path})
        say(f"ready: --engine {spec} ({path})")
    set_result({"models": ready})


def _plain(model: LocalModel) -> dict[str, Any]:
    return {
        "engine": model.spec,
        "about": model.about,
        "size": model.size,
        "languages": model.languages,
        "licence": model.licence,
        "installed": model.ready,
        "command": model.install,
        "path": str(model.path) if model.path else None,
        "notice": model.notice,
    }


def _show(found: list[LocalModel]) -> None:
    from rich.markup import escape  # 'ecomfs[local]' has brackets
    from rich.table import Column

    from ecomfs.cli.present import Console, show_table

    show_table(
        (
            Column(name, overflow="fold", no_wrap=name == "size")
            for name in ("--engine", "model", "size", "languages", "licence", "installed")
        ),
        (
            (
                model.spec,
                model.about,
                f"{model.size / 1e6:,.0f} MB" if model.size else "",
                model.languages,
                model.licence,
                "yes" if model.ready else "no",
            )
            for model in found
        ),
    )
    console = Console()
    for model in found:
        if not model.ready:
            console.print(f"To get {model.spec}:  [bold]{escape(model.install)}[/]", soft_wrap=True)
    for notice in dict.fromkeys(m.notice for m in found if m.notice):
        console.print(notice)
    console.print(
        "Any other model: [bold]--engine gguf:FILE.gguf[/] (a llama.cpp file), "
        r"[bold]--engine gguf:ORG/REPO\[:QUANT][/] (GGUF on the Hugging Face hub; on ModelScope "
        r"[bold]gguf:modelscope:ORG/REPO\[:QUANT][/]), "
        "[bold]--engine transformers:ID_OR_FOLDER[/] (a hub id such as Qwen/Qwen3-8B, or a "
        "folder), or serve it with [bold]ecomfs up --model ID_OR_FOLDER[/] and use "
        "[bold]--engine vllm:URL[/]."
    )


def check(engine: o.EngineOption = DEFAULTS["engine"]) -> None:
    """Run the start-up canary on an engine and print what the engine supports."""
    from rich.markup import escape
    from rich.text import Text

    from ecomfs.cli.present import Console, show_table
    from ecomfs.core import event_loop
    from ecomfs.engine.canary import canary_each
    from ecomfs.engine.factory import open_engine
    from ecomfs.engine.shared import drop_lacking
    from ecomfs.readout import steps

    if engine == NO_MODEL:
        raise ConfigError("--engine none has no model to check", hint="name a model")
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
        f"[bold]{escape(opened.spec)}[/]  fingerprint {escape(opened.fingerprint)}\n"
        f"log-probabilities {'yes' if can.logprobs else 'no'} · "
        f"likely tokens {can.top_logprobs or 'no'} · "
        f"choice {'yes' if can.choice else 'no'} · "
        f"prefix reuse {'yes' if can.prefix_reuse else 'no'} · "
        f"context {can.context_tokens} tokens\n"
        f"labels can be read by --readout {', '.join(step.name for step in steps(opened))}"
    )
    ok, failed = Text("ok", "green"), Text("FAILED", "red")
    for report in reports:
        show_table(
            ("check", "", "result"),
            ((item.name, ok if item.ok else failed, item.detail) for item in report.checks),
            title=report.engine if len(reports) > 1 else "",
        )
        for item in report.checks:
            if not item.ok:
                console.print(f"[red]{item.name}[/]: {escape(item.hint)}", soft_wrap=True)
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def up(
    model: Annotated[
        str, typer.Option(help="hub id or folder; or demo, a GGUF file: converted once")
    ],
    port: Annotated[int, typer.Option(help="loopback port; 0: any free one")] = 8000,
    context: Annotated[
        int | None,
        typer.Option(hidden=True, help="longest prompt plus answer, tokens [the model's]"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, gpu or cpu")] = "auto",
    python: Annotated[
        str | None,
        typer.Option(
            hidden=True,
            help="Python of the environment vLLM is installed in",
            envvar="ECOMFS_VLLM_PYTHON",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(hidden=True, help="give up after this many seconds")
    ] = 900.0,
) -> None:
    """Start a vLLM server on this machine, wait until it is ready, and keep it until Ctrl-C."""
    from ecomfs.cli.present import Console
    from ecomfs.engine.vllm.server import serve_foreground

    console = Console(stderr=True, quiet=is_quiet())
    with console.status("starting vLLM …") as status:

        def progress(line: str, seconds: float) -> None:
            status.update(f"{seconds:.0f} s · {line[-100:]}")

        def ready(server: VllmServer) -> None:
            status.stop()
            set_result({"url": server.url, "engine": f"vllm:{server.url}", "log": server.log})
            print_result()
            console.print(f"ready: --engine vllm:{server.url}   (log: {server.log})", markup=False)

        code = serve_foreground(
            model,
            ready=ready,
            port=port,
            context=context,
            device=device,
            python=python,
            timeout=timeout,
            progress=progress,
        )
    raise typer.Exit(code)
