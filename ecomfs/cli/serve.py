"""``ecomfs serve``: the classifier over HTTP."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import Labelled, check_guarantees, print_notes
from ecomfs.cli.json_result import print_result, set_result
from ecomfs.cli.progress import show
from ecomfs.core.progress import CHECKING, LOADING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecomfs.ab import Variant
    from ecomfs.core.progress import Phases
    from ecomfs.engine.protocol import Engine
    from ecomfs.pool import Pool
    from ecomfs.serve import SplitService
    from ecomfs.task import TaskCard
    from ecomfs.traffic import TrafficLog
    from ecomfs.types import Example


@o.flatten_options
def serve(
    labelled: Labelled,
    settings: o.Answering,
    host: Annotated[str, typer.Option(help="address; beyond this machine a key is needed")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="port; 0 takes a free one")] = 8080,
    api_key: Annotated[
        str | None,
        typer.Option(help="key callers must send", envvar="ECOMFS_API_KEY", show_default=False),
    ] = None,
    id_column: o.IdColumn = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help='split the traffic: "name: weight=1 template=v2 …", any option of the '
            "classifier; or a .yaml file (two or more; needs --log)",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="with --variant: append assignments and predictions to this file"),
    ] = None,
    split_seed: Annotated[
        int,
        typer.Option(
            hidden=True, help="of the assignment of ids to variants; change it per experiment"
        ),
    ] = 0,
) -> None:
    """Serve the classifier over HTTP until Ctrl-C; ecomfs.Client is the Python client."""
    phases = show(CHECKING)
    from ecomfs.cli.present import note
    from ecomfs.core import event_loop
    from ecomfs.errors import ConfigError
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.traffic import TrafficLog

    try:
        from ecomfs.serve import create_app, server
    except ImportError as error:
        raise ConfigError(
            f"the web server is not installed: {error}", hint="pip install 'ecomfs[serve]'"
        ) from error
    if bool(variant) != (log is not None):
        given, missing = ("--variant", "--log") if variant else ("--log", "--variant")
        raise ConfigError(
            f"{given} without {missing}",
            hint="a split needs a log, and only a split has one",
        )
    # An address that is refused is found before the model is loaded.
    sock = server.bind(host, port, api_key=api_key)
    with sock, ExitStack() as stack:
        check_guarantees(settings, labelled)
        card, pool = labelled.load(id_column=id_column)
        task = labelled.task
        options = {**settings, "seed": labelled.seed}
        served: FewShotClassifier | SplitService
        variants = _variants(variant, options, card, task) if variant else []
        traffic = None if log is None else stack.enter_context(closing(TrafficLog(log)))
        examples = stack.enter_context(labelled.to_fit(pool))
        if traffic is None:
            # --field is of the table: a request has the task's names.
            phases(LOADING)
            clf = FewShotClassifier(task, **options).fit(examples, progress=phases)
            phases.clear()
            served, engines, split = clf, [clf.engine_], ""
            print_notes(clf, settings)
        else:
            served, engines, split = _split(
                variants, settings, options, task, examples, traffic, split_seed, phases
            )
        live = (
            ""
            if isinstance(examples, list)
            else "\nchanges of the pool count from the next request"
        )
        open_to = None if api_key else server.LOOPBACK_HOSTS
        app = create_app(served, api_key=api_key, allowed_hosts=open_to)
        url = server.url_of(sock)
        text = (
            f"{task} · {len(pool)} labelled examples · "
            f"{', '.join(dict.fromkeys(e.spec for e in engines))}{split}\n"
            f"serving at {url} (try {url}/docs), stop with Ctrl-C{live}"
        )
        text += f"\nready after {phases.text()}"
        set_result(
            {
                "url": url,
                "task": task,
                "examples": len(pool),
                "engines": [*dict.fromkeys(e.spec for e in engines)],
                "log": log,
            }
        )

        def on_ready() -> None:
            note(text)
            print_result()

        try:
            server.run(
                app,
                sock,
                on_ready=on_ready,
            )
        finally:
            for each in {id(e): e for e in engines}.values():
                event_loop.run(each.aclose())


def _variants(
    written: Sequence[str], options: dict[str, Any], card: TaskCard, task: str
) -> list[Variant]:
    """The variants, checked before a model is loaded."""
    from ecomfs.ab import check_variants, read_variants

    variants = read_variants((), written)
    check_variants(variants, options, card, task)
    return variants


def _split(
    variants: Sequence[Variant],
    settings: o.Settings,
    options: dict[str, Any],
    task: str,
    labelled: Pool | list[Example],
    log: TrafficLog,
    seed: int,
    phases: Phases,
) -> tuple[SplitService, list[Engine], str]:
    """The variants behind one service, their engines, and a line about the split."""
    from ecomfs.ab import fit_variants
    from ecomfs.serve import SplitService
    from ecomfs.traffic import TrafficSplit

    contenders = fit_variants(variants, options, task, labelled, progress=phases)
    phases.clear()
    for contender in contenders:
        print_notes(contender.classifier, settings)
    split = TrafficSplit({v.name: v.weight for v in variants}, seed)
    arms = SplitService(
        {c.name: c.classifier for c in contenders},
        split,
        log,
        sources={v.name: v.source for v in variants},
    )
    shares = ", ".join(f"{name} {share:.0%}" for name, share in split.shares.items())
    return arms, [c.classifier.engine_ for c in contenders], f"\nsplit: {shares}; log {log.path}"
