"""``ecomfs up``: start a vLLM server with the right flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli.json_result import print_result, set_result
from ecomfs.cli.progress import is_quiet

if TYPE_CHECKING:
    from ecomfs.engine.vllm.server import VllmServer


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
    from ecomfs.cli.console import Console
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
