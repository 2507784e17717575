"""``ecomfs models``: the models on this machine, and how to name any other."""

from __future__ import annotations


def models() -> None:
    """List the models available on this machine and how to use any other."""
    from rich.console import Console
    from rich.table import Table

    from ecomfs.engine.models import available_models

    console = Console()
    table = Table("--engine", "model", "licence", "state")
    for model in available_models():
        state = "ready" if model.ready else f"first: {model.install}"
        table.add_row(model.spec, model.about, model.licence, state)
    console.print(table)
    for notice in dict.fromkeys(m.notice for m in available_models() if m.notice):
        console.print(notice)
    console.print(
        "Any other model: [bold]--engine gguf:FILE.gguf[/] (a llama.cpp file), "
        "[bold]--engine transformers:ID_OR_FOLDER[/] (a hub id such as Qwen/Qwen3-8B, or a "
        "folder), or serve it with [bold]ecomfs up --model ID_OR_FOLDER[/] and use "
        "[bold]--engine vllm:URL[/]."
    )
