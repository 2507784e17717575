"""``ecomfs up``: start a vLLM server with the right flags."""

from __future__ import annotations

from typing import Annotated

import typer


def up(
    model: Annotated[str, typer.Option(help="hub id or folder of a Hugging Face model")],
    port: Annotated[int, typer.Option(help="loopback port")] = 8000,
    max_model_len: Annotated[int, typer.Option(help="longest prompt plus answer, tokens")] = 4096,
    python: Annotated[
        str | None,
        typer.Option(
            help="Python of the environment vLLM is installed in", envvar="ECOMFS_VLLM_PYTHON"
        ),
    ] = None,
) -> None:
    """Start a vLLM server on this machine, wait until it is ready, and keep it until Ctrl-C."""
    from rich.console import Console

    from ecomfs.engine.up import serve_foreground

    console = Console(stderr=True)
    serve_foreground(
        model,
        port=port,
        max_model_len=max_model_len,
        python=python,
        on_progress=lambda line: console.print(line, markup=False),
    )
