"""``ecomfs models``: which models there are, and ``get`` to download one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say

if TYPE_CHECKING:
    from ecomfs.engine import LocalModel

app = typer.Typer(help="List the models and how to get and use them; download one.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models on this machine and those that one command gets."""
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
            help="a name of the list, ORG/REPO[:QUANT] of the Hugging Face hub (GGUF), or "
            "modelscope:ORG/REPO[:QUANT]",
        ),
    ],
) -> None:
    """Download a model. After an interruption the same command goes on where it stopped."""
    from ecomfs.cli.progress import is_quiet
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
    from rich.table import Table

    from ecomfs.cli.console import Console

    console = Console()
    table = Table()
    for column in ("--engine", "model", "size", "languages", "licence", "installed"):
        table.add_column(column, overflow="fold", no_wrap=column == "size")
    for model in found:
        size = f"{model.size / 1e6:,.0f} MB" if model.size else ""
        installed = "yes" if model.ready else "no"
        cells = (model.spec, model.about, size, model.languages, model.licence, installed)
        table.add_row(*map(_escaped, cells))
    console.print(table)
    for model in found:
        if not model.ready:
            console.print(
                f"To get {model.spec}:  [bold]{_escaped(model.install)}[/]", soft_wrap=True
            )
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


def _escaped(text: str) -> str:
    """Text in which rich sees no styles: ``'ecomfs[local]'`` has brackets."""
    from rich.markup import escape

    return escape(text)
