"""``ecomfs serve``: the classifier over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from ecomfs.cli import options as o


def serve(
    task: o.Task,
    examples: o.Examples,
    host: Annotated[str, typer.Option(help="address; beyond this machine a key is needed")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="port; 0 takes a free one")] = 8080,
    api_key: Annotated[
        str | None,
        typer.Option(help="key callers must send", envvar="ECOMFS_API_KEY", show_default=False),
    ] = None,
    engine: o.Engine = "auto",
    k: o.K = None,
    embedder: o.Embedder = "auto",
    language: o.Language = None,
    template: o.Template = None,
    readout: o.Readout = "auto",
    strategy: o.Strategy = "balanced",
    similarity: o.Similarity = "auto",
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    id_column: o.IdColumn = None,
    pool_name: o.PoolName = "default",
    shots: o.Shots = None,
    synthetic: o.Synthetic = True,
    calibrate: o.Calibrate = 48,
    seed: o.Seed = 0,
) -> None:
    """Serve the classifier over HTTP until Ctrl-C; ecomfs.Client speaks to it."""
    from rich.console import Console

    from ecomfs import aio
    from ecomfs.errors import ConfigError

    try:
        from ecomfs.serve import create_app, server
    except ImportError as error:
        raise ConfigError(
            f"the web server is not installed: {error}", hint="pip install 'ecomfs[serve]'"
        ) from error
    # Before the model is loaded: a refused address should not take a minute to be refused.
    sock = server.bind(host, port, api_key=api_key)
    with sock, ExitStack() as stack:
        fields = o.parse_fields(field)
        _, pool = o.load_pool(
            task, examples, fields, label_column, id_column, shots, seed, pool_name, synthetic
        )
        clf = o.classifier(
            task, engine=engine, k=k, embedder=embedder, language=language, template=template,
            readout=readout, strategy=strategy, similarity=similarity,
            seed=seed, calibration_size=calibrate,
        )  # fmt: skip
        labelled = stack.enter_context(o.to_fit(examples, pool, shots, pool_name, synthetic))
        clf.fit(labelled)
        live = (
            "" if isinstance(labelled, list) else "\nchanges of the pool count at the next request"
        )
        open_to = None if api_key else server.LOOPBACK_HOSTS
        app = create_app(clf, api_key=api_key, allowed_hosts=open_to)
        url = server.url_of(sock)
        told = (
            f"{task} · {len(pool)} labelled examples · {clf.engine_.spec}\n"
            f"serving at {url} (try {url}/docs), stop with Ctrl-C{live}"
        )
        console = Console(stderr=True)
        try:
            server.run(
                app,
                sock,
                on_ready=lambda: console.print(told, highlight=False, soft_wrap=True, markup=False),
            )
        finally:
            aio.run(clf.engine_.aclose())
